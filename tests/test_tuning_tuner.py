"""EntropyTuner with real training: seeds, and runs that are interrupted."""

import functools
import gc
import json
import math
import weakref
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest
from keras_tuner import errors
from tuning_cases import arrays, build, hypermodel, plain, train_nothing, values_of

from keras_entropy import (
    ActivationEntropy,
    ConvCornerEntropy,
    ConvEntropy,
    DenseEntropy,
    EntropyLogger,
    FactorSchedule,
    TotalCorrelation,
)
from keras_entropy.runs.records import RunRecords
from keras_entropy.tuning import EntropyHyperModel, EntropyTuner, trial_run
from keras_entropy.tuning.hypermodel import BaselineHyperModel
from keras_entropy.tuning.hyperparameters import own, slot_of


def tuned(folder, model=None, **options):
    """A tuner whose search is one run, but for what the options add."""
    settings = {"max_trials": 1, "seeds": [0], "directory": folder, **options}
    return EntropyTuner(hypermodel() if model is None else model, **settings)


def searched(folder, model=None, epochs=1, fit=None, **options):
    tuner = tuned(folder, model, **options)
    tuner.search(**{**arrays(), **(fit or {})}, epochs=epochs, verbose=0)
    return tuner


def runs_of(tuner):
    return {run.slot: run for run in tuner.records.all()}


def histories(tuner):
    return {key: run.history for key, run in runs_of(tuner).items()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A search that has ended; tests only read it."""
    folder = tmp_path_factory.mktemp("finished")
    return searched(folder, max_trials=2, seeds=[0, 1], epochs=2, log_dir=folder / "logs")


def test_each_seed_is_kept_and_the_score_is_their_mean(finished):
    tuner = finished
    for trial in tuner.oracle.trials.values():
        runs = [tuner.records.get(slot_of("entropy", trial.hyperparameters.values, seed)) for seed in (0, 1)]
        last = [run.history["val_task_loss"][-1] for run in runs]
        assert trial.score == pytest.approx(np.mean(last), rel=1e-12)
        for seed, run in enumerate(runs):
            column = run.history["val_task_loss"]
            found = [trial.metrics.get_best_value(f"val_task_loss/seed_{seed}/{epoch}") for epoch in ("last", "best")]
            assert found == [column[-1], min(column)]


def test_equal_seeds_start_from_equal_weights_with_and_without_term(tmp_path):
    # A factor too small to change a bit: what differs then is the seed alone.
    term = hypermodel(factors=(1e-30, 1e-29))
    plain_model = BaselineHyperModel(term.base, term.regularizers, term.placements, term.factors)
    found = [searched(tmp_path / name, model, seeds=[0, 1]) for name, model in (("a", term), ("b", plain_model))]
    by_seed = {}
    for run in [run for tuner in found for run in tuner.records.all()]:
        by_seed.setdefault(run.seed, set()).add(tuple(run.history["val_task_loss"]))
    assert all(len(found) == 1 for found in by_seed.values())
    assert by_seed[0] != by_seed[1]


class Killed(keras.callbacks.Callback):
    """Stops the program in a certain epoch of each run, once."""

    at = None

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == Killed.at:
            Killed.at = None
            raise KeyboardInterrupt


CALLBACKS = {
    "none": lambda: [],
    "early stopping": lambda: [
        keras.callbacks.EarlyStopping("val_task_loss", mode="min", patience=1, restore_best_weights=True)
    ],
    "plateau": lambda: [keras.callbacks.ReduceLROnPlateau("val_task_loss", mode="min", patience=0, factor=0.5)],
    "schedule": lambda: [
        EntropyLogger(measure="log_volume"),
        keras.callbacks.LearningRateScheduler(lambda e: 0.1 / (e + 1)),
    ],
}


@pytest.mark.parametrize("name", CALLBACKS)
def test_an_interrupted_run_goes_on_to_the_same_bits(name, tmp_path):
    """With dropout, and a term that acts on every third step; compiled, where no callback is watched."""
    function = functools.partial(build, eager=name != "none")
    model = EntropyHyperModel(function, lambda factor: DenseEntropy(factor, every=3), factors=(1e-2, 1e-1))
    options = {"epochs": 3}
    whole = searched(tmp_path / "whole", model, fit={"callbacks": [Killed(), *CALLBACKS[name]()]}, **options)
    seen = []

    class Counted(Killed):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append(epoch)
            super().on_epoch_begin(epoch, logs)

    Counted.__name__ = Counted.__qualname__ = "Killed"
    for at in (1, 2, None):
        Killed.at = at
        try:
            parts = searched(tmp_path / "parts", model, fit={"callbacks": [Counted(), *CALLBACKS[name]()]}, **options)
            break
        except KeyboardInterrupt:
            continue
    assert histories(parts) == histories(whole)
    for key, run in runs_of(whole).items():
        assert runs_of(parts)[key].stopped_early == run.stopped_early
    if name != "early stopping":
        assert seen.count(0) == len(runs_of(whole))  # no run was begun twice


def test_a_kill_between_the_last_epoch_and_its_record_loses_no_weight(tmp_path, monkeypatch):
    whole = searched(tmp_path / "whole")

    def killed(self, run):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunRecords, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            searched(tmp_path / "parts")
    parts = searched(tmp_path / "parts")
    assert histories(parts) == histories(whole)
    x = arrays()["x"]
    found = [tuner.get_best_models()[0].predict(x, verbose=0) for tuner in (whole, parts)]
    np.testing.assert_array_equal(*found)


def test_the_dtype_policy_is_that_of_the_caller(tmp_path):
    seen = []

    def build():
        seen.append(keras.config.dtype_policy().name)
        return plain()

    keras.config.set_dtype_policy("mixed_bfloat16")
    searched(tmp_path, EntropyHyperModel(build, DenseEntropy))
    assert set(seen) == {"mixed_bfloat16"}


def test_a_factor_schedule_goes_on(tmp_path):
    fit = {"callbacks": [FactorSchedule(lambda epoch: 1.0 + epoch)]}
    tuner = searched(tmp_path, fit=fit, epochs=3)
    run = tuner.records.all()[0]
    assert run.history["entropy_multiplier"] == (1.0, 2.0, 3.0)


def test_a_callback_with_more_than_numbers_starts_the_run_anew(tmp_path):
    class Holder(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.anything = object()

    tuner = searched(tmp_path, fit={"callbacks": [Holder()]}, epochs=2)
    assert not list(Path(tmp_path).rglob("*.npz"))
    assert [run.epochs for run in tuner.records.all()] == [2]


def test_data_that_are_no_arrays_are_taken(tmp_path):
    class Data(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            x = arrays()["x"][index * 16 : index * 16 + 16]
            return x, x

    found = [searched(tmp_path / name, fit={"x": Data(), "y": None}) for name in "ab"]
    assert histories(found[0]) == histories(found[1])


def test_validation_split_takes_the_last_samples(tmp_path):
    x = arrays()["x"]
    split = searched(tmp_path / "a", fit={"validation_data": None, "validation_split": 0.25})
    given = searched(tmp_path / "b", fit={"x": x[:24], "y": x[:24], "validation_data": (x[24:], x[24:])})
    assert histories(split) == histories(given)


def test_a_trial_that_is_not_finite_has_failed_with_its_values_and_the_search_goes_on(tmp_path):
    tuner = searched(tmp_path, Diverging(plain, DenseEntropy, factors=[0.1, 0.2, 0.3]), tuner="grid", max_trials=3)
    states = {trial.hyperparameters["entropy/factor"]: trial for trial in tuner.oracle.trials.values()}
    assert len(tuner.oracle.trials) == 3
    assert states[0.2].status == "FAILED"
    assert states[0.2].message == "Seed 0: loss is nan in epoch 1."
    assert np.isnan(states[0.2].metrics.get_history("val_task_loss/seed_0/last")[0].value)
    assert all(hp["entropy/factor"] != 0.2 for hp in tuner.get_best_hyperparameters(9))


class Diverging(EntropyHyperModel):
    """Weights that are not finite, for one factor."""

    def build(self, hp):
        model = super().build(hp)
        if hp["entropy/factor"] == 0.2:
            model.layers[0].kernel.assign(np.full((6, 4), np.nan))
        return model


def test_with_all_trials_failed_there_is_no_best_one(tmp_path, monkeypatch):
    def train(job, task, observers=()):
        return job.record(task, history={"val_task_loss": [math.nan]})

    monkeypatch.setattr(trial_run, "train", train)
    tuner = tuned(tmp_path, max_trials=5)
    with pytest.raises(RuntimeError, match="All 5 trials failed.*Seed 0: val_task_loss is nan"):
        tuner.search(**arrays(), epochs=1, verbose=0)
    with pytest.raises(RuntimeError, match="no best trial"):
        tuner.get_best_hyperparameters()


def test_errors_end_the_search(tmp_path):
    with pytest.raises(errors.FatalError, match="in a trial"):
        searched(tmp_path, fit={"y": np.ones((32, 7))})


@pytest.mark.parametrize("objective", ["val_loss", "loss"])
def test_an_objective_with_the_penalty_is_refused(objective, tmp_path):
    with pytest.raises(ValueError, match="val_task_loss"):
        tuned(tmp_path, objective=objective)


def test_the_trained_model_of_a_trial_comes_back(finished):
    tuner = finished
    best = tuner.oracle.get_best_trials()[0]
    model = tuner.get_best_models()[0]
    x, y = arrays()["validation_data"]
    loss = float(np.mean((model.predict(x, verbose=0) - y) ** 2))
    assert loss == pytest.approx(best.metrics.get_best_value("val_task_loss/seed_0/last"), rel=1e-5)


def test_hyperband_goes_on_with_what_it_trained(tmp_path):
    tuner = searched(tmp_path, tuner="hyperband", max_epochs=2, factor=2)
    longer = [trial for trial in tuner.oracle.trials.values() if "tuner/trial_id" in trial.hyperparameters.values]
    assert longer
    for trial in longer:
        values = trial.hyperparameters.values
        whole = tuned(tmp_path / trial.trial_id)
        task = trial_run.Task(trial.trial_id, trial.hyperparameters, own(values), 0, values["tuner/epochs"])
        run = trial_run.train(whole.job((), arrays()), task)
        kept = tuner.records.get(slot_of("entropy", values, 0))
        assert {name: column[: run.epochs] for name, column in kept.history.items()} == run.history


def test_tensorboard_has_a_folder_for_each_run(finished):
    logs = Path(finished.directory) / "logs"
    found = {str(path.parent.relative_to(logs)) for path in logs.rglob("events*")}
    assert found == {f"{name}/seed_{seed}" for name in ("trial_0", "trial_1") for seed in (0, 1)}
    assert finished.log_dir == logs


def test_the_folder_is_readable_json(finished):
    paths = list(Path(finished.directory).rglob("*.json"))
    assert len(paths) == 2 + 2  # the search and its oracle, two trials
    for path in paths:
        json.loads(path.read_text())
    assert finished.remaining_trials == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seeds": []}, "at least one seed"),
        ({"seeds": [1, 1]}, "different seeds"),
        ({"seeds": "01"}, "a list of seeds"),
        ({"seeds": [-1]}, "an integer from 0"),
        ({"executions_per_trial": 2}, "no `executions_per_trial`, but `seeds`"),
        ({"optimizer": "adam"}, "no `optimizer`.*compile it with this optimizer there"),
        ({"loss": "mse"}, "no `loss`.*compile it with this loss there"),
        ({"metrics": ["mae"]}, "no `metrics`.*compile it with this list of metrics there"),
        ({"max_model_size": 1000}, "no `max_model_size`: raise keras_tuner.errors.FailedTrialError in `build`"),
        ({"distribution_strategy": None}, r"no `distribution_strategy`: build .* in `strategy.scope\(\)`"),
        ({"tuner_id": "a"}, "no `tuner_id`.*one process"),
        ({"logger": None}, "no `logger`.*leave it out"),
        ({"seed": "a"}, "`seed` should be"),
        ({"overwrite": "no"}, "True or False"),
        ({"tuner": "annealing"}, "one of 'random'"),
        ({"epoch": "first"}, "one of 'last', 'best'"),
        ({"max_retries_per_trial": 2}, "fails again"),
        ({"objective": "val_something"}, "does not say whether low or high values are better"),
        ({"model": plain}, "an EntropyHyperModel"),
    ],
)
def test_bad_arguments_are_named(change, words, tmp_path):
    with pytest.raises((TypeError, ValueError), match=words):
        tuned(tmp_path, **change)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_models_of_finished_trials_are_freed(tmp_path, whole_heap):
    built = []

    def noted():
        model = plain(eager=False)
        built.append(weakref.ref(model))
        return model

    searched(tmp_path, hypermodel(noted), max_trials=2)
    assert len(built) >= 4  # two for the space of the hyperparameters, two trials
    keras.backend.clear_session()
    gc.collect()
    assert sum(model() is not None for model in built) <= 1  # that of the last run


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Dense", "Activation", "Corner", "Conv", "Correlation"])
def test_every_term_trains_compiled(name, tmp_path):
    images = np.random.default_rng(0).normal(size=(32, 5, 5, 1)).astype("float32")
    compiled = keras.backend.backend() != "torch"  # what "auto" is where there is an accelerator

    def build(hp):
        activation = ActivationEntropy("tanh", 1e-3) if name == "Activation" else None
        model = keras.Sequential([keras.Input((5, 5, 1)), keras.layers.Conv2D(3, 3), keras.layers.Flatten()])
        model.add(keras.layers.Dense(5, activity_regularizer=activation))
        model.compile("adam", "mse", jit_compile=compiled)
        return model

    term = {"Corner": ConvCornerEntropy, "Conv": ConvEntropy, "Correlation": TotalCorrelation}.get(name, DenseEntropy)
    hypermodel = EntropyHyperModel(build, term, factors=[1e-3])
    tuner = EntropyTuner(hypermodel, max_trials=1, seeds=[0], directory=tmp_path)
    tuner.search(images, np.ones((32, 5)), validation_data=(images, np.ones((32, 5))), epochs=1, verbose=0)
    assert math.isfinite(tuner.oracle.get_best_trials()[0].score)


class Noted(DenseEntropy):
    made = ()

    def __init__(self, factor=0.0, **options):
        super().__init__(factor, **options)
        Noted.made += (factor,)


def test_factors_of_unnamed_layers_are_those_of_the_trial(tmp_path):
    def unnamed():
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4), keras.layers.Dense(6)])
        model.compile("adam", "mse", run_eagerly=True)
        return model

    per_layer = EntropyHyperModel(unnamed, Noted, ["all"], per_layer=True)
    tuner = searched(tmp_path, per_layer, max_trials=2)
    drawn = {value for values in values_of(tuner) for name, value in values.items() if "factor" in name}
    assert len(drawn) == 4
    assert drawn <= set(Noted.made)
    unnamed()
    searched(tmp_path, EntropyHyperModel(unnamed, Noted, ["all"], per_layer=True), max_trials=2)


def test_consecutive_failures_end_the_search_if_asked(tmp_path, monkeypatch):
    def train(job, task, observers=()):
        return job.record(task, history={"val_task_loss": [math.nan]})

    monkeypatch.setattr(trial_run, "train", train)

    with pytest.raises(RuntimeError, match="consecutive failures exceeded the limit of 2"):
        searched(tmp_path, max_trials=6, max_consecutive_failed_trials=2)
    with pytest.raises(RuntimeError, match="All 6 trials failed"):
        searched(tmp_path, max_trials=6, overwrite=True)
    with pytest.raises(ValueError, match="`max_consecutive_failed_trials` should be a positive integer"):
        tuned(tmp_path, max_consecutive_failed_trials=0)


class Returning(keras_tuner.HyperModel):
    """Trains one epoch and returns what a function makes of the history."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def build(self, hp):
        return plain()

    def fit(self, hp, model, *args, **kwargs):
        return self.function(model.fit(*args, **kwargs))


@pytest.mark.parametrize(
    ("function", "score"),
    [
        (lambda history: history, None),
        (lambda history: 0.5, 0.5),
        (lambda history: np.float32(0.5), 0.5),
        (lambda history: {"val_task_loss": 0.5, "extra": 1}, 0.5),
        (lambda history: [0.5, 1.5], 1.0),
        (lambda history: [{"val_task_loss": 0.5}, {"val_task_loss": 1.5}], 1.0),
    ],
)
def test_a_fit_of_the_users_returns_what_kerastuner_documents(function, score, tmp_path):
    tuner = searched(tmp_path, hypermodel(Returning(function)))

    (trial,) = tuner.oracle.get_best_trials(1)
    (run,) = runs_of(tuner).values()
    assert trial.score == (run.history["val_task_loss"][-1] if score is None else score)


@pytest.mark.parametrize("returned", [None, "a", {"other": 1.0}, [], {"val_task_loss": [0.5]}, {"val_task_loss": "a"}])
def test_other_values_of_a_fit_are_refused(returned, tmp_path):
    with pytest.raises(errors.FatalValueError, match=r"`fit` of the hypermodel should return the History.*Received"):
        searched(tmp_path, hypermodel(Returning(lambda history: returned)))


class OwnFit(keras_tuner.HyperModel):
    def __init__(self, declares=False):
        super().__init__()
        self.declares = declares

    def build(self, hp):
        return plain()

    def fit(self, hp, model, *args, **kwargs):
        if self.declares:
            hp.Choice("batch", [8, 16])
        return model.fit(*args, **{**kwargs, "epochs": 3})


def test_a_fit_of_the_users_trains_as_long_as_it_likes(tmp_path):
    tuner = searched(tmp_path, hypermodel(OwnFit()), seeds=[0, 1])
    best = tuner.oracle.get_best_trials()[0]
    last = [run.history["val_task_loss"][-1] for run in tuner.records.all() if run.tuned == best.hyperparameters.values]
    assert {run.epochs for run in tuner.records.all()} == {3}
    assert len(last) == 2
    assert best.score == pytest.approx(np.mean(last))


def test_hyperparameters_in_the_users_fit_are_refused(tmp_path):
    with pytest.raises(errors.FatalValueError, match=r"not declare hyperparameters.*Received: batch.*in `build`"):
        searched(tmp_path, hypermodel(OwnFit(declares=True)))


def test_tensors_and_tables_are_data(tmp_path):
    import pandas as pd

    data = arrays()
    scores = []
    for number, kind in enumerate((np.asarray, pd.DataFrame, keras.ops.convert_to_tensor)):
        given = {name: kind(data[name]) for name in ("x", "y")}
        scores.append(searched(tmp_path / str(number), fit=given).oracle.get_best_trials()[0].score)
    assert scores[0] == scores[1] == scores[2]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": (batch for batch in [])}, "should not be a generator"),
        ({"validation_data": None}, "needs `validation_data` or `validation_split`"),
    ],
)
def test_data_that_do_not_serve_are_refused(change, words, tmp_path):
    with pytest.raises(errors.FatalValueError, match=words):
        searched(tmp_path, fit=change)


def test_a_metric_that_is_not_logged_ends_the_search(tmp_path):
    objective = keras_tuner.Objective("val_auc", "max")
    with pytest.raises(errors.FatalValueError, match="metrics that training logs: .*val_task_loss"):
        searched(tmp_path, objective=objective)


def test_a_damaged_or_foreign_record_is_refused_and_without_it_the_run_is_trained_again(tmp_path):
    tuner = searched(tmp_path / "a")
    path = Path(tmp_path, "a", "search", "runs.jsonl")
    whole = path.read_text()
    path.write_text(whole.replace('"wall_seconds": ', '"wall_seconds": 1', 1))
    with pytest.raises(ValueError, match="runs.jsonl, line 1 .* its checksum is wrong. Delete the line to train"):
        searched(tmp_path / "a", max_trials=2)

    searched(tmp_path / "b", hypermodel(factors=(1e-5, 1e-4)))
    path.write_text(Path(tmp_path, "b", "search", "runs.jsonl").read_text())
    with pytest.raises(ValueError, match="runs.jsonl, line 1 .* it is from another study or search"):
        searched(tmp_path / "a", max_trials=2)

    path.write_text("".join(whole.splitlines(keepends=True)[:1]))
    again = searched(tmp_path / "a", max_trials=2)
    assert histories(again).items() >= histories(tuner).items()


def test_a_lost_description_is_written_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(trial_run, "train", train_nothing())
    searched(tmp_path)
    whole = (tmp_path / "search" / "search.json").read_text()
    (tmp_path / "search" / "search.json").unlink()
    searched(tmp_path)
    assert (tmp_path / "search" / "search.json").read_text() == whole
