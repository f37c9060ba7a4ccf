"""A whole search: trials, the comparison on new seeds, and the files that it leaves."""

import csv
import dataclasses
import json
import math
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import keras
import keras_tuner
import numpy as np
import pytest
from tuning_cases import arrays, compare_nothing, hypermodel, plain, several, train_nothing

from keras_entropy import DenseEntropy
from keras_entropy._frozen import FrozenDict
from keras_entropy.study import Study, folder, read_records
from keras_entropy.tuning import EntropyHyperModel, project_folder, search, trial_run
from keras_entropy.tuning.hypermodel import FACTOR, PLACEMENT, SIGN
from keras_entropy.tuning.output_folder import results_of
from keras_entropy.tuning.search_figure import figure

TINY = {"max_trials": 1, "epochs": 1, "seeds": 1, "holdout_seeds": 2, "progress": False}
SMALL = {"max_trials": 2, "epochs": 2, "seeds": 2, "holdout_seeds": 3, "progress": False}


@pytest.fixture(scope="module", autouse=True)
def _comparison_in_this_process():
    """The command's tests compare in a pool, whose processes take seconds to start."""
    run = Study.run
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as here:
        patch.setattr(Study, "run", lambda study, executor=None, **options: run(study, executor or here, **options))
        yield


@pytest.fixture
def without_training(monkeypatch):
    """Where the numbers do not matter: they depend on the setting and the seed alone."""
    monkeypatch.setattr(trial_run, "train", train_nothing())
    monkeypatch.setattr(Study, "run", compare_nothing)


def data():
    given = arrays()
    return given["x"], given["y"], *given["validation_data"]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search") / "out"
    return folder, search(several(), data, output=folder, **SMALL)


def rows(folder):
    with (folder / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def compared(folder):
    (only,) = (folder / "comparison").iterdir()
    return read_records(only)


def test_the_result_is_of_new_seeds(found):
    folder, result = found
    records = compared(folder)
    assert {record.seed for record in records} == {1000, 1001, 1002} == set(result.holdout_seeds)
    assert not set(result.seeds) & set(result.holdout_seeds)
    last = {arm: {r.seed: r.value("val_task_loss") for r in records if r.arm == arm} for arm in ("baseline", "entropy")}
    assert result.holdout_mean == pytest.approx(np.mean(list(last["entropy"].values())))
    assert result.baseline_holdout_mean == pytest.approx(np.mean(list(last["baseline"].values())))
    assert result.difference.n == 3
    assert result.difference.paired
    assert result.difference.estimate == pytest.approx(result.holdout_mean - result.baseline_holdout_mean)
    assert any(words in result.sentence for words in ("better", "worse", "no difference"))
    assert str(result).startswith(result.sentence)


def test_the_best_setting_is_that_of_the_table(found):
    folder, result = found
    trials = [row for row in rows(folder) if row["trial"] != "baseline"]
    best = min(trials, key=lambda row: float(row["val_task_loss"]))
    assert float(best["val_task_loss"]) == result.score
    assert float(best["entropy/factor"]) == result.values["entropy/factor"]
    assert result.completed_trials == 2
    seeds = [float(best[f"val_task_loss/seed_{seed}/last"]) for seed in (0, 1)]
    assert np.mean(seeds) == pytest.approx(result.score)


def test_the_model_without_term_is_tuned_too(found):
    folder, result = found
    bases = [row for row in rows(folder) if row["trial"] == "baseline"]
    assert len(bases) == 2  # a learning rate for each trial
    best = min(bases, key=lambda row: float(row["val_task_loss"]))
    assert float(best["learning_rate"]) == result.baseline_values["learning_rate"]
    assert float(best["val_task_loss"]) == result.baseline_score


def test_files(found):
    folder, result = found
    record = json.loads((folder / "result.json").read_text())
    assert record["schema"] == "keras-entropy/search-result/1"
    assert record["sentence"] == result.sentence
    assert record["difference"]["n"] == 3
    assert json.loads(json.dumps(result.to_dict())) == record
    assert (folder / "search.png").read_bytes().startswith(b"\x89PNG")
    assert {path.parent.parent.name for path in (folder / "logs").rglob("events*") if "seed" in str(path)} >= {
        "trial_0"
    }


def test_the_figure_has_a_curve_for_each_sign(found):
    _, result = found
    signs = {"+": 1, "-": -1}
    trials = [
        dataclasses.replace(result.trials[0], values=FrozenDict({PLACEMENT: "first", FACTOR: 0.1, SIGN: sign}))
        for sign in signs.values()
    ]
    drawn = figure(dataclasses.replace(result, values=trials[0].values, trials=tuple(trials)))
    labels = [text.get_text() for text in drawn.axes[0].get_legend().get_texts()]
    assert labels[:2] == ["first (+)", "first (-)"]


def test_again_it_trains_nothing_and_says_the_same(found):
    folder, result = found
    before = (folder / "search" / "runs.jsonl").read_bytes()
    assert search(several(), data, output=folder, **SMALL).sentence == result.sentence
    assert (folder / "search" / "runs.jsonl").read_bytes() == before


def test_fewer_new_seeds_are_refused_before_anything_is_trained(found):
    folder, _ = found
    before = (folder / "search" / "oracle.json").read_bytes()
    with pytest.raises(ValueError, match="should include the seeds"):
        search(several(), data, output=folder, **SMALL | {"holdout_seeds": 2, "max_trials": 5})
    assert (folder / "search" / "oracle.json").read_bytes() == before


def test_the_sentence_says_what_was_compared(found):
    _, result = found
    assert result.sentence.startswith("val_task_loss (lower is better)")
    assert f"at its best learning_rate {result.baseline_values['learning_rate']:.3g}" in result.sentence


def test_a_result_shows_itself_as_a_table(found):
    folder, result = found
    frame = result.to_frame()
    with (folder / "trials.csv").open() as file:
        assert list(frame.columns) == next(csv.reader(file))
    assert frame["val_task_loss"].tolist() == sorted(float(row["val_task_loss"]) for row in rows(folder))
    assert sorted(frame["trial"]) == ["0", "1", "baseline", "baseline"]
    text, page = str(result), result._repr_html_()
    assert text.startswith(f"{result.sentence}\n\n")
    assert page.startswith("<table><caption>val_task_loss (lower is better)")
    assert page.count("<tr") == 1 + 4
    for shown in (text, page):
        assert all(f"{value:.5g}" in shown for value in frame["val_task_loss"])
        assert not any(f"{word}" in shown for word in ("entropy/factor", "seed_0", "nan", "None"))


def test_a_result_is_read_only_with_all_that_is_in_it(found):
    _, result = found

    def check(value):
        if dataclasses.is_dataclass(value):
            assert value.__dataclass_params__.frozen
            value = [getattr(value, field.name) for field in dataclasses.fields(value)]
        elif isinstance(value, FrozenDict):
            value = [*value, *value.values()]
        elif not isinstance(value, tuple):
            assert value is None or isinstance(value, str | int | float)
            return
        for part in value:
            check(part)

    check(result)
    assert hash(result) == hash(pickle.loads(pickle.dumps(result)))
    with pytest.raises(TypeError):
        result.values["entropy/factor"] = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.score = 0.0


def test_callbacks_are_in_search_and_comparison_and_may_refer_to_themselves(tmp_path):
    class Cyclic(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.me = self

    stop = keras.callbacks.EarlyStopping("val_task_loss", mode="min", patience=1, min_delta=1e9)
    options = {"objective": keras_tuner.Objective("val_mae", "max"), "callbacks": [Cyclic(), stop]}
    result = search(hypermodel(), data, output=tmp_path / "a", **options, **TINY | {"epochs": 6})
    assert (result.metric, result.lower_is_better) == ("val_mae", False)
    assert "DenseEntropy" in result.sentence
    assert {trial.epochs for trial in result.trials} == {6}
    assert {run.epochs for run in read_records(tmp_path / "a" / "search")} == {2}
    assert {record.epochs for record in compared(tmp_path / "a")} == {2}


def test_a_higher_metric_may_be_better(tmp_path, without_training):
    result = search(
        hypermodel(),
        data,
        objective="val_mae",
        lower_is_better=False,
        output=tmp_path / "a",
        **TINY | {"max_trials": 3},
    )
    trials = [float(row["val_mae"]) for row in rows(tmp_path / "a") if row["trial"] != "baseline"]
    assert result.score == max(trials)
    assert not result.lower_is_better


def test_hyperparameters_of_each_layer(tmp_path, without_training):
    tuned = EntropyHyperModel(plain, DenseEntropy, ["all"], per_layer=True)
    result = search(tuned, data, output=tmp_path / "a", **TINY)
    assert set(result.values) == {"entropy/placement", "entropy/factor/a", "entropy/factor/b"}


@pytest.mark.parametrize("tuner", ["grid", "bayesian", "hyperband"])
def test_each_tuner_comes_to_a_result(tuner, tmp_path, without_training):
    options = {"num_initial_points": 2} if tuner == "bayesian" else {}
    result = search(hypermodel(), data, tuner=tuner, output=tmp_path / "a", **TINY | {"max_trials": 3}, **options)
    assert math.isfinite(result.holdout_mean)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"objective": "val_loss"}, "val_task_loss"),
        ({"seeds": [1], "holdout_seeds": [1, 2]}, "no seed in common"),
        ({"holdout_seeds": 1}, "at least two seeds"),
        ({"max_trials": 0}, "a positive integer"),
        ({"epochs": 0}, "a positive integer"),
        ({"workers": 0}, "a positive integer"),
        ({"tuner": "annealing"}, "one of 'random'"),
        ({"data": (np.ones((4, 6)), np.ones((3, 6)), np.ones((4, 6)), np.ones((4, 6)))}, "as many training targets"),
        ({"callbacks": [keras.callbacks.EarlyStopping("val_loss")]}, "val_task_loss"),
        ({"callbacks": None}, "a list of keras.callbacks.Callback"),
        ({"callbacks": keras.callbacks.TerminateOnNaN()}, "a list of keras.callbacks.Callback"),
        ({"callbacks": ["a"]}, "a list of keras.callbacks.Callback"),
        ({"data": 5}, "`data` should be"),
        ({"data": None}, "`data` should be"),
        ({"batch_size": 2.5}, "a positive integer"),
        ({"seed": "a"}, "`seed` should be"),
        ({"overwrite": "no"}, "True or False"),
        ({"executions_per_trial": 2}, "`seeds`"),
        ({"max_epochs": 2}, "`epochs`"),
    ],
)
def test_bad_arguments_are_named_and_nothing_is_written(change, words, tmp_path):
    options = {"data": data, "output": tmp_path / "a", **SMALL, **change}
    with pytest.raises((TypeError, ValueError), match=words):
        search(hypermodel(), **options)
    assert not list(tmp_path.rglob("oracle.json"))


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(FileExistsError, match="is a file. Name a folder"):
        search(hypermodel(), data, output=tmp_path / "a", **TINY)
    assert (tmp_path / "a").read_text() == "mine"


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_no_search_has_written_is_not_overwritten(overwrite, tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "trials.csv").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds other files \(logs, trials.csv\), and no search"):
        search(hypermodel(), data, output=tmp_path, overwrite=overwrite, **TINY)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "trials.csv"]
    assert (tmp_path / "trials.csv").read_text() == "mine"


def test_overwrite_leaves_other_files_alone(tmp_path, without_training):
    search(hypermodel(), data, output=tmp_path, **TINY | {"max_trials": 2})
    (tmp_path / "notes.txt").write_text("mine")
    search(hypermodel(), data, output=tmp_path, overwrite=True, **TINY)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    other = [2 * array for array in data()]
    search(hypermodel(), other, output=tmp_path, overwrite=True, **TINY)
    assert len([row for row in rows(tmp_path) if row["trial"] != "baseline"]) == 1


def test_overwrite_deletes_nothing_while_a_process_works_there(tmp_path, without_training):
    search(hypermodel(), data, output=tmp_path, **TINY)
    comparison = tmp_path / "comparison" / "0"
    comparison.mkdir(parents=True)
    (comparison / "study.json").write_text("a study")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    parts = [results_of(tmp_path), project_folder.results_of(tmp_path / "search"), folder.results_of(comparison)]
    for part in parts:
        with part.locked(), pytest.raises(BlockingIOError, match="Another process works on"):
            search(hypermodel(), data, output=tmp_path, overwrite=True, **TINY)
        assert {path: path.read_bytes() for path in before if path.exists()} == before


def untuned(hp):
    raise ValueError("cannot build")


@pytest.mark.parametrize(
    ("tuned", "change", "words"),
    [
        (hypermodel(), {"tuner": "annealing"}, "`tuner`"),
        (hypermodel(), {"epoch": "first"}, "`epoch`"),
        (hypermodel(), {"tuner": "bayesian", "num_initial_point": 2}, "`num_initial_points`"),
        (hypermodel(), {"max_retries_per_trial": 2}, "should be left out"),
        (plain, {}, "`hypermodel`"),
        (hypermodel(untuned), {}, "cannot build"),
    ],
)
def test_a_mistake_costs_no_earlier_search(tuned, change, words, found):
    folder, _ = found
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises((TypeError, ValueError), match=words):
        search(tuned, data, output=folder, overwrite=True, **SMALL | change)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("module", ["loky", "matplotlib", "tensorboard"])
def test_a_missing_package_is_named_before_anything_is_trained(module, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=rf"{module}.*keras-entropy\[search\]"):
        search(hypermodel(), data, output=tmp_path / "a", **TINY)
    assert not list(tmp_path.iterdir())


def test_a_fit_of_the_users_is_refused_since_it_would_not_be_compared(tmp_path):
    class OwnFit(keras_tuner.HyperModel):
        def build(self, hp):
            return plain()

        def fit(self, hp, model, *args, **kwargs):
            return model.fit(*args, **kwargs)

    with pytest.raises(ValueError, match="its own `fit`"):
        search(hypermodel(OwnFit()), data, output=tmp_path / "a", **TINY)
    assert not list(tmp_path.iterdir())
