"""EntropyHyperModel with KerasTuner's own tuners: what is tuned, what is refused, what a failed trial is."""

import types

import keras
import keras_tuner
import numpy as np
import pytest
from keras_tuner import errors
from tuning_cases import arrays, build, hypermodel, plain, several

from keras_entropy import ConvEntropy, DenseEntropy, EntropyLogger, SumRegularizer, TotalCorrelation
from keras_entropy.tuning import EntropyHyperModel
from keras_entropy.tuning.contenders import OrthogonalBuild
from keras_entropy.tuning.own_space import L2, TunedBuild
from keras_entropy.tuning.range_notes import never_tried

TASK_LOSS = keras_tuner.Objective("val_task_loss", "min")
STOCK = {
    "random": (keras_tuner.RandomSearch, {"max_trials": 3}),
    "grid": (keras_tuner.GridSearch, {"max_trials": 3}),
    "bayesian": (keras_tuner.BayesianOptimization, {"max_trials": 3, "num_initial_points": 2}),
    "hyperband": (keras_tuner.Hyperband, {"max_epochs": 3}),
}


def space(hypermodel):
    hp = keras_tuner.HyperParameters()
    hypermodel.build(hp)
    return {parameter.name: parameter for parameter in hp.space}


def test_placement_and_factor_are_added_to_the_users_hyperparameters():
    found = space(EntropyHyperModel(build, DenseEntropy))
    assert list(found) == ["learning_rate", "entropy/placement", "entropy/factor"]
    assert found["entropy/placement"].values == ["first", "all"]
    assert found["entropy/factor"].sampling == "log"
    assert not any(parameter.conditions for parameter in found.values())


def test_regularizers_and_signs_are_hyperparameters_where_asked_for():
    assert list(space(several()))[1:] == ["entropy/placement", "entropy/regularizer", "entropy/factor", "entropy/sign"]
    assert space(several())["entropy/regularizer"].values == ["DenseEntropy", "TotalCorrelation"]


def test_the_model_has_the_term_of_the_values():
    hp = keras_tuner.HyperParameters()
    hp.values = {
        "learning_rate": 0.01,
        "entropy/placement": "all",
        "entropy/regularizer": "TotalCorrelation",
        "entropy/factor": 0.01,
        "entropy/sign": -1,
    }
    model = several().build(hp)
    terms = [model.get_layer(name).kernel_regularizer for name in ("encoder", "decoder")]
    assert [type(term) for term in terms] == [TotalCorrelation] * 2
    assert [term.factor for term in terms] == [-0.01, -0.01]
    assert several().baseline(hp).losses == []
    assert model.compiled


def test_factors_may_be_a_list():
    assert space(hypermodel(factors=[0.1, 0.2, 0.4]))["entropy/factor"].values == [0.1, 0.2, 0.4]
    assert space(hypermodel(factors=[0.1]))["entropy/factor"].values == [0.1]


def test_each_layer_may_have_its_factor():
    tuned = hypermodel(placements=["all"], per_layer=True)
    assert list(space(tuned)) == ["entropy/placement", "entropy/factor/a", "entropy/factor/b"]
    hp = keras_tuner.HyperParameters()
    hp.values = {"entropy/placement": "all", "entropy/factor/a": 0.01, "entropy/factor/b": 0.02}
    model = tuned.build(hp)
    assert [model.get_layer(name).kernel_regularizer.factor for name in "ab"] == [0.01, 0.02]


def test_the_factor_of_a_layer_goes_to_this_layer_whatever_its_name():
    names = ["all", "none", "b[1]", "*"]

    def named():
        model = keras.Sequential([keras.Input((4,)), *(keras.layers.Dense(4, name=name) for name in names)])
        model.compile("sgd", "mse")
        return model

    hp = keras_tuner.HyperParameters()
    hp.values = {"entropy/placement": "every"} | {f"entropy/factor/{n}": 0.01 * (i + 1) for i, n in enumerate(names)}
    tuned = EntropyHyperModel(named, DenseEntropy, {"every": lambda layer: True}, per_layer=True)
    model = tuned.build(hp)
    assert [layer.kernel_regularizer.factor for layer in model.layers] == [0.01, 0.02, 0.03, 0.04]


def test_a_sum_for_each_layer_acts_where_its_parts_can():
    def several_terms(factor):
        return SumRegularizer([DenseEntropy(factor), keras.regularizers.L2(factor)])

    tuned = hypermodel(regularizer=several_terms, placements=["all"], per_layer=True)
    model = tuned.build(keras_tuner.HyperParameters())
    assert [len(model.get_layer(name).kernel_regularizer.regularizers) for name in "ab"] == [2, 2]


@pytest.mark.parametrize("kind", STOCK)
def test_the_tuners_of_keras_tuner_take_it(kind, tmp_path):
    tuner_class, options = STOCK[kind]
    tuner = tuner_class(several(), objective=TASK_LOSS, directory=tmp_path, seed=1, **options)
    tuner.search(
        **arrays(), epochs=1, verbose=0, callbacks=[keras.callbacks.EarlyStopping("val_task_loss", mode="min")]
    )
    trials = tuner.oracle.get_best_trials(99)
    assert len(trials) >= 3
    assert all(trial.status == "COMPLETED" for trial in trials)
    model = tuner.get_best_models()[0]
    assert isinstance(model, keras.Model)
    assert model.compiled
    model.evaluate(*arrays()["validation_data"], verbose=0)


def test_a_logger_of_the_users_is_kept(tmp_path):
    tuner = keras_tuner.RandomSearch(hypermodel(), objective=TASK_LOSS, max_trials=1, directory=tmp_path)
    tuner.search(**arrays(), epochs=1, verbose=0, callbacks=[EntropyLogger(measure="total_correlation")])
    assert tuner.oracle.get_best_trials()[0].metrics.get_best_value("entropy/a") > 0


@pytest.mark.parametrize("objective", ["val_loss", "loss", ["val_mae", "val_loss"]])
def test_an_objective_with_the_penalty_ends_the_search(objective, tmp_path):
    tuner = keras_tuner.RandomSearch(hypermodel(), objective=objective, max_trials=2, directory=tmp_path)
    with pytest.raises(errors.FatalValueError, match="val_task_loss"):
        tuner.search(**arrays(), verbose=0)


@pytest.mark.parametrize(
    "callback",
    [
        keras.callbacks.EarlyStopping("val_loss"),
        keras.callbacks.ReduceLROnPlateau("loss"),
        keras.callbacks.ModelCheckpoint("m.keras", monitor="val_loss", save_best_only=True),
    ],
)
def test_a_callback_that_watches_the_penalty_ends_the_search(callback, tmp_path):
    tuner = keras_tuner.RandomSearch(hypermodel(), objective=TASK_LOSS, max_trials=2, directory=tmp_path)
    with pytest.raises(errors.FatalValueError, match="val_task_loss"):
        tuner.search(**arrays(), verbose=0, callbacks=[callback])


def test_an_error_is_raised_and_no_failed_trial(tmp_path):
    tuner = keras_tuner.RandomSearch(hypermodel(), objective=TASK_LOSS, max_trials=2, directory=tmp_path)
    with pytest.raises(errors.FatalRuntimeError, match="in a trial"):
        tuner.search(
            x=np.ones((4, 5)), y=np.ones((4, 6)), validation_data=(np.ones((4, 5)), np.ones((4, 6))), verbose=0
        )


def test_memory_that_runs_out_fails_the_trial_only(tmp_path):
    class Hungry(EntropyHyperModel):
        def baseline(self, hp):
            model = super().baseline(hp)
            if hp.values.get("entropy/placement") == "all":
                model.fit = lambda *args, **kwargs: (_ for _ in ()).throw(MemoryError("too large"))
            return model

    tuner = keras_tuner.GridSearch(
        Hungry(plain, DenseEntropy, factors=[0.1, 0.2, 0.3]),
        objective=TASK_LOSS,
        directory=tmp_path,
        max_consecutive_failed_trials=9,
    )
    tuner.search(**arrays(), verbose=0)
    states = [trial.status for trial in tuner.oracle.trials.values()]
    assert sorted(states) == ["COMPLETED"] * 3 + ["FAILED"] * 3


def test_a_trial_that_is_not_finite_has_failed_and_never_is_the_best(tmp_path):
    class Infinite(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if self.model.get_layer("b").kernel_regularizer is not None:
                logs["val_task_loss"] = float("-inf")

    tuner = keras_tuner.RandomSearch(
        hypermodel(), objective=TASK_LOSS, max_trials=6, directory=tmp_path, seed=1, max_consecutive_failed_trials=99
    )
    tuner.search(**arrays(), epochs=1, verbose=0, callbacks=[EntropyLogger(), Infinite()])
    for trial in tuner.oracle.trials.values():
        expected = "FAILED" if trial.hyperparameters["entropy/placement"] == "all" else "COMPLETED"
        assert trial.status == expected
    assert {trial.status for trial in tuner.oracle.trials.values()} == {"FAILED", "COMPLETED"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"regularizer": DenseEntropy(1e-3)}, "its class, DenseEntropy"),
        ({"regularizer": 3}, "a function of a factor"),
        ({"regularizer": [DenseEntropy, DenseEntropy]}, "the same name"),
        ({"placements": "first"}, "a list of placements"),
        ({"placements": []}, "at least one placement"),
        ({"placements": ["first", "none"]}, "`search` tunes the baseline with as many trials"),
        ({"placements": ["first", "first"]}, "different strings"),
        ({"factors": []}, "two positive numbers"),
        ({"factors": (0.0, 1.0)}, "two positive numbers"),
        ({"factors": (1.0, 0.1)}, "the lowest factor before the highest"),
        ({"factors": (0.1, float("nan"))}, "a finite number"),
        ({"negative": 1}, "True or False"),
        ({"per_layer": True}, "takes one placement"),
    ],
)
def test_bad_arguments_are_named(change, words):
    with pytest.raises((TypeError, ValueError), match=words):
        hypermodel(**change)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda: 3, "compiled keras.Model"),
        (lambda: keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]), "is not compiled. Call model.compile"),
        (lambda a, b: None, "the hyperparameters alone"),
    ],
)
def test_a_build_function_that_builds_no_model_is_refused(function, words):
    with pytest.raises((TypeError, ValueError), match=words):
        EntropyHyperModel(function, DenseEntropy).build(keras_tuner.HyperParameters())


def test_a_term_that_no_layer_takes_is_an_error_at_once(tmp_path):
    with pytest.raises(ValueError, match="finds no kernel"):
        keras_tuner.RandomSearch(hypermodel(regularizer=ConvEntropy), objective=TASK_LOSS, directory=tmp_path)


def unnamed():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4), keras.layers.Dense(6)])
    model.compile("adam", "mse")
    return model


def test_layers_are_called_the_same_in_each_trial():
    hp = keras_tuner.HyperParameters()
    per_layer = EntropyHyperModel(unnamed, DenseEntropy, ["all"], per_layer=True)
    first = [layer.name for layer in per_layer.build(hp).layers]
    unnamed()
    assert [layer.name for layer in per_layer.build(hp).layers] == first == ["dense", "dense_1"]
    assert set(hp.values) == {"entropy/placement", "entropy/factor/dense", "entropy/factor/dense_1"}
    model = hypermodel(unnamed, placements=["dense_1"]).build(keras_tuner.HyperParameters())
    assert [layer.kernel_regularizer is None for layer in model.layers] == [True, False]


@pytest.mark.parametrize("name", ["entropy/units", "tuner/units"])
def test_names_of_others_are_refused(name):
    def build(hp):
        hp.Int(name, 2, 8)
        return plain()

    with pytest.raises(keras_tuner.errors.FatalValueError, match=f"{name}.*Give it another"):
        hypermodel(build).build(keras_tuner.HyperParameters())


def trial(regularizer, placement, status):
    values = {"entropy/regularizer": regularizer, "entropy/placement": placement}
    return types.SimpleNamespace(values=values, status=status)


def test_what_was_tried_and_failed_is_not_called_untried():
    model = EntropyHyperModel(build, [DenseEntropy, TotalCorrelation, ConvEntropy], placements=["first", "all"])
    trials = [trial("DenseEntropy", "first", "COMPLETED"), trial("TotalCorrelation", "first", "FAILED")]
    assert never_tried(model, trials) == [
        "the regularizer ConvEntropy was never tried",
        "all trials with the regularizer TotalCorrelation failed",
        "the placement all was never tried",
    ]


def frozen_build():
    model = build(keras_tuner.HyperParameters())
    model.layers[0].trainable = False
    return model


def test_frozen_kernels_get_no_l2_and_keep_their_values():
    """A pretrained part that is frozen does not end the search."""
    kinds = (DenseEntropy(1.0),)
    hp = keras_tuner.HyperParameters()
    hp.Fixed(L2, 1e-3)
    tuned = TunedBuild(frozen_build, kinds)(hp)
    assert tuned.layers[0].kernel.regularizer is None
    assert tuned.layers[2].kernel.regularizer is not None
    keras.utils.set_random_seed(0)
    plain = frozen_build()
    keras.utils.set_random_seed(0)
    drawn = OrthogonalBuild(frozen_build, kinds[0])(keras_tuner.HyperParameters())
    same = [
        np.array_equal(*(keras.ops.convert_to_numpy(model.layers[i].kernel) for model in (plain, drawn)))
        for i in (0, 2)
    ]
    assert same == [True, False]
