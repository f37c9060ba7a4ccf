"""A whole search: trials, the comparison on new seeds, and the files that it leaves."""

import csv
import dataclasses
import html
import json
import math
import pickle
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import keras
import keras_tuner
import numpy as np
import pytest
from tuning_cases import arrays, compare_nothing, hypermodel, plain, several, train_nothing

from keras_entropy import DenseEntropy, _files, _sealed
from keras_entropy._frozen import FrozenDict
from keras_entropy.runs.seeds import seeded
from keras_entropy.study import Study, folder, read_records
from keras_entropy.tuning import EntropyHyperModel, project_folder, search, search_pipeline, trial_run
from keras_entropy.tuning.contenders import CONTROLS, OrthogonalBuild
from keras_entropy.tuning.hypermodel import FACTOR, PLACEMENT, SIGN
from keras_entropy.tuning.output_folder import results_of
from keras_entropy.tuning.search_figure import figure
from keras_entropy.tuning.search_result import SCHEMA

TINY = {"max_trials": 1, "epochs": 1, "seeds": 1, "holdout_seeds": 2, "controls": (), "progress": False}
ARMS = ("entropy", "baseline", "soft orthogonality")
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
    monkeypatch.setattr(search_pipeline, "_save_best", lambda *_: None)


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
    last = {arm: {r.seed: r.value("val_task_loss") for r in records if r.arm == arm} for arm in ARMS}
    for arm, values in last.items():
        assert result[arm].holdout == values
        assert result[arm].holdout_mean == pytest.approx(np.mean(list(values.values())))
    assert result.difference.n == 3
    assert result.difference.paired
    assert result.difference.estimate == pytest.approx(result["entropy"].holdout_mean - result.baseline.holdout_mean)
    assert [duel.rival for duel in result.duels] == list(ARMS[1:])
    assert all("Holm over 2 tests" in duel.difference.adjustment for duel in result.duels)
    assert result.winner == min(ARMS, key=lambda arm: result[arm].holdout_mean)
    assert all(any(words in said for words in ("better", "worse", "No difference")) for said in result.sentences[1:3])


def test_the_winner_has_finished_on_all_held_out_seeds(found):
    _, result = found
    first, *others = result.contenders
    lucky = dataclasses.replace(first, holdout=FrozenDict({1000: -1.0}))  # the others of its seeds diverged
    assert dataclasses.replace(result, contenders=(lucky, *others)).winner in [c.name for c in others]


@pytest.mark.parametrize("arm", ["entropy", "baseline", "soft orthogonality"])
def test_the_best_setting_is_that_of_the_table(arm, found):
    folder, result = found
    trials = [row for row in rows(folder) if row["contender"] == arm]
    assert len(trials) == 2
    best = min(trials, key=lambda row: float(row["val_task_loss"]))
    assert float(best["val_task_loss"]) == result[arm].score
    assert float(best["learning_rate"]) == result[arm].values["learning_rate"]
    seeds = [float(best[f"val_task_loss/seed_{seed}/last"]) for seed in (0, 1)]
    assert np.mean(seeds) == pytest.approx(result[arm].score)


def test_all_contenders_have_equal_budgets(found):
    _, result = found
    budgets = [result[arm].budget() for arm in ARMS]
    assert [budget["trials"] for budget in budgets] == [2, 2, 2]
    assert [budget["runs"] for budget in budgets] == [4, 4, 4]
    assert [budget["epochs"] for budget in budgets] == [8, 8, 8]
    assert [budget["tuned"][0] for budget in budgets] == ["learning_rate"] * 3


def test_files(found):
    folder, result = found
    record = json.loads((folder / "result.json").read_text())
    assert record["schema"] == "keras-entropy/search-result/3"
    assert record["sentences"] == list(result.sentences)
    assert record["differences"]["baseline"]["n"] == 3
    assert record["budgets"]["soft orthogonality"]["trials"] == 2
    assert _sealed.read(folder / "result.json", SCHEMA) == json.loads(json.dumps(_files.strict(result.to_dict())))
    assert (folder / "search.png").read_bytes().startswith(b"\x89PNG")
    found = {path.parent.relative_to(folder / "logs").parts for path in (folder / "logs").rglob("events*")}
    assert {(arm, "trial_0", "seed_0") for arm in ("entropy", "baseline", "soft_orthogonality")} <= found
    assert {"val_mae", "task_loss", "entropy_penalty"} <= rows(folder)[0].keys()


def test_the_winner_is_in_the_users_hands(found):
    folder, result = found
    x, y = data()[2:]
    for arm in ARMS:
        assert result.best_hyperparameters(arm).values == result[arm].values
        model = result.build(arm)
        model.fit(x, y, epochs=1, verbose=0)
        trained = result.best_model(arm)
        loss = float(np.mean((trained.predict(x, verbose=0) - y) ** 2))
        assert loss == pytest.approx(min(result[arm].best.seed_scores.values()), rel=1e-5)
    saved = keras.models.load_model(folder / "best_model.keras")
    np.testing.assert_array_equal(saved.predict(x, verbose=0), result.best_model().predict(x, verbose=0))
    assert (result.report() / "report.html").exists()
    with pytest.raises(ValueError, match="`name` should be one of 'entropy', 'baseline', 'soft orthogonality'"):
        result.build("other")


def test_the_figure_has_a_curve_for_each_sign(found):
    _, result = found
    signs = {"+": 1, "-": -1}
    trials = [
        dataclasses.replace(result.trials[0], values=FrozenDict({PLACEMENT: "first", FACTOR: 0.1, SIGN: sign}))
        for sign in signs.values()
    ]
    term = dataclasses.replace(result["entropy"], trials=tuple(trials), best=trials[0])
    drawn = figure(dataclasses.replace(result, contenders=(term, *result.contenders[1:])))
    labels = [text.get_text() for text in drawn.axes[0].get_legend().get_texts()]
    assert labels == ["best baseline", "first (+)", "first (-)"]
    assert [axes.get_title() for axes in drawn.axes] == list(ARMS)
    assert drawn.get_suptitle() == "val_task_loss: lower is better"
    assert "entropy" in drawn.get_supxlabel().lower()


def test_again_it_trains_nothing_and_says_the_same(found):
    folder, result = found
    before = {path: path.read_bytes() for path in folder.rglob("runs.jsonl")}
    assert len(before) == 3 + 1
    assert search(several(), data, output=folder, **SMALL).sentences == result.sentences
    assert {path: path.read_bytes() for path in before} == before


def test_fewer_new_seeds_are_refused_before_anything_is_trained(found):
    folder, _ = found
    before = (folder / "search" / "entropy" / "oracle.json").read_bytes()
    with pytest.raises(ValueError, match="should include the seeds"):
        search(several(), data, output=folder, **SMALL | {"holdout_seeds": 2, "max_trials": 5})
    assert (folder / "search" / "entropy" / "oracle.json").read_bytes() == before


def test_the_sentences_say_what_was_compared(found):
    _, result = found
    metric, baseline, control, budgets, _, setting, *_ = result.sentences
    assert metric == "val_task_loss (lower is better) on held-out seeds:"
    assert "the tuned baseline" in baseline
    assert "soft orthogonality" in control
    assert budgets.startswith("All of them tuned learning rate, on 2 seeds each: entropy in 2 trials, with placement, ")
    rate = result.baseline.values["learning_rate"]
    assert setting.startswith(f"The best setting of baseline: learning rate {rate:.3g}, mean ")


def test_a_baseline_that_is_not_tuned_is_called_so(tmp_path, without_training):
    found = {
        tune: search(hypermodel(), data, output=tmp_path / str(tune), tune_baseline=tune, **TINY)
        for tune in (True, False)
    }
    assert found[True].baseline.tuned == ("learning_rate_multiplier", "l2")
    assert set(found[True]["entropy"].tuned) > set(found[True].baseline.tuned)
    assert "the tuned baseline" in found[True].sentences[1]
    assert found[False].baseline.tuned == ()
    assert "the baseline, which was not tuned" in found[False].sentences[1]
    assert "tuned baseline" not in str(found[False])


def test_every_control_is_searched(tmp_path, without_training):
    result = search(hypermodel(), data, output=tmp_path, **TINY | {"controls": CONTROLS})
    assert [contender.name for contender in result.contenders] == ["entropy", "baseline", *CONTROLS]
    assert {duel.rival for duel in result.duels} == {"baseline", *CONTROLS}


def test_a_result_shows_itself_as_a_table(found):
    folder, result = found
    frame = result.to_frame()
    with (folder / "trials.csv").open() as file:
        assert list(frame.columns) == next(csv.reader(file))
    assert frame["val_task_loss"].tolist() == sorted(float(row["val_task_loss"]) for row in rows(folder))
    assert sorted(zip(frame["contender"], frame["trial"], strict=True)) == [(a, t) for a in sorted(ARMS) for t in "01"]
    text, page = str(result), result._repr_html_()
    assert repr(result) == "<SearchResult of 6 trials: entropy, baseline, soft orthogonality>"
    assert text.split("\n\n", maxsplit=1)[0].split("\n") == list(result.sentences)
    assert all(html.escape(said) in page for said in result.sentences)
    assert page.startswith("<table><caption>val_task_loss (lower is better)")
    assert page.count("<tr") == 1 + 6
    for shown in (text, page):
        assert all(f"{value:.5g}" in shown for value in frame["val_task_loss"])
        assert not any(f"{word}" in shown for word in ("entropy/factor", "seed_0", "nan", "None"))


def test_a_result_is_read_only_with_all_that_is_in_it(found):
    _, whole = found
    result = dataclasses.replace(whole, study=None, tuners=FrozenDict())

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
    assert hash(result) == hash(whole) == hash(pickle.loads(pickle.dumps(result)))
    with pytest.raises(TypeError):
        result.values["entropy/factor"] = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.sentences = ()


def test_callbacks_are_in_search_and_comparison_and_may_refer_to_themselves(tmp_path):
    class Cyclic(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.me = self

    stop = keras.callbacks.EarlyStopping("val_task_loss", mode="min", patience=1, min_delta=1e9)
    options = {"objective": keras_tuner.Objective("val_mae", "max"), "callbacks": [Cyclic(), stop]}
    result = search(hypermodel(), data, output=tmp_path / "a", **options, **TINY | {"epochs": 6})
    assert (result.metric, result.lower_is_better) == ("val_mae", False)
    assert "DenseEntropy" in str(result)
    assert {trial.epochs for trial in result.trials} == {6}
    for arm in ("entropy", "baseline"):
        assert {run.epochs for run in read_records(tmp_path / "a" / "search" / arm)} == {2}
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
    for arm in ("entropy", "baseline"):
        trials = [float(row["val_mae"]) for row in rows(tmp_path / "a") if row["contender"] == arm]
        assert result[arm].score == max(trials)
    assert not result.lower_is_better


def test_hyperparameters_of_each_layer(tmp_path, without_training):
    tuned = EntropyHyperModel(plain, DenseEntropy, ["all"], per_layer=True)
    result = search(tuned, data, output=tmp_path / "a", **TINY)
    own = {"learning_rate_multiplier", "l2"}
    assert set(result.values) - own == {"entropy/placement", "entropy/factor/a", "entropy/factor/b"}


@pytest.mark.parametrize("tuner", ["grid", "bayesian", "hyperband"])
def test_each_tuner_comes_to_a_result(tuner, tmp_path, without_training):
    options = {"num_initial_points": 2} if tuner == "bayesian" else {}
    result = search(hypermodel(), data, tuner=tuner, output=tmp_path / "a", **TINY | {"max_trials": 3}, **options)
    assert math.isfinite(result["entropy"].holdout_mean)
    assert f"The luck of a {tuner} search is not part of these p-values." in result.sentences


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
        ({"controls": "L2"}, "a list of names of controls"),
        ({"controls": ["L3"]}, "one of 'soft orthogonality', 'L2'"),
        ({"controls": ["L2", "L2"]}, "different names"),
        ({"tune_baseline": 1}, "True or False"),
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
    assert len([row for row in rows(tmp_path) if row["contender"] == "entropy"]) == 1


def test_overwrite_deletes_nothing_while_a_process_works_there(tmp_path, without_training):
    search(hypermodel(), data, output=tmp_path, **TINY)
    comparison = tmp_path / "comparison" / "0"
    comparison.mkdir(parents=True)
    (comparison / "study.json").write_text("a study")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    project = project_folder.results_of(tmp_path / "search" / "baseline")
    parts = [results_of(tmp_path), project, folder.results_of(comparison)]
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


def test_orthogonal_kernels_differ_between_seeds_and_are_equal_for_one():
    build = OrthogonalBuild(plain, DenseEntropy(1.0))

    def kernels(seed):
        with seeded(seed):
            return [weight.get_weights()[0] for weight in build(keras_tuner.HyperParameters()).layers]

    first, again, other = kernels(0), kernels(0), kernels(1)
    for one, same, different in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one, same)
        assert not np.allclose(one, different)
        short = min(one.shape)
        gram = one.T @ one if one.shape[1] == short else one @ one.T
        np.testing.assert_allclose(gram, np.eye(short), atol=1e-5)


@pytest.mark.parametrize("damage", ["a lost line", "a cut end", "no line"])
def test_a_finished_search_that_lost_a_run_is_refused_and_mended_as_the_error_says(damage, found, tmp_path):
    folder, result = found
    folder = shutil.copytree(folder, tmp_path / "out")
    runs = folder / "search" / "baseline" / "runs.jsonl"
    lines = runs.read_bytes().splitlines(keepends=True)
    kept = {"a lost line": b"".join(lines[:1] + lines[2:]), "a cut end": b"".join(lines)[:-10], "no line": b""}
    runs.write_bytes(kept[damage])
    before = (folder / "result.json").read_bytes()
    with pytest.raises(ValueError, match=r"baseline.runs.jsonl should have the run of trial .*delete .*oracle.json"):
        search(several(), data, output=folder, **SMALL)
    assert (folder / "result.json").read_bytes() == before

    (folder / "search" / "baseline" / "oracle.json").unlink()
    mended = search(several(), data, output=folder, **SMALL)
    assert mended.sentences == result.sentences
    assert len(read_records(folder / "search" / "baseline")) == len(lines)


def test_overwrite_deletes_nothing_where_a_contender_has_other_files(tmp_path, without_training):
    output = tmp_path / "a"
    search(hypermodel(), data, output=output, **TINY)
    (output / "search" / "entropy" / "notes.txt").write_text("mine")
    before = sorted(output.rglob("*"))
    with pytest.raises(FileExistsError, match=r"entropy holds other files \(notes.txt\)"):
        search(hypermodel(), data, output=output, overwrite=True, **TINY)
    assert sorted(output.rglob("*")) == before


@pytest.mark.parametrize("part", ["search", "search/entropy", "comparison/mine", "logs"])
def test_a_search_inside_of_another_is_refused(part, tmp_path, without_training):
    search(hypermodel(), data, output=tmp_path / "a", **TINY)
    with pytest.raises(FileExistsError, match="is a part of the search in .*a. Name another folder"):
        search(hypermodel(), data, output=tmp_path / "a" / part, **TINY)


@pytest.mark.parametrize(
    "wrong", [[[1.0, 2.0]] * 4, np.array([["a", "b"]] * 4), np.array([[1, None]] * 4)], ids=["list", "text", "object"]
)
def test_data_that_are_no_arrays_of_numbers_are_refused(wrong, tmp_path):
    given = (wrong, np.ones((4, 6)), np.ones((4, 6)), np.ones((4, 6)))
    with pytest.raises(TypeError, match=r"`data` should have arrays of numbers\. Received: .* np\.asarray"):
        search(hypermodel(), given, output=tmp_path / "a", **TINY)
