"""Studies that train in processes: the pool, an executor, and processes that die."""

import collections
import json
import os
import signal
import threading
import time
import types

import keras
import pytest
from study_cases import build, build_or_fail, data

from keras_entropy import DenseEntropy, EntropyWarning
from keras_entropy.runs import pool
from keras_entropy.study import Arm, JobError, Study, environment, read_records, single_run
from keras_entropy.study import study as study_module

pytestmark = pytest.mark.processes

ARMS = [Arm("none"), Arm("volume", "first", DenseEntropy, tune={"factor": [0.0, 0.1]})]


def study(output, arms=ARMS, **settings):
    usual = {"seeds": [0, 1], "tune_seeds": [7], "data": data, "epochs": 2, "output": output}
    return Study(build_or_fail, arms, **{**usual, **settings})


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A study run by two processes."""
    output = tmp_path_factory.mktemp("study") / "out"
    return output, study(output).run(workers=2).records


def test_a_study_leaves_a_record_of_every_run(done):
    output, records = done

    assert all(record.ok for record in records), [r.reason for r in records]
    assert collections.Counter((r.role, r.arm) for r in records) == {
        ("tune", "volume"): 2,
        ("report", "none"): 2,
        ("report", "volume"): 2,
    }
    assert sorted(map(repr, read_records(output))) == sorted(map(repr, records))
    by_seed = collections.defaultdict(set)
    for record in records:
        by_seed[record.seed].add(record.initial_weights)
    assert all(len(weights) == 1 for weights in by_seed.values())
    assert len(set.union(*by_seed.values())) == 3
    description = json.loads((output / "study.json").read_text())
    assert [arm["name"] for arm in description["arms"]] == ["none", "volume"]
    assert description["arms"][1]["tune"] == {"factor": [0.0, 0.1]}


def test_a_run_in_the_pool_has_the_bits_of_one_alone(done):
    """This process is pinned to one thread too."""
    job = study(None)._job()
    for record in done[1]:
        if record.seed == 0:
            alone = single_run.train(job, single_run.Task(record.arm, 0, "report", {}, record.tuned))
            assert alone.final_weights == record.final_weights
            assert alone.history == record.history


def test_runs_that_fail_or_kill_their_process_are_records_and_the_others_go_on(tmp_path):
    arms = [Arm("raises", grid={"fails": ["", "raise"]}), Arm("dies", fails="die")]
    with pytest.warns(EntropyWarning, match="2 of 3 runs did not finish"):
        records = study(tmp_path, arms=arms, seeds=[0]).run(workers=2)

    found = {(r.arm, r.point.get("fails")): r.status for r in records}
    assert found == {("raises", ""): "finished", ("raises", "raise"): "failed", ("dies", None): "died"}
    with pytest.warns(EntropyWarning, match="2 of 3"):  # they are not tried again
        study(tmp_path, arms=arms, seeds=[0]).run(workers=1)
    assert len((tmp_path / "runs.jsonl").read_text().splitlines()) == 3
    with pytest.warns(EntropyWarning, match="2 of 3"):
        study(tmp_path, arms=arms, seeds=[0]).run(workers=1, retry_failed=True)
    assert len((tmp_path / "runs.jsonl").read_text().splitlines()) == 5
    assert len(read_records(tmp_path)) == 3


def test_a_process_that_cannot_read_the_study_stops_it(tmp_path, monkeypatch):
    monkeypatch.setattr(study_module, "packed", lambda job, content: b"\x80\x04cno_such_module\nthing\n.")
    with pytest.raises(JobError, match="ModuleNotFoundError: No module named 'no_such_module'"):
        study(tmp_path).run(workers=1)
    assert not (tmp_path / "runs.jsonl").exists()


def test_local_functions_and_settings_of_keras_reach_the_processes(done):
    """As functions of a notebook, which cannot be imported: they travel by value."""
    width = 4
    keras.config.set_dtype_policy("mixed_bfloat16")
    [record] = Study(lambda: build(width=width), [Arm("none")], [0], data=data, epochs=2).run(workers=1).records

    single = next(r for r in done[1] if r.arm == "none" and r.seed == 0)
    assert record.status == "finished"
    assert record.history["loss"] != single.history["loss"]
    assert record.history["loss"] == pytest.approx(single.history["loss"], rel=0.5)


@pytest.mark.slow
def test_dask_runs_a_study_and_survives_the_death_of_a_worker(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="needs dask[distributed]")
    for name, value in environment().items():
        monkeypatch.setenv(name, value)  # before the workers start
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        workers = client.run(os.getpid)

        def kill():
            while len(read_if_any(tmp_path)) < 2:
                time.sleep(0.05)
            os.kill(next(iter(workers.values())), signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        records = study(tmp_path, seeds=range(8), tune_seeds=[9]).run(client.get_executor())
        killer.join()

    assert len(records) == 18
    assert all(record.ok for record in records), [r.reason for r in records]
    lines = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert len({(line["role"], line["arm"], line["seed"], str(line["tuned"])) for line in lines}) == len(lines) == 18


def read_if_any(folder):
    return read_records(folder) if (folder / "runs.jsonl").exists() else []


@pytest.mark.parametrize("system", ["posix", "nt"])
def test_a_process_ends_with_its_parent(system):
    """On Windows the number of the parent stays when it is dead."""
    names = {"parent": 1}
    exec(pool._FIRST.split("threading.Thread")[0], names)
    events, parents = [], [2, 1, 1]
    sleep = types.SimpleNamespace(sleep=lambda seconds: events.append("sleep"))
    joined = types.SimpleNamespace(join=lambda: events.append("join"))
    names |= {
        "os": types.SimpleNamespace(name=system, getppid=parents.pop, _exit=lambda code: events.append("exit")),
        "time": sleep,
        "multiprocessing": types.SimpleNamespace(parent_process=lambda: joined),
    }

    names["watch"]()

    assert events == (["join", "exit"] if system == "nt" else ["sleep", "sleep", "exit"])
