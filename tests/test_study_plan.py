"""What a study consists of, before anything is trained; and what it refuses."""

import contextlib
import dataclasses
import functools
import json
import math
import operator
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from study_cases import build, data

from keras_entropy import DenseEntropy, EntropyWarning, TotalCorrelation, _sealed
from keras_entropy.runs import records
from keras_entropy.runs.identity import identity
from keras_entropy.runs.records import RunRecords
from keras_entropy.study import Arm, RunRecord, Study, axes, metrics, read_records

pytestmark = pytest.mark.once


def study(*arms, **settings):
    return Study(build, arms or [Arm("none")], **{"seeds": range(3), "data": data, **settings})


def test_every_arm_takes_the_axes_that_concern_it():
    none = Arm("none")
    fixed = Arm("fixed", learning_rate=0.1)
    term = Arm("term", "first", DenseEntropy, tune={"factor": [0.1, 0.2]})
    s = study(none, fixed, term, grid={"width": [2, 4]}, tune={"learning_rate": [1e-3, 1e-2]}, tune_seeds=[7])

    assert s.points(none) == s.points(term) == [{"width": 2}, {"width": 4}]
    assert s.candidates(none) == [{"learning_rate": 1e-3}, {"learning_rate": 1e-2}]
    assert s.candidates(fixed) == [{}]
    assert [c["factor"] for c in s.candidates(term)] == [0.1, 0.2, 0.1, 0.2]


def test_an_arms_grid_contains_the_baselines():
    none, rival = Arm("none"), Arm("rival", tune={"learning_rate": [0.1, 0.5], "dropout": [0.2]})
    s = study(none, rival, tune={"learning_rate": [0.1, 0.01]}, tune_seeds=[7])

    assert s.candidates(none) == [{"learning_rate": 0.1}, {"learning_rate": 0.01}]
    assert s.candidates(rival) == [{"learning_rate": rate, "dropout": 0.2} for rate in (0.1, 0.01, 0.5)]


def test_a_shared_factor_concerns_only_arms_that_take_one():
    none, term = Arm("none"), Arm("term", "first", TotalCorrelation)
    s = study(none, term, Arm("given", "first", DenseEntropy(0.1)), grid={"factor": [0.1, 1.0]})

    assert [s.points(arm) for arm in s.arms] == [[{}], [{"factor": 0.1}, {"factor": 1.0}], [{}]]


def test_the_runs_are_ordered_by_seed_so_that_a_stopped_study_has_whole_pairs():
    s = study(Arm("a"), Arm("b"), seeds=[3, 4], tune={"width": [2, 4]}, tune_seeds=[0, 1])

    assert [(t.seed, t.arm, t.tuned["width"]) for t in s._tuning()[:5]] == [
        (0, "a", 2),
        (0, "a", 4),
        (0, "b", 2),
        (0, "b", 4),
        (1, "a", 2),
    ]
    tuned = [run("a", 0, width=2, value=1.0), run("a", 0, width=4, value=0.5)]
    tuned += [run("b", 0, width=2, value=0.1), run("b", 0, width=4, value=0.5)]
    chosen, without = s._reporting(tuned)
    assert [(t.seed, t.arm, t.role, t.tuned) for t in chosen] == [
        (3, "a", "report", {"width": 4}),
        (3, "b", "report", {"width": 2}),
        (4, "a", "report", {"width": 4}),
        (4, "b", "report", {"width": 2}),
    ]
    assert without == []


def run(arm, seed, value=1.0, status="finished", **tuned):
    return RunRecord(
        arm=arm, seed=seed, role="tune", tuned=tuned, status=status, history={"val_task_loss": [9.0, value]}
    )


class TestChoice:
    def candidates(self):
        return [{"rate": 1}, {"rate": 2}, {"rate": 3}]

    def choose(self, *runs, lower_is_better=True):
        return axes.choose(runs, self.candidates(), "val_task_loss", lower_is_better)

    def test_the_best_mean_is_chosen_in_either_direction(self):
        runs = [run("a", seed, value=v, rate=r) for r, values in {1: (1, 5), 2: (2, 2), 3: (4, 4)}.items()
                for seed, v in enumerate(values)]  # fmt: skip

        assert self.choose(*runs) == {"rate": 2}
        assert self.choose(*runs, lower_is_better=False) == {"rate": 3}

    def test_of_equals_the_first_is_chosen(self):
        assert self.choose(run("a", 0, rate=3), run("a", 0, rate=1), run("a", 0, rate=2)) == {"rate": 1}

    def test_a_candidate_that_fails_once_is_out(self):
        runs = [run("a", 0, 0.1, rate=1), run("a", 1, status="failed", rate=1), run("a", 0, 5.0, rate=2)]
        assert self.choose(*runs) == {"rate": 2}

    @pytest.mark.parametrize("lower_is_better", [True, False])
    def test_not_a_number_is_never_chosen(self, lower_is_better):
        runs = [run("a", 0, math.nan, rate=1), run("a", 0, 5.0, rate=2)]
        assert self.choose(*runs, lower_is_better=lower_is_better) == {"rate": 2}

    def test_without_a_finished_candidate_there_is_no_choice_but_a_record(self):
        assert self.choose(run("a", 0, status="died", rate=1)) is None
        s = study(Arm("a"), tune={"width": [2, 4]}, tune_seeds=[7], seeds=[0])
        chosen, without = s._reporting([run("a", 7, status="failed", width=w) for w in (2, 4)])
        assert chosen == []
        assert [(r.arm, r.seed, r.role, r.status) for r in without] == [("a", 0, "report", "failed")]
        assert without[0].reason == "no value of width finished on all tuning seeds"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"arms": []}, ValueError, "at least one arm"),
        ({"arms": [Arm("a"), Arm("a")]}, ValueError, "more than once: 'a'"),
        ({"arms": ["a"]}, TypeError, "Arms"),
        ({"arms": Arm("a")}, TypeError, "`arms` should be a list of Arms. Received: arms=Arm.*one arm as a list too"),
        ({"seeds": []}, ValueError, "at least one seed"),
        ({"seeds": [1, 1]}, ValueError, "different seeds"),
        ({"seeds": [-1]}, ValueError, "2\\*\\*32"),
        ({"seeds": [0.5]}, ValueError, "an integer from 0"),
        ({"seeds": "012"}, TypeError, "range\\(10\\)"),
        ({"tune_seeds": [2, 3], "tune": {"width": [2, 3]}}, ValueError, "in both: 2"),
        ({"tune": {"width": [2, 3]}}, ValueError, "which needs `tune_seeds`"),
        ({"grid": {"width": [2]}, "tune": {"width": [2]}}, ValueError, "both in `grid` and in `tune`"),
        ({"grid": {"width": 3}}, TypeError, "list of values"),
        ({"grid": {"width": []}}, ValueError, "at least one value"),
        ({"grid": {"width": [2, 2]}}, ValueError, "without repetition"),
        ({"grid": {"width": [[2]]}}, TypeError, "numbers, strings"),
        ({"grid": ["width"]}, TypeError, "dict of axes"),
        ({"grid": {"width": [2]}, "arms": [Arm("a", width=3)]}, ValueError, "sets 'width'"),
        ({"arms": [Arm("a", "first", DenseEntropy)]}, ValueError, "no axis 'factor'"),
        ({"arms": [Arm("a", tune={"width": [1]})], "grid": {"width": [2]}}, ValueError, "both in a grid and tuned"),
        ({"baseline": "b"}, ValueError, "'none'"),
        ({"epochs": 0}, ValueError, "positive integer"),
        ({"patience": -1}, ValueError, "positive integer"),
        ({"monitor_mode": "auto"}, ValueError, "'min', 'max'"),
        ({"min_delta": -1}, ValueError, "at least 0"),
        ({"data": "mnist"}, TypeError, "x_train"),
        ({"data": None}, TypeError, "Received: data=None .of type NoneType"),
        ({"seeds": [1, "a"]}, TypeError, "`seeds\\[1\\]` should be an integer from 0 to"),
        (
            {"arms": [Arm("a", "first", DenseEntropy, tune={"facto": [1]})]},
            TypeError,
            "'facto'.*Axes of the arm.*factor",
        ),
        ({"callbacks": [1]}, TypeError, "a function"),
        ({"arms": [Arm("a", colour="red")]}, TypeError, "'a': `build` should take the axes"),
        ({"tune": {"learning_rat": [1, 2]}, "tune_seeds": [9]}, TypeError, "learning_rat"),
        ({"data": data()[:3]}, ValueError, "3 values"),
        ({"data": (*data()[:2], None, None)}, ValueError, "validation targets"),
        ({"data": (data()[0], data()[1][:9], *data()[2:])}, ValueError, "9, 40 samples"),
        ({"metric": "speed"}, ValueError, "'speed' does not say whether low or high values are better"),
        ({"lower_is_better": 1}, TypeError, "True, False or None"),
    ],
)
def test_what_does_not_fit_together_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Study(**{"build": build, "arms": [Arm("none")], "seeds": range(3), "data": data, **arguments})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": ""}, TypeError, "not empty"),
        ({"regularizer": 3}, TypeError, "keras.Regularizer"),
        ({"regularizer": "no such"}, ValueError, "no such"),
        ({"initializer": "no such"}, ValueError, "no such"),
        ({"inputs": "centered"}, ValueError, "'centred', 'standardised'"),
        ({"inputs": 3}, TypeError, "'centred'"),
        ({"grid": {"factor": [1]}}, ValueError, "takes no factor"),
        ({"regularizer": DenseEntropy(1.0), "tune": {"factor": [1]}}, ValueError, "takes no factor"),
        ({"grid": {"width": [1]}, "width": 2}, ValueError, "as an argument and as an axis"),
        ({"grid": {"width": [1]}, "tune": {"width": [1]}}, ValueError, "both in `grid` and in `tune`"),
        ({"placement": DenseEntropy(1.0)}, TypeError, "the placement first, then the regularizer"),
        ({"placement": {"first": DenseEntropy(1.0)}, "regularizer": DenseEntropy(1.0)}, TypeError, "which excludes"),
        ({"constant": True}, ValueError, "needs a regularizer"),
        ({"placement": "first"}, ValueError, "'a': `placement` needs something to place.*Give a regularizer.*leave"),
        ({"placement": "conv*", "width": 3}, ValueError, "placement='conv\\*', and no regularizer"),
        ({"placement": {}}, ValueError, "`placement` needs something to place"),
        ({"regularizer": "DenseEntropy"}, ValueError, "`regularizer` should be .* give its class"),
        ({"batch_normalization": "no"}, TypeError, "True or False"),
        ({"initializer": True}, TypeError, "finite number"),
        ({"initializer": math.nan}, ValueError, "finite number"),
    ],
)
def test_an_arm_that_makes_no_sense_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Arm(**{"name": "a", **arguments})


def test_a_placement_without_a_regularizer_is_kept_where_something_uses_it():
    for arguments in ({"initializer": 2.0}, {"batch_normalization": True}, {"grid": {"placement": ["first", "all"]}}):
        assert Arm("a", "all", **arguments).placement == "all"
    assert Arm("a", "none", width=3).placement == "none"
    assert Arm("a").placement == "first"


@pytest.mark.parametrize(
    ("metric", "lower"),
    [("val_task_loss", True), ("val_mae", True), ("mean_squared_error", True), ("val_accuracy", False), ("auc", False)],
)
def test_the_direction_is_read_from_the_name_of_a_metric(metric, lower):
    assert metrics.direction(metric, None) == lower
    assert metrics.direction(metric, not lower) != lower
    s = study(metric=metric, monitor=metric, patience=2)
    assert (s.lower_is_better, s.monitor_mode) == (lower, "min" if lower else "max")


def test_values_that_python_holds_for_equal_stay_apart():
    arm = Arm("a")
    points = study(arm, grid={"dropout": [0, False, 0.0], "width": [1, True]}).points(arm)
    assert [repr(list(point.values())) for point in points] == [
        "[0, 1]", "[0, True]", "[False, 1]", "[False, True]", "[0.0, 1]", "[0.0, True]",
    ]  # fmt: skip


def enclosing(value, filled=True):
    def found():
        return value

    if not filled:
        del value
    return found


def enclosing_two(one, other):
    return lambda: (one, other)


def enclosing_itself(step):
    def first(n):
        return n and second(n - step)

    def second(n):
        return n and first(n)

    return second


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


@dataclasses.dataclass
class Settings:
    value: object


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (enclosing(1), enclosing(2)),
        (functools.partial(build, width=1), functools.partial(build, width=2)),
        (lambda x: x, lambda x: x + 1),
        (lambda x: lambda: x + 1, lambda x: lambda: x + 2),
        (enclosing(Path("a")), enclosing(Path("b"))),
        ({1, 2}, {1, 3}),
        (b"a", b"b"),
        (math.exp, math.log),
        (range(3), range(5)),
        (date(2020, 1, 1), date(2021, 1, 1)),
        (operator.itemgetter(1), operator.itemgetter(2)),
        ("abc".upper, "xyz".upper),
        (Slotted(1), Slotted(2)),
        (Settings(np.zeros(5000)), Settings(np.eye(1, 5000, 2500)[0])),
        (enclosing_itself(1), enclosing_itself(2)),
        (enclosing((None, 5)), enclosing((5, None))),
        (enclosing_two(None, 5), enclosing_two(5, None)),
        (enclosing_two(None, None), enclosing_two(5, None)),
        (enclosing(None), enclosing(None, filled=False)),
        (enclosing(...), enclosing(None, filled=False)),
        (enclosing("Ellipsis"), enclosing(None, filled=False)),
        (np.zeros(3), np.ones(3)),
        (np.zeros(3), np.zeros((3, 1))),
        (DenseEntropy(1.0), DenseEntropy(2.0)),
        (DenseEntropy, TotalCorrelation),
        ((data()[0],), (data()[2],)),
    ],
)
def test_what_differs_is_told_apart(one, other):
    assert identity(one) != identity(other)
    assert identity(one) == identity(one)
    json.dumps(identity(one))


@pytest.mark.processes
def test_a_function_that_was_sent_to_another_process_is_the_same():
    def build(width=3, names=frozenset({"a", "b", "c"})):
        return [name in {"x", "y", "z"} for name in names], lambda: width

    code = "import pickle, sys; from keras_entropy.runs.identity import identity as i; "
    code += "print(i(pickle.load(sys.stdin.buffer)))"
    values = [build, Settings(build), enclosing_itself(1), Slotted({"a", "b", "c"})]
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); {code}"
    sent = subprocess.run(
        [sys.executable, "-c", code], input=cloudpickle.dumps(values), capture_output=True, check=True
    )
    assert sent.stdout.decode().strip() == str(identity(values))


def test_the_baseline_comes_first():
    s = study(Arm("a"), Arm("b"), baseline="b")
    assert [task.arm for task in s._reporting([])[0][:2]] == ["b", "a"]


def test_run_refuses_what_it_cannot_do(tmp_path):
    with pytest.raises(ValueError, match="in processes"):
        study().run(ThreadPoolExecutor(2))
    for arguments, error, message in [
        ({"workers": 0}, ValueError, "positive integer"),
        ({"executor": 3}, TypeError, "Executor"),
    ]:
        with pytest.raises(error, match=message):
            study().run(**arguments)
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds other files \(thesis.tex\), and no study"):
        study(output=tmp_path).run()
    with pytest.raises(FileExistsError, match="is a file"):
        study(output=tmp_path / "thesis.tex").run()
    unpicklable = (i for i in range(3))
    with pytest.raises(TypeError, match="cannot be sent"):
        Study(build, [Arm("a", learning_rate=unpicklable)], [0], data=data).run()


def test_an_arm_says_what_it_is():
    assert repr(Arm("a")) == "Arm('a')"
    arm = Arm("b", "all", DenseEntropy(0.5), constant=True, width=3)
    assert repr(arm).startswith("Arm('b', placement='all', regularizer=DenseEntropy(factor=0.5")
    assert repr(arm).endswith("constant=True, width=3)")
    assert json.dumps(arm.describe()) == json.dumps(
        Arm("b", "all", DenseEntropy(0.5), constant=True, width=3).describe()
    )


record_values = st.builds(
    RunRecord,
    arm=st.text(min_size=1),
    seed=st.integers(0, 2**32 - 1),
    point=st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()),
    reason=st.text(),
    history=st.dictionaries(st.text(), st.lists(st.floats(allow_nan=False), max_size=3), max_size=3),
    wall_seconds=st.floats(0, 1e6),
    cpu_seconds=st.floats(0, 1e6),
)


@given(st.lists(record_values, max_size=4, unique_by=lambda r: r.slot), st.integers(0, 400))
def test_records_are_read_as_they_were_written_and_torn_ends_are_cut(tmp_path_factory, written, torn):
    path = tmp_path_factory.mktemp("records") / "runs.jsonl"
    RunRecords(path).add(*written)
    whole = path.read_bytes()
    assert read_records(path) == written
    RunRecords(path).add(RunRecord(arm="torn", seed=0))
    line = path.read_bytes()[len(whole) :]
    torn = min(torn, len(line) - 1)
    path.write_bytes(whole + line[:torn])

    with pytest.warns(EntropyWarning, match="incomplete") if torn else contextlib.nullcontext():
        assert read_records(path) == written
    found = RunRecords(path)
    assert found.all() == written
    found.add(RunRecord(arm="torn", seed=0))
    assert path.read_bytes() == whole + line


def test_values_that_are_not_finite_survive_strict_json(tmp_path):
    history = {"loss": [1.0, math.inf, -math.inf, math.nan]}
    RunRecords(tmp_path / "runs.jsonl").add(RunRecord(arm="a", seed=0, status="diverged", history=history))

    json.loads((tmp_path / "runs.jsonl").read_text(), parse_constant=pytest.fail)
    assert repr(read_records(tmp_path)[0].history) == repr({"loss": (1.0, math.inf, -math.inf, math.nan)})


def test_of_a_run_that_was_trained_again_the_last_record_counts(tmp_path):
    failed = RunRecord(arm="a", seed=0, status="failed")
    again = RunRecord(arm="a", seed=0, tuned={"rate": 1}, history={"loss": [1.0]})
    tune = [RunRecord(arm="a", seed=0, role="tune", tuned={"rate": rate}) for rate in (1, 2)]
    RunRecords(tmp_path / "runs.jsonl").add(failed, *tune, again)

    assert [(r.role, r.tuned, r.ok) for r in read_records(tmp_path)] == [
        ("tune", {"rate": 1}, True),
        ("tune", {"rate": 2}, True),
        ("report", {"rate": 1}, True),
    ]


RECORD = {"arm": "a", "seed": 0, "status": "failed"}


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        "[]",
        "3",
        "not json",
        "[" * 100_000,
        '{"arm": 1' + "0" * 5000 + "}",
        json.dumps(_sealed.sealed("keras-entropy/run/1", RECORD)),
        *(
            json.dumps(_sealed.sealed(records.SCHEMA, {**RECORD, **change}))
            for change in (
                {"colour": "red"},
                {"seed": "0"},
                {"seed": -1},
                {"seed": 10**400},
                {"status": "done"},
                {"role": "x"},
                {"history": {"loss": 1.0}},
                {"history": {"loss": ["1"]}},
                {"versions": {"keras": 3}},
                {"key": "../../other"},
            )
        ),
    ],
)
def test_a_line_that_is_no_record_is_named(line, tmp_path):
    (tmp_path / "runs.jsonl").write_text(line + "\n")
    with pytest.raises(ValueError, match="runs.jsonl, line 1 is not the record of a run"):
        read_records(tmp_path)


def test_a_changed_number_is_refused_unless_the_user_deletes_the_checksum(tmp_path):
    path = tmp_path / "runs.jsonl"
    RunRecords(path).add(RunRecord(arm="a", seed=0, history={"loss": [2.5799]}))
    path.write_text(path.read_text().replace("2.5799", "2.5699"))
    with pytest.raises(ValueError, match=r'line 1 .* its checksum is wrong.*delete its "sha256"'):
        read_records(path)

    path.write_text(re.sub(', "sha256": "[0-9a-f]*"', "", path.read_text()))
    with pytest.warns(EntropyWarning, match="line 1 has no checksum"):
        assert read_records(path)[0].history == {"loss": (2.5699,)}


def test_a_folder_without_records_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not the folder of a study"):
        read_records(tmp_path)
