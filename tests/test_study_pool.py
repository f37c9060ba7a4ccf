"""Studies as they are run: in processes of their own, resumed, on executors, with processes that die."""

import collections
import gc
import inspect
import json
import os
import signal
import threading
import time

import keras
import pytest
from filelock import FileLock
from study_cases import build, build_or_fail, data, data_of_seed

from keras_entropy import DenseEntropy, EntropyWarning, _backend
from keras_entropy.runs import memory
from keras_entropy.study import Arm, Study, environment, pool, read_records, single_run

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


def test_a_run_leaves_nothing_behind():
    """What it left would be set aside with the rest by the next run, and grow."""
    job = study(None)._job()
    task = single_run.Task("volume", 0, "report", {}, {"factor": 0.1})
    single_run.train(job, task)  # the first one imports and caches
    gc.collect()
    with memory.set_aside():
        assert single_run.train(job, task).ok
        assert gc.collect() < 100


def test_pipelines_of_tensorflow_are_not_tuned(monkeypatch):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("other backends have no such pipelines")
    import tensorflow as tf

    made = tf.data.experimental.AutotuneOptions
    monkeypatch.setattr(made, "__init__", inspect.unwrap(made.__init__))  # put back after the test
    assert tf.data.Options().autotune.enabled is None  # as TensorFlow likes it
    _backend.framework().disable_pipeline_tuning()
    _backend.framework().disable_pipeline_tuning()  # once more changes nothing
    assert tf.data.Options().autotune.enabled is False


def test_nothing_runs_twice_and_a_study_can_grow(done, tmp_path):
    output, records = done
    before = (output / "runs.jsonl").read_bytes()

    assert list(map(repr, study(output).run(workers=2).records)) == list(map(repr, records))
    assert (output / "runs.jsonl").read_bytes() == before

    for name in ("runs.jsonl", "study.json"):
        (tmp_path / name).write_bytes((output / name).read_bytes())
    with (tmp_path / "runs.jsonl").open("ab") as file:
        file.write(b'{"schema": "keras-entropy/run/1", "arm": "no')
    grown = study(tmp_path, seeds=[0, 1, 2], arms=[*ARMS, Arm("wide", width=6)]).run(workers=2)
    assert (tmp_path / "runs.jsonl").read_bytes().startswith(before)
    assert collections.Counter(r.arm for r in grown if r.role == "report") == {"none": 3, "volume": 3, "wide": 3}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"epochs": 3}, "epochs"),
        ({"batch_size": 3}, "batch_size"),
        ({"tune_seeds": [8]}, "tune_seeds"),
        ({"arms": [Arm("none", width=5), ARMS[1]]}, "arguments of arm 'none'"),
        ({"arms": [ARMS[0], Arm("volume", "all", DenseEntropy, tune={"factor": [0.0, 0.1]})]}, "placement of arm"),
        ({"arms": [ARMS[0], Arm("volume", "first", DenseEntropy, tune={"factor": [0.0, 0.2]})]}, "tune of arm"),
        ({"data": data_of_seed}, "data"),
        ({"arms": ARMS[:1]}, "arm 'volume'"),
        ({"seeds": [1]}, "seed 0"),
        ({"grid": {"width": [2]}}, "grid"),
    ],
)
def test_the_folder_of_another_study_is_refused(changes, named, done):
    before = {path: path.read_bytes() for path in done[0].iterdir()}
    with pytest.raises(ValueError, match=f"with (other settings|further runs): {named}"):
        study(done[0], **changes).run()
    assert {path: path.read_bytes() for path in done[0].iterdir()} == before


def test_a_folder_in_work_is_refused(tmp_path):
    tmp_path.mkdir(exist_ok=True)
    with FileLock(tmp_path / ".lock"), pytest.raises(BlockingIOError, match="Another process works on"):
        study(tmp_path).run()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "keras-entropy/study/9"}'])
def test_a_description_that_is_none_is_refused(text, tmp_path):
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(ValueError, match="does not describe a study"):
        study(tmp_path).run()


def test_runs_that_fail_or_kill_their_process_are_records_and_the_others_go_on(tmp_path):
    arms = [Arm("none"), Arm("raises", fails="raise"), Arm("dies", fails="die")]
    with pytest.warns(EntropyWarning, match="2 of 3 runs did not finish"):
        records = study(tmp_path, arms=arms, seeds=[0]).run(workers=2)

    assert {r.arm: r.status for r in records} == {"none": "finished", "raises": "failed", "dies": "died"}
    with pytest.warns(EntropyWarning, match="2 of 3"):  # they are not tried again
        study(tmp_path, arms=arms, seeds=[0]).run(workers=1)
    assert len((tmp_path / "runs.jsonl").read_text().splitlines()) == 3
    with pytest.warns(EntropyWarning, match="2 of 3"):
        study(tmp_path, arms=arms, seeds=[0]).run(workers=1, retry_failed=True)
    assert len((tmp_path / "runs.jsonl").read_text().splitlines()) == 5
    assert len(read_records(tmp_path)) == 3


def test_a_process_that_cannot_read_the_study_stops_it(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "packed", lambda job: b"\x80\x04cno_such_module\nthing\n.")
    with pytest.raises(pool.JobError, match="ModuleNotFoundError: No module named 'no_such_module'"):
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
