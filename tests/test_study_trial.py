"""The trial of the arms of a study: an arm that no run can have is said before anything is trained."""

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from study_cases import build, build_or_fail, data

from keras_entropy import DenseEntropy, EntropyWarning
from keras_entropy.runs.execution import described
from keras_entropy.study import Arm, Study, arm_trial, read_records, single_run

pytestmark = pytest.mark.once

NONE = Arm("none")


@pytest.fixture
def trained(monkeypatch):
    """Replaces training; returns the runs that were started."""
    started = []

    def train(job, task):
        started.append(task)
        return task.record(history={"val_task_loss": [1.0]})

    monkeypatch.setattr(single_run, "train", train)
    return started


def run(output, *arms, build=build, **settings):
    with ThreadPoolExecutor(1) as executor:
        return Study(build, arms, [0], data=data, epochs=1, output=output).run(executor, progress=False, **settings)


def uncompiled():
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(6)])


@pytest.mark.parametrize(
    ("made", "arm", "says"),
    [
        (uncompiled, NONE, "^Arm 'none': The model that `build` returns is not compiled. Call model.compile"),
        (lambda: None, NONE, "^Arm 'none': `build` should return a compiled keras.Model. Received: NoneType"),
        (build, Arm("e", "hiden", DenseEntropy(1e-2)), "^Arm 'e': `placement` should match.*'hiden'.*encoder, decoder"),
        (build, Arm("e", grid={"placement": ["first", "x"]}, regularizer=DenseEntropy(1e-2)), "^Arm 'e'.*'x', which"),
        (build_or_fail, Arm("e", fails="raise"), "^Arm 'e': build.fails='raise'. failed: no such <width>"),
    ],
)
def test_an_arm_that_no_run_can_have_is_said_before_anything_is_trained(made, arm, says, trained, tmp_path):
    with pytest.raises(ValueError, match=says):
        run(tmp_path / "out", arm, build=made)

    assert trained == []
    assert not (tmp_path / "out").exists()


def no_data(seed):
    raise KeyError("column")


def two_arrays():
    return data()[:2]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (no_data, "^Loading the data failed: KeyError: 'column'"),
        (two_arrays, "^Loading the data failed: `data` should be .x_train, y_train, x_val, y_val.*Received: 2 values"),
    ],
)
def test_data_that_no_run_can_load_are_said_before_anything_is_trained(given, says, trained, tmp_path):
    with ThreadPoolExecutor(1) as executor, pytest.raises(ValueError, match=says):
        Study(build, [NONE], [0], data=given, output=tmp_path / "out").run(executor, progress=False)

    assert trained == []
    assert not (tmp_path / "out").exists()


def with_nan():
    x, y, xv, yv = (np.array(array) for array in data())
    x[3, 2], yv[1, :2] = np.nan, np.inf
    return x, y, xv, yv


@pytest.mark.parametrize("as_function", [False, True])
def test_nan_in_the_data_is_said_before_anything_is_trained(as_function, trained):
    """On TensorFlow the baseline would finish, and only a term of a kernel would diverge."""

    def both(executor):
        given = with_nan if as_function else with_nan()
        return Study(build, [NONE, Arm("wide", width=8)], [0], data=given).run(executor, progress=False)

    with (
        ThreadPoolExecutor(1) as executor,
        pytest.warns(EntropyWarning, match="`data` holds NaN or infinite numbers: 1 in x_train, 2 in y_val"),
    ):
        both(executor)

    assert len(trained) == 2


def test_a_corrected_arm_may_follow_in_the_same_folder(trained, tmp_path):
    run(tmp_path, NONE)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    for settings in ({}, {"overwrite": True}):
        with pytest.raises(ValueError, match="'frist'"):
            run(tmp_path, NONE, Arm("e", "frist", DenseEntropy(1e-2)), **settings)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before

    run(tmp_path, NONE, Arm("e", "first", DenseEntropy(1e-2)))
    assert [record.arm for record in read_records(tmp_path)] == ["none", "e"]


def test_a_study_that_was_killed_in_its_trial_may_begin_again(trained, tmp_path):
    (tmp_path / "workers.log").write_text("of the processes")

    assert len(run(tmp_path, NONE)) == 1
    assert (tmp_path / "workers.log").exists()


def test_a_study_that_goes_on_tries_its_new_arms_only(trained, tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(
        arm_trial,
        "problem",
        lambda payload, name, values, seed: tried.append((name, seed)) or {name: arm_trial.Problem()},
    )
    run(tmp_path, NONE)
    run(tmp_path, NONE, Arm("wide", width=8))

    assert tried == [("none", 0), ("wide", 0)]


def test_one_value_of_each_placement_is_tried(monkeypatch):
    values = [{"placement": place, "factor": factor} for place in ("first", "all") for factor in (0, 1)]

    assert sorted(map(str, arm_trial._of_placements(values))) == sorted(map(str, (values[0], values[2])))


def test_the_cause_of_a_long_error_is_kept():
    """TensorFlow names the cause of an error in a graph after the frames of the graph."""
    frames = "\n".join(f'  File "/lib/python/site-packages/keras/src/{i}.py", line {i}, in fit' for i in range(40))
    cause = "Received a label value of 4 which is outside the valid range of [0, 4). " + "Label values: " + "4 " * 300
    said = described(
        ValueError(f"\x1b[1mGraph execution error:\x1b[0m\n\nmost recent call last:\n{frames}\n\n{cause}\n[[{{node}}]]")
    )

    assert said.startswith("ValueError: Graph execution error: most recent call last: Received a label value of 4")
    assert said.endswith("4 4 [[{node}]]")
    assert len(said) < 530
