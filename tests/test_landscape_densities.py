"""The density of states of many problems: averages, pairs, records, and work that is stopped or fails."""

import contextlib
import dataclasses
import itertools
import json
import os
import signal
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import numpy as np
import pytest
from landscape_cases import Killed, bits, kill_at_write, without_kernel

from keras_entropy import EntropyWarning, _sealed, datasets, landscape, stats
from keras_entropy.landscape import (
    DensitiesOfStates,
    Observable,
    checkpoint,
    exact,
    pipeline,
    walk,
    walk_folder,
    wang_landau,
)
from keras_entropy.runs.pool import JobError
from keras_entropy.study import environment

EDGES = {"energy": exact.ball_edges(6, bins=5)}
OPTIONS = {"axes": "energy", "moves": 4e3, "edges": EDGES, "walkers": 32, "split_moves": 10, "progress": False}


def balls(sets=3, dimensions=(6, 7)):
    """Two groups whose problems have no kernels: nothing is compiled."""
    return {f"d={d}": [without_kernel(landscape.ball_problem(d))] * sets for d in dimensions}


def measure(problems=None, **options):
    options = OPTIONS | {"backend": "numpy"} | options
    with ThreadPoolExecutor(1) as here:
        return landscape.densities_of_states(balls() if problems is None else problems, executor=here, **options)


def all_bits(found):
    """The bits of all walks. A file has one NaN, whose sign may be another one."""
    return {
        group: [None if d is None else bits(with_one_nan(d)) for d in walks] for group, walks in found.walks.items()
    }


def with_one_nan(density):
    arrays = {
        field.name: np.where(np.isnan(value), np.nan, value)
        for field in dataclasses.fields(density)
        if isinstance(value := getattr(density, field.name), np.ndarray) and value.dtype.kind == "f"
    }
    means = {
        name: landscape.ConditionalMean(*(np.where(np.isnan(part), np.nan, part) for part in mean))
        for name, mean in density.means.items()
    }
    return dataclasses.replace(density, **arrays, means=means)


@pytest.fixture(scope="module")
def found():
    return measure(moves=1e5, walkers=128)


pytestmark = pytest.mark.once


def test_each_walk_is_that_of_density_of_states(found):
    options = {name: value for name, value in OPTIONS.items() if name != "progress"}
    options |= {"moves": 1e5, "walkers": 128}
    alone = landscape.density_of_states(balls()["d=7"][0], seed=2, backend="numpy", **options)
    assert bits(found.walks["d=7"][2]) == bits(alone)


def test_the_averages_and_their_errors(found):
    rows = np.array([density.entropy for density in found.walks["d=6"]])
    mean, error, count = found.entropy("d=6")
    assert mean == pytest.approx(rows.mean(0))
    assert error == pytest.approx(rows.std(0, ddof=1) / np.sqrt(3))
    assert count.tolist() == [3] * 5
    assert mean == pytest.approx(exact.ball_entropy(6, EDGES["energy"]), abs=0.3)
    group = found.groups()[0]
    assert (group.name, group.walks, group.failed) == ("d=6", 3, ())
    assert group.unconverged == tuple(i for i, density in enumerate(found.walks["d=6"]) if not density.converged)
    assert group.entropy.mean == pytest.approx(mean[0])  # a low energy is deep
    positive = [density.conditional_mean("positive").mean for density in found.walks["d=6"]]
    assert found.observable == "positive"
    assert group.mean.mean == pytest.approx(np.mean(positive, 0)[0])
    assert found.conditional_mean("d=6").mean == pytest.approx(np.mean(positive, 0))


def test_the_differences_are_paired_by_data_set(found):
    [difference] = found.differences()
    assert (difference.before, difference.after) == ("d=6", "d=7")
    one, other = found.region_entropy("d=7"), found.region_entropy("d=6")
    assert difference.entropy == stats.paired_t(one, other)
    assert difference.mean == stats.paired_t(found.region_mean("d=7"), found.region_mean("d=6"))
    [swapped] = found.differences([("d=7", "d=6")], confidence=0.9)
    assert swapped.entropy == stats.paired_t(other, one, 0.9)


def test_a_second_axis_is_summed_over(tmp_path):
    one = measure(balls(2, (6,)), axes=["energy", "positive"], moves=5e4, walkers=64)
    density = one.walks["d=6"][0]
    shares = np.exp(density.entropy[0])
    assert one.region_entropy("d=6")[0] == pytest.approx(np.log(shares.sum()))
    assert one.region_mean("d=6")[0] == pytest.approx(shares @ density.axes[1].centers / shares.sum())
    assert one.pairs == ()
    one.plot(tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


def test_what_was_not_visited_is_not_averaged(found):
    density = found.walks["d=6"][0]
    unseen = density.visited.copy()
    unseen[0] = False
    blind = dataclasses.replace(density, visited=unseen)
    part = dataclasses.replace(found, walks={"d=6": (blind, *found.walks["d=6"][1:]), "d=7": found.walks["d=7"]})
    assert part.entropy("d=6").count.tolist() == [2, 3, 3, 3, 3]
    assert np.isnan(part.region_entropy("d=6")[0])
    assert part.groups()[0].entropy.count == 2
    assert part.differences()[0].entropy.n == 2
    assert "1 of 6 walks did not visit the region" in str(part)


def test_it_is_shown_as_tables_a_frame_and_a_figure(found, tmp_path):
    lines = str(found).splitlines()
    assert lines[0].startswith("energy below 0.3131: means over data sets")
    assert lines[1].split("  ")[0] == "group"
    assert lines[2].split()[:2] == ["d=6", "3"]
    assert any(line.startswith("d=6 -> d=7") for line in lines)
    assert "have not converged" in str(found) or "passed the checks" in str(found)
    html = found._repr_html_()
    assert html.count("<table>") == 2
    assert "d=6 -&gt; d=7" in html
    assert repr(found) == "<DensitiesOfStates: d=6, d=7; 6 walks, 0 failed>"
    frame = found.to_frame()
    assert frame["group"].tolist() == ["d=6", "d=7"] * 3
    assert frame["data_set"].tolist() == [0, 0, 1, 1, 2, 2]
    assert frame["entropy"].tolist()[::2] == found.region_entropy("d=6").tolist()
    figure = found.plot(tmp_path / "figure.svg")
    assert len(figure.axes) == 2
    assert b"<svg" in (tmp_path / "figure.svg").read_bytes()


def test_a_loss_has_the_same_bins_on_all_data_sets_of_a_group():
    one = measure(edges=None, target_loss=0.6, split_moves=100)
    for walks in one.walks.values():
        assert len({density.axes[0].edges.tobytes() for density in walks}) == 1
        assert walks[0].axes[0].edges[1] == pytest.approx(0.6)
    assert one.walks["d=6"][0].axes[0].bins != one.walks["d=7"][0].axes[0].bins
    options = OPTIONS | {"edges": None, "target_loss": 0.6, "split_moves": 100, "backend": "numpy"}
    del options["progress"]
    assert bits(one.walks["d=6"][0]) == bits(landscape.density_of_states(balls()["d=6"][0], **options))


def counted(monkeypatch):
    """The seeds of the walks that are made from now on."""
    seeds, real = [], walk.density_of_states

    def noted(*args, **options):
        seeds.append(options["seed"])
        return real(*args, **options)

    monkeypatch.setattr(walk, "density_of_states", noted)
    return seeds


def test_finished_walks_are_kept_and_data_sets_and_groups_can_be_added(tmp_path, monkeypatch):
    first = measure(balls(1, (6,)), folder=tmp_path)
    seeds = counted(monkeypatch)
    again = measure(balls(1, (6,)), folder=tmp_path)
    assert seeds == []
    assert all_bits(again) == all_bits(first)
    more = measure(balls(2, (6, 7)), folder=tmp_path)
    assert sorted(seeds) == [0, 1, 1]
    assert all_bits(more)["d=6"][0] == all_bits(first)["d=6"][0]
    loaded = DensitiesOfStates.load(tmp_path)
    assert str(loaded) == str(more)
    assert all_bits(loaded) == all_bits(more)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[0] != ".") == ["walks", "walks.json"]


@pytest.mark.parametrize("moment", ["within", "after"])  # before a write is after the last one
@pytest.mark.parametrize("axis", [{}, {"edges": None, "target_loss": 0.9}])
def test_a_kill_at_any_write_changes_nothing(moment, axis, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "_SECONDS", -1.0)
    monkeypatch.setattr(wang_landau, "_CHUNK", 40)
    options = {"moves": 2e3, **axis}
    expected = all_bits(measure(balls(2, (6,)), **options))
    kills = 0
    for number in itertools.count():
        folder = tmp_path / str(number)
        with monkeypatch.context() as patch:
            kill_at_write(patch, number, moment)
            try:
                measure(balls(2, (6,)), folder=folder, **options)
                break
            except Killed:
                kills += 1
        assert all_bits(measure(balls(2, (6,)), folder=folder, **options)) == expected
        assert not (folder / "checkpoints").exists()
    assert kills > 6  # a description, checkpoints and a record


def test_a_walk_resumes_from_its_checkpoint_and_restarts_without_a_good_one(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "_SECONDS", -1.0)
    monkeypatch.setattr(wang_landau, "_CHUNK", 40)
    expected = all_bits(measure(balls(1, (6,))))
    starts, real = [], pipeline._start
    for damage in (False, True):
        folder = tmp_path / str(damage)
        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            kill_at_write(patch, 4, "after")
            measure(balls(1, (6,)), folder=folder)
        [path] = (folder / "checkpoints").iterdir()
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "_start", lambda *args: starts.append(args) or real(*args))
            if damage:
                path.write_bytes(path.read_bytes()[:-1])
                with pytest.warns(EntropyWarning, match=r"Cannot resume from .*checksum.*Restarting this walk"):
                    again = measure(balls(1, (6,)), folder=folder)
            else:
                again = measure(balls(1, (6,)), folder=folder)
        assert len(starts) == damage
        assert all_bits(again) == expected


def test_a_walk_that_fails_is_named_and_tried_again(tmp_path, monkeypatch):
    seeds, real = [], walk.density_of_states

    def failing(problem, **options):
        seeds.append(options["seed"])
        if problem.dimension == 7 and options["seed"] == 1:
            raise RuntimeError("Splitting has died\nout.")
        return real(problem, **options)

    with monkeypatch.context() as patch:
        patch.setattr(walk, "density_of_states", failing)
        with pytest.warns(EntropyWarning, match=r"1 of 6 walks did not finish\. The first is d=7, data set 1: failed"):
            part = measure(folder=tmp_path)
    [failure] = part.failures
    assert (failure.group, failure.data_set, failure.status) == ("d=7", 1, "failed")
    assert "RuntimeError: Splitting has died out." in failure.reason
    assert part.walks["d=7"][1] is None
    assert part.groups()[1].failed == (1,)
    assert part.differences()[0].entropy.n == 2
    assert np.isnan(part.region_entropy("d=7")[1])
    assert part.entropy("d=7").count.max() == 2
    assert "d=7, data set 1: failed, RuntimeError" in str(part)
    assert part.to_frame()["status"].tolist()[3] == "failed"
    assert str(DensitiesOfStates.load(tmp_path)) == str(part)
    made = counted(monkeypatch)
    assert measure(folder=tmp_path).failures == ()
    assert made == [1]


def test_another_data_set_finds_the_bins_if_the_first_fails(tmp_path, monkeypatch):
    real = walk.density_of_states

    def failing(problem, **options):
        if options["seed"] == 0:
            raise RuntimeError("Splitting has died out.")
        return real(problem, **options)

    options = {"edges": None, "target_loss": 0.6, "folder": tmp_path}
    with monkeypatch.context() as patch:
        patch.setattr(walk, "density_of_states", failing)
        with pytest.warns(EntropyWarning, match="1 of 3 walks"):
            part = measure(balls(3, (6,)), **options)
    made = counted(monkeypatch)
    whole = measure(balls(3, (6,)), **options)
    assert made == [0]
    assert all_bits(whole)["d=6"][1:] == all_bits(part)["d=6"][1:]
    assert len({density.axes[0].edges.tobytes() for density in whole.walks["d=6"]}) == 1


def test_it_is_an_error_if_no_walk_finishes():
    never = landscape.function_problem(lambda c: {"size": np.abs(c[0])}, 2, 1.0, {"size": Observable()})
    with pytest.raises(RuntimeError, match=r"No walk finished. The first is all, data set 0: failed.*Splitting has"):
        measure([never] * 2, axes="size", edges=None, target_loss=-1.0, moves=1e4)


class Dying(Executor):
    """Stands for an executor whose worker dies in the second task."""

    def __init__(self, error):
        self._error, self._tasks = error, itertools.count()

    def submit(self, function, /, *args, **options):
        future = Future()
        if next(self._tasks) == 1:
            future.set_exception(self._error)
        else:
            future.set_result(function(*args, **options))
        return future


def test_a_worker_that_dies_costs_its_walk_only():
    options = OPTIONS | {"backend": "numpy", "executor": Dying(OSError("killed by the system"))}
    with pytest.warns(EntropyWarning, match="1 of 3 walks"):
        part = landscape.densities_of_states(balls(3, (6,)), **options)
    assert part.failures[0].status == "died"
    assert "killed by the system" in part.failures[0].reason
    with pytest.raises(JobError, match="cannot read"):
        landscape.densities_of_states(balls(3, (6,)), **options | {"executor": Dying(JobError("cannot read"))})


def edited(path, change):
    record = json.loads(path.read_text())
    del record["sha256"]
    change(record)
    path.write_text(json.dumps({**record, "sha256": _sealed.checksum(record)}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.update(schema="keras-entropy/walk/0"), "its schema"),
        (lambda r: r.update(key="0" * 32), "its problem or arguments are others"),
        (lambda r: r.update(data_set=1), "another group or data set"),
        (lambda r: r.update(group="d=9"), "another group or data set"),
        (lambda r: r.update(density=None), "has no result"),
        (lambda r: r.update(status="failed"), "has a result"),
        (lambda r: r["density"].update(entropy=[0.0]), "`entropy` is an array of shape"),
        (lambda r: r["density"].update(entropy="all"), "not as it should be"),
        (lambda r: r.update(more=1), "unknown field"),
    ],
)
def test_a_record_is_checked_before_it_is_used(change, words, tmp_path):
    measure(balls(1, (6,)), folder=tmp_path)
    [path] = (tmp_path / "walks").iterdir()
    edited(path, change)
    with pytest.raises(ValueError, match=f"{path.name} is not the record of this walk: .*{words}.*Delete the file"):
        measure(balls(1, (6,)), folder=tmp_path)
    path.unlink()
    measure(balls(1, (6,)), folder=tmp_path)


def test_a_record_that_was_damaged_is_named(tmp_path):
    measure(balls(1, (6,)), folder=tmp_path)
    [path] = (tmp_path / "walks").iterdir()
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))
    for call in (lambda: measure(balls(1, (6,)), folder=tmp_path), lambda: DensitiesOfStates.load(tmp_path)):
        with pytest.raises(ValueError, match="is not the record of this walk"):
            call()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"moves": 3e4}, "other settings: moves"),
        ({"seed": 1}, "other settings: seed"),
        ({"walkers": 8}, "other settings: walkers"),
        ({"edges": {"energy": [0.0, 1.0, 2.0]}}, "other settings: edges"),
        ({"problems": balls(2, (6,))}, "no group 'd=7'"),
        ({"problems": balls(1)}, "problems of group 'd=6'"),
        ({"problems": {**balls(2), "d=6": balls(2)["d=7"]}}, "problems of group 'd=6'"),
    ],
)
def test_a_folder_of_other_walks_is_refused(change, words, tmp_path):
    first = measure(balls(2), folder=tmp_path)
    with pytest.raises(ValueError, match=words):
        measure(**{"problems": balls(2), "folder": tmp_path} | change)
    assert all_bits(DensitiesOfStates.load(tmp_path)) == all_bits(first)
    measure(**{"problems": balls(2), "folder": tmp_path, "overwrite": True} | change)


def test_walks_of_another_version_are_refused(tmp_path, monkeypatch):
    measure(balls(1, (6,)), folder=tmp_path)
    monkeypatch.setattr(checkpoint, "SCHEMA", "keras-entropy/landscape/1")
    with pytest.raises(ValueError, match="other settings: version of the walk"):
        measure(balls(1, (6,)), folder=tmp_path)


def test_the_same_edges_in_another_form_are_the_same_settings(tmp_path, monkeypatch):
    measure(balls(1, (6,)), folder=tmp_path)
    seeds = counted(monkeypatch)
    measure(balls(1, (6,)), folder=tmp_path, edges={"energy": EDGES["energy"].tolist()}, num_leapfrog_steps=10)
    assert seeds == []


def test_names_of_groups_are_names_of_files_everywhere(tmp_path):
    problems = {name: balls(1, (6,))["d=6"] for name in ("A/../b", "a-..-b", "3x6", "A" * 300, "é\x1b")}
    measure(problems, folder=tmp_path)
    names = sorted(path.name for path in (tmp_path / "walks").iterdir())
    assert len({name.lower() for name in names}) == 5
    assert "3x6-0.json" in names
    assert all(len(name) < 80 and name.isascii() for name in names)
    assert list(DensitiesOfStates.load(tmp_path).walks) == list(problems)


def test_walks_that_have_not_ended_are_missing(tmp_path):
    measure(balls(2, (6,)), folder=tmp_path)
    (tmp_path / "walks" / walk_folder.file_name("d=6", 1)).unlink()
    part = DensitiesOfStates.load(tmp_path)
    assert [failure.status for failure in part.failures] == ["missing"]
    assert part.groups()[0].walks == 1
    assert part.region_entropy("d=6")[0] == pytest.approx(part.groups()[0].entropy.mean)
    assert "d=6, data set 1: missing, it has not ended yet." in str(part)


def test_a_folder_without_walks_cannot_be_loaded(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no walks"):
        DensitiesOfStates.load(tmp_path)
    (tmp_path / "other.txt").write_text("")
    with pytest.raises(FileExistsError, match="other files"):
        measure(folder=tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"problems": "balls"}, "a list of Problems"),
        ({"problems": landscape.ball_problem(3)}, "a list of Problems"),
        ({"problems": [1]}, "a list of Problems"),
        ({"problems": {"a": landscape.ball_problem(3)}}, "a list of Problems"),
        ({"problems": {}}, "at least one"),
        ({"problems": []}, "at least one"),
        ({"problems": {"a": balls()["d=6"], "b": balls(2)["d=6"]}}, "3 in 'a', 2 in 'b'"),
        ({"pairs": [("d=6", "d=9")]}, "one of 'd=6', 'd=7'"),
        ({"pairs": ["d=6"]}, "pairs of names"),
        ({"axes": "enrgy"}, "one of 'energy', 'positive'"),
        ({"moves": 0}, "from 1 to 1e18"),
        ({"seed": -1}, "an integer from 0"),
        ({"threads": 0}, "a positive integer"),
        ({"walker": 8}, "one of 'edges'"),
        ({"checkpoint": "a"}, "one of 'edges'"),
        ({"edges": {"energy": [1.0]}}, "increasing finite numbers"),
        ({"edges": {"enrgy": [0.0, 1.0]}}, "one of 'energy', 'positive'"),
        ({"executor": 3}, "concurrent.futures.Executor"),
        ({"executor": ThreadPoolExecutor(2)}, "in processes"),
        ({"executor": ThreadPoolExecutor(1), "workers": 1}, "not both"),
        ({"workers": 0}, "a positive integer"),
        ({"overwrite": "yes"}, "True or False"),
    ],
)
def test_bad_arguments_are_named_before_anything_runs(change, words):
    with pytest.raises((TypeError, ValueError), match=words):
        landscape.densities_of_states(**{"problems": balls()} | OPTIONS | change)


def test_data_sets_of_different_sizes_have_no_common_bins():
    one, other = (landscape.network_problem(1, 2, datasets.spirals(0, points)) for points in (10, 12))
    with pytest.raises(ValueError, match="'train_accuracy' with .* levels on data set 0 and .* on data set 1"):
        landscape.densities_of_states([one, other])


def test_a_problem_that_cannot_be_sent_is_named():
    lock = threading.Lock()
    problem = dataclasses.replace(balls()["d=6"][0], energy=lambda c: lock and {"energy": (c**2).sum(0)})
    with pytest.raises(TypeError, match="The problems cannot be sent to other processes"):
        measure([problem])


@pytest.mark.processes
def test_the_pool_an_executor_and_this_process_agree_to_the_bit(tmp_path):
    """A problem with a kernel, which the processes compile, and one of a function that they cannot import."""
    offset = np.full((6, 1), 0.1)
    functions = [
        landscape.function_problem(
            lambda c, shift=seed / 10: {"energy": ((c - offset) ** 2).sum(0) + shift}, 6, 1.0, {"energy": Observable()}
        )
        for seed in range(2)
    ]
    problems = {"ball": [landscape.ball_problem(6)] * 2, "function": functions}
    with ThreadPoolExecutor(1) as executor:
        here = landscape.densities_of_states(problems, executor=executor, threads=2, **OPTIONS)
    there = landscape.densities_of_states(problems, workers=2, folder=tmp_path, **OPTIONS)
    assert there.failures == ()
    assert all_bits(there) == all_bits(here) == all_bits(DensitiesOfStates.load(tmp_path))


@pytest.mark.processes
def test_a_process_that_is_killed_costs_no_walk(tmp_path):
    """It dies once; the pool tries the walk again."""
    mark = tmp_path / "killed"

    def energy(c):
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return {"size": (c**2).sum(0)}

    mark.touch()
    problem = landscape.function_problem(energy, 2, 1.0, {"size": Observable()})
    mark.unlink()
    options = OPTIONS | {"axes": "size", "edges": {"size": [0.0, 0.2, 0.5, 2.0]}}
    found = landscape.densities_of_states([problem] * 2, workers=1, folder=tmp_path / "out", **options)
    assert mark.exists()
    assert found.failures == ()


@pytest.mark.slow
def test_dask_walks_to_the_same_bits_and_survives_the_death_of_a_worker(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="needs dask[distributed]")
    for name, value in environment().items():
        monkeypatch.setenv(name, value)  # before the workers start
    problems, options = balls(8, (6,)), OPTIONS | {"moves": 4e4, "backend": "numpy"}
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        workers = client.run(os.getpid)

        def kill():
            while len(list(tmp_path.glob("walks/*.json"))) < 2:
                time.sleep(0.05)
            os.kill(next(iter(workers.values())), signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        found = landscape.densities_of_states(problems, executor=client.get_executor(), folder=tmp_path, **options)
        killer.join()
    assert found.failures == ()
    assert all_bits(found) == all_bits(measure(problems, moves=4e4))
