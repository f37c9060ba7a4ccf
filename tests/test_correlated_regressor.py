"""A regressor with a learned noise covariance: its likelihood, its training in every trainer of Keras, its files."""

import json
import pickle

import keras
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from keras_entropy import (
    CorrelatedRegressor,
    DenseEntropy,
    EntropyLogger,
    apply_entropy,
    entropy_profile,
    functional,
    models,
    resolve_placement,
)

MIXING = np.array([[1.0, 0.0, 0.0], [0.9, 0.5, 0.0], [-0.4, 0.2, 2.0]])
"""Noise is MIXING z: covariance MIXING MIXING'."""


def data(n=64, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    y = x @ np.array([[1.0, -1.0, 0.5], [0.0, 2.0, 1.0]]) + rng.normal(size=(n, 3)) @ MIXING.T
    return x.astype("float32"), y.astype("float32")


def linear(outputs=3, inputs=2):
    return keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(outputs)])


def regressor(whitening=None, **options):
    model = CorrelatedRegressor(linear(), 3, **options)
    if whitening is not None:
        model.whitening.assign(np.asarray(whitening, "float32"))
    model.compile(keras.optimizers.SGD(0.01))
    return model


def take_steps(model, x, y, steps):
    """Take steps on all data, in one epoch, because an epoch costs more than a step."""
    x, y = np.tile(x, (steps, 1)), np.tile(y, (steps, 1))
    model.fit(x, y, batch_size=len(x) // steps, shuffle=False, verbose=0)


def some_whitening(seed=3):
    return np.random.default_rng(seed).normal(size=(3, 3)) + 2 * np.eye(3)


def numpy(x):
    return keras.ops.convert_to_numpy(x)


class TestLikelihood:
    def test_loss_is_the_negative_log_density_of_scipy(self, seeded):
        x, y = data()
        model = regressor(some_whitening())
        density = multivariate_normal(np.zeros(3), model.noise_covariance())

        expected = density.logpdf(y - model.predict(x, verbose=0).astype(float))

        np.testing.assert_allclose(model.log_prob(x, y), expected, rtol=1e-5)
        assert model.evaluate(x, y, verbose=0) == pytest.approx(-expected.mean(), rel=1e-5)

    def test_noise_covariance_is_the_inverse_of_the_precision(self):
        w = some_whitening()

        np.testing.assert_allclose(regressor(w).noise_covariance(), np.linalg.inv(w.T @ w), rtol=1e-5)

    def test_predict_is_the_prediction_of_the_inner_model(self, seeded):
        x, _ = data()
        model = regressor(some_whitening())

        np.testing.assert_array_equal(model.predict(x, verbose=0), model.model.predict(x, verbose=0))

    def test_gradient_of_the_whitening(self, seeded):
        """W of one step of SGD against the formula W - rate * (W S - W^-T), S the mean of r r'."""
        x, y = data()
        w = some_whitening()
        model = regressor(w)
        residuals = y - model.predict(x, verbose=0).astype(float)
        expected = w - 0.01 * (w @ residuals.T @ residuals / len(x) - np.linalg.inv(w).T)

        model.fit(x, y, batch_size=len(x), verbose=0)

        np.testing.assert_allclose(numpy(model.whitening), expected, rtol=1e-4, atol=1e-5)

    def test_training_finds_the_covariance_of_the_noise(self, seeded):
        x, y = data(2000)
        network = linear()
        network.layers[-1].kernel.assign(np.linalg.lstsq(x, y, rcond=None)[0])
        model = CorrelatedRegressor(network, 3)
        model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 60)))
        take_steps(model, x, y, 60)
        residuals = y - model.predict(x, verbose=0).astype(float)

        found = model.noise_covariance()

        # The optimum is the covariance of the residuals; 60 steps come near it.
        np.testing.assert_allclose(found, residuals.T @ residuals / len(x), atol=0.1)
        np.testing.assert_allclose(found, MIXING @ MIXING.T, atol=0.25)  # 2000 rows: standard errors up to 0.13

    def test_sample_weights_weigh_rows_as_in_keras(self, seeded):
        x, y = data()
        weights = np.random.default_rng(1).uniform(size=len(x)).astype("float32")
        model = regressor(some_whitening())

        found = model.evaluate(x, y, sample_weight=weights, batch_size=len(x), verbose=0)

        assert found == pytest.approx(-(weights * model.log_prob(x, y)).mean(), rel=1e-5)

    def test_rows_of_weight_0_do_not_train(self, seeded):
        x, y = data()
        model = regressor(some_whitening())
        before = model.get_weights()

        model.fit(x, y, sample_weight=np.zeros(len(x)), verbose=0)

        # The determinant is in the loss of each row, so that it has the weight 0 too.
        for new, old in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(new, old)

    def test_a_batch_of_weight_0_does_not_train(self, seeded):
        """Its gradient is 0, so that plain gradient descent stays where it is."""
        x, y = data()
        model, alone = regressor(some_whitening()), regressor(some_whitening())
        alone.set_weights(model.get_weights())
        weights = np.repeat([0.0, 1.0], 32)

        model.fit(x, y, sample_weight=weights, batch_size=32, shuffle=False, verbose=0)
        alone.fit(x[32:], y[32:], batch_size=32, shuffle=False, verbose=0)

        for new, old in zip(model.get_weights(), alone.get_weights(), strict=True):
            np.testing.assert_allclose(new, old, rtol=1e-6)

    def test_weights_may_have_an_axis_of_length_1(self, seeded):
        x, y = data()
        weights = np.arange(64.0)
        model = regressor()

        column = model.evaluate(x, y, sample_weight=weights[:, None], batch_size=64, verbose=0)

        assert column == pytest.approx(-(weights * model.log_prob(x, y)).mean(), rel=1e-5)

    def test_a_weight_for_each_output_is_an_error(self):
        x, y = data()

        with pytest.raises(ValueError, match=r"`sample_weight` should be .*\(batch, ...\).*A weight counts for all"):
            regressor().fit(x, y, sample_weight=np.ones((64, 3)), verbose=0)

    @pytest.mark.parametrize("method", ["fit", "train_on_batch"])
    def test_class_weights_are_an_error(self, method):
        """Keras would take the largest output for the class of a row."""
        with pytest.raises(ValueError, match="`class_weight` should be None for CorrelatedRegressor.*`sample_weight`"):
            getattr(regressor(), method)(*data(), class_weight={0: 1.0, 1: 2.0, 2: 3.0})

    def test_a_missing_target_gives_nan(self, seeded):
        x, y = data()
        y[3, 1] = np.nan
        model = regressor()

        assert np.isnan(model.evaluate(x, y, verbose=0))
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(model.log_prob(x, y))), [3])

    def test_steps_by_hand_and_another_fit(self, seeded):
        x, y = data()
        model = regressor()
        model.fit(x, y, verbose=0)
        model.fit(x, y, verbose=0)
        expected = -model.log_prob(x, y).mean()

        assert float(model.test_on_batch(x, y)) == pytest.approx(expected, rel=1e-5)
        assert float(model.train_on_batch(x, y)) == pytest.approx(expected, rel=1e-5)
        assert -model.log_prob(x, y).mean() < expected

    def test_validation_and_metrics(self, seeded):
        x, y = data()
        model = regressor(some_whitening())
        model.compile("sgd", metrics=["mse"])

        history = model.fit(x, y, validation_split=0.25, epochs=2, verbose=0).history

        found = model.evaluate(x[48:], y[48:], return_dict=True, verbose=0)
        assert history["val_loss"][-1] == pytest.approx(found["loss"], rel=1e-5)
        residuals = y[48:] - model.predict(x[48:], verbose=0)
        assert history["val_mse"][-1] == pytest.approx(np.square(residuals).mean(), rel=1e-5)

    def test_outputs_at_each_position(self, seeded):
        x, y = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype("float32")
        model = CorrelatedRegressor(keras.Sequential([keras.Input((5, 3)), keras.layers.Dense(3)]), 3)
        model.compile("sgd")
        weights = np.arange(20).reshape(4, 5)

        log_prob = model.log_prob(x, y)

        assert log_prob.shape == (4, 5)
        assert model.evaluate(x, y, verbose=0) == pytest.approx(-log_prob.mean(), rel=1e-5)
        weighted = model.evaluate(x, y, sample_weight=weights, verbose=0)
        assert weighted == pytest.approx(-(weights * log_prob).mean(), rel=1e-5)
        assert model.sample(x, 2, seed=0).shape == (2, 4, 5, 3)

    def test_one_output_needs_no_last_axis(self, seeded):
        x, y = data()
        model = CorrelatedRegressor(linear(1), 1, warm_start=(x, y[:, 0]))
        model.compile("sgd")

        assert model.noise_covariance().shape == (1, 1)
        assert model.evaluate(x, y[:, 0], verbose=0) == pytest.approx(model.evaluate(x, y[:, :1], verbose=0))
        assert model.log_prob(x, y[:, 0]).shape == (64,)

    @pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow traces unknown shapes")
    def test_targets_of_unknown_shape(self, seeded):
        """As of a generator of `tf.data`: TensorFlow then traces a step without the rank of the targets."""
        import tensorflow

        x, y = data(4)
        signature = (tensorflow.TensorSpec((None, 2)), tensorflow.TensorSpec(None))
        right = tensorflow.data.Dataset.from_generator(lambda: iter([(x, y)]), output_signature=signature)
        wrong = tensorflow.data.Dataset.from_generator(lambda: iter([(x, y[:, :1])]), output_signature=signature)
        model = regressor(some_whitening())

        assert model.evaluate(right, steps=1, verbose=0) == pytest.approx(-model.log_prob(x, y).mean(), rel=1e-5)
        with pytest.raises((ValueError, tensorflow.errors.InvalidArgumentError)):
            model.evaluate(wrong, steps=1, verbose=0)


class TestSample:
    def test_mean_and_covariance(self, seeded):
        x, _ = data(2)
        model = regressor(some_whitening())

        drawn = model.sample(x, 40_000, seed=0)

        covariance = model.noise_covariance()
        errors = np.sqrt(np.diag(covariance) / 40_000)
        assert (np.abs(drawn.mean(0) - model.predict(x, verbose=0)) < 4 * errors).all()
        for row in range(2):
            # A covariance has a standard error of at most sqrt(2 S_ii S_jj / n).
            bound = 4 * np.sqrt(2 * np.outer(np.diag(covariance), np.diag(covariance)) / 40_000)
            assert (np.abs(np.cov(drawn[:, row].T) - covariance) < bound).all()

    def test_a_seed_repeats_the_noise(self, seeded):
        x, _ = data(4)
        model = regressor()

        assert model.sample(x, 3).dtype == model.log_prob(*data(4)).dtype == model.noise_covariance().dtype == "float64"
        np.testing.assert_array_equal(model.sample(x, 3, seed=0), model.sample(x, 3, seed=0))
        assert not np.array_equal(model.sample(x, 3, seed=0), model.sample(x, 3, seed=1))
        assert not np.array_equal(model.sample(x, 3), model.sample(x, 3))

    @pytest.mark.parametrize(("options", "name"), [({"n": 0}, "n"), ({"n": 1.5}, "n"), ({"n": 1, "seed": -1}, "seed")])
    def test_bad_arguments_are_named(self, options, name):
        with pytest.raises((TypeError, ValueError), match=f"`{name}` should be"):
            regressor().sample(data(2)[0], **options)


class TestWarmStart:
    def test_no_covariance_has_a_higher_likelihood(self, seeded):
        x, y = data()
        network = linear()
        residuals = y - network.predict(x, verbose=0).astype(float)

        model = CorrelatedRegressor(network, 3, warm_start=(x, y))

        second_moment = residuals.T @ residuals / len(x)
        np.testing.assert_allclose(model.noise_covariance(), second_moment, rtol=1e-4, atol=1e-4)
        best = 0.5 * (3 + 3 * np.log(2 * np.pi) + np.linalg.slogdet(second_moment)[1])
        assert -model.log_prob(x, y).mean() == pytest.approx(best, rel=1e-5)

    def test_training_goes_on_from_two_step_estimation(self, seeded):
        """From the same start, W that is trained reaches at least the training likelihood of W that is kept."""
        x, y = data(200)
        network = linear()
        found = {}
        for trained in (True, False):
            keras.utils.set_random_seed(0)
            copy = keras.models.clone_model(network)
            copy.set_weights(network.get_weights())
            model = CorrelatedRegressor(copy, 3, warm_start=(x, y))
            model.whitening.trainable = trained
            model.compile(keras.optimizers.Adam(0.01))
            start = -model.log_prob(x, y).mean()
            take_steps(model, x, y, 15)
            found[trained] = -model.log_prob(x, y).mean()

        assert found[True] < found[False] < start

    @pytest.mark.parametrize("scale", [1e-4, 1e4])
    def test_outputs_of_any_scale(self, scale, seeded):
        x, y = data()
        network = linear()
        network.layers[-1].kernel.assign(np.zeros((2, 3)))
        plain = CorrelatedRegressor(network, 3, warm_start=(x, y))
        scales = np.array([1, scale, 1])

        scaled = CorrelatedRegressor(network, 3, warm_start=(x, y * scales))

        np.testing.assert_allclose(numpy(scaled.whitening), numpy(plain.whitening), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(numpy(scaled.scale), numpy(plain.scale) * scales, rtol=1e-5)

    def test_sample_weights(self, seeded):
        x, y = data()
        network = linear()
        weights = np.repeat([2.0, 0.0], 32)

        weighted = CorrelatedRegressor(network, 3, warm_start=(x, y, weights))

        half = CorrelatedRegressor(network, 3, warm_start=(x[:32], y[:32]))
        np.testing.assert_allclose(numpy(weighted.whitening), numpy(half.whitening), rtol=1e-4, atol=1e-5)

    def test_masked_positions_do_not_count(self, seeded):
        x, y = np.random.default_rng(0).normal(size=(2, 8, 5, 3)).astype("float32")
        x[:, 3:] = 0
        layers = [keras.layers.Masking(), keras.layers.Dense(3)]
        network = keras.Sequential([keras.Input((5, 3)), *layers])
        weights = np.arange(8)

        model = CorrelatedRegressor(network, 3, warm_start=(x, y, weights))
        model.compile("sgd")

        shorter = CorrelatedRegressor(keras.Sequential([keras.Input((3, 3)), layers[-1]]), 3,
                                      warm_start=(x[:, :3], y[:, :3], weights))  # fmt: skip
        np.testing.assert_allclose(numpy(model.whitening), numpy(shorter.whitening), rtol=1e-5, atol=1e-6)
        # As in its loss.
        assert model.evaluate(x, y, verbose=0) == pytest.approx(-model.log_prob(x, y)[:, :3].mean(), rel=1e-5)

    def test_nearly_equal_outputs(self, seeded):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(256, 2)).astype("float32")
        noise = rng.normal(size=(256, 2)) @ np.linalg.cholesky([[1, 0.9999], [0.9999, 1]]).T
        network = linear(2)
        network.layers[-1].kernel.assign(np.zeros((2, 2)))
        model = CorrelatedRegressor(network, 2, warm_start=(x, noise))
        model.compile(keras.optimizers.Adam(1e-3))
        start = -model.log_prob(x, noise).mean()

        take_steps(model, x, noise, 20)

        assert -model.log_prob(x, noise).mean() < start
        covariance = model.noise_covariance()
        correlation = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
        assert correlation == pytest.approx(np.corrcoef(noise.T)[0, 1], abs=1e-4)

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (lambda x, y: (x[:2], y[:2]), "covariance has an inverse.*from 2 rows and 3 outputs"),
            (lambda x, y: (x, y * [1, 1, np.nan]), "residuals that are finite"),
            (lambda x, y: (x, y[:, :2]), r"`y` should be an array of the shape \(64, 3\) of the predictions"),
            (lambda x, y: (x, y, -np.ones(64)), "`sample_weight` should be at least 0"),
            (lambda x, y: (x, y, np.ones(63)), r"`sample_weight` should be .* of shape \(64,\)"),
            (lambda x, y: True, r"`warm_start` should be a tuple \(x, y\)"),
        ],
    )
    def test_data_that_give_no_covariance(self, change, expected):
        with pytest.raises((TypeError, ValueError), match=expected):
            CorrelatedRegressor(linear(), 3, warm_start=change(*data()))

    @pytest.mark.parametrize("constant", [0.0, 1 / 3, 1e6])
    def test_an_output_that_is_perfectly_predicted(self, constant, seeded):
        """Its residuals are 0, or the rounding errors of float32."""
        x, y = data()
        y[:, 1] = constant
        network = linear()
        kernel, bias = network.layers[-1].get_weights()
        kernel[:, 1], bias[1] = 0, constant * (1 + 1e-7)
        network.set_weights([kernel, bias])

        with pytest.raises(ValueError, match="larger than rounding errors in each output.*outputs that are constant"):
            CorrelatedRegressor(network, 3, warm_start=(x, y))


class TestCorrelationPenalty:
    def test_is_the_total_correlation_of_the_precision(self, seeded):
        x, y = data()
        w = some_whitening()
        model = regressor(w, correlation_penalty=0.5)
        precision = w.T @ w
        expected = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])

        penalty = model.evaluate(x, y, verbose=0) + model.log_prob(x, y).mean()

        assert penalty == pytest.approx(0.5 * expected, rel=1e-3)
        assert float(functional.total_correlation(w)) == pytest.approx(expected)

    def test_shrinks_the_covariances_between_outputs(self, seeded):
        """Where the gradient is 0, S = (1 + penalty) C - penalty diag(1 / P_jj) for residuals S and C = P^-1."""
        x, y = data(200)
        network = linear()
        network.layers[-1].kernel.assign(np.linalg.lstsq(x, y, rcond=None)[0])
        network.trainable = False
        second_moment = CorrelatedRegressor(network, 3, warm_start=(x, y)).noise_covariance()
        model = CorrelatedRegressor(network, 3, warm_start=(x, y), correlation_penalty=0.5)
        model.compile(keras.optimizers.Adam(0.03))

        take_steps(model, x, y, 40)

        covariance = model.noise_covariance()
        shrunk = (second_moment + 0.5 * np.diag(1 / np.diag(np.linalg.inv(covariance)))) / 1.5
        np.testing.assert_allclose(covariance, shrunk, atol=0.03)  # Adam has not converged further
        assert np.linalg.norm(covariance - second_moment) > 0.3

    def test_the_logger_shows_the_loss_without_it(self, seeded):
        x, y = data()
        model = regressor(some_whitening(), correlation_penalty=1.0)
        options = {"validation_data": (x, y), "callbacks": [EntropyLogger()], "verbose": 0}

        history = model.fit(x, y, **options).history

        assert history["val_task_loss"][-1] == pytest.approx(-model.log_prob(x, y).mean(), rel=1e-4)


class TestFiles:
    @pytest.mark.parametrize("load", [keras.saving.load_model, models.load_model])
    def test_a_saved_model_is_the_same(self, load, tmp_path, seeded):
        x, y = data()
        model = regressor(some_whitening(), correlation_penalty=0.1, name="correlated")
        model.fit(x, y, verbose=0)
        model.save(tmp_path / "model.keras")

        loaded = load(tmp_path / "model.keras")

        assert isinstance(loaded, CorrelatedRegressor)
        assert json.dumps(loaded.get_config()) == json.dumps(model.get_config())  # which has no tuples
        np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
        np.testing.assert_array_equal(loaded.noise_covariance(), model.noise_covariance())

    def test_training_goes_on_after_loading(self, tmp_path, seeded):
        x, y = data()
        model = CorrelatedRegressor(linear(), 3)
        model.compile(keras.optimizers.Adam(0.01), metrics=["mse"])
        model.fit(x, y, verbose=0)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")

        histories = [m.fit(x, y, shuffle=False, verbose=0).history for m in (model, loaded)]

        assert histories[0].keys() == histories[1].keys() == {"loss", "mse"}
        for new, old in zip(loaded.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_allclose(new, old, rtol=1e-6)

    def test_weights(self, tmp_path, seeded):
        x, y = data()
        model = regressor(some_whitening())
        model.save_weights(tmp_path / "a.weights.h5")
        other = regressor()

        models.load_weights(other, tmp_path / "a.weights.h5")

        np.testing.assert_array_equal(other.log_prob(x, y), model.log_prob(x, y))

    def test_weights_of_another_model_are_not_loaded(self, tmp_path, seeded):
        linear().save_weights(tmp_path / "a.weights.h5")

        with pytest.raises(ValueError, match="should have the weights of 'correlated'"):
            models.load_weights(regressor(name="correlated"), tmp_path / "a.weights.h5")

    def test_a_saved_model_that_was_not_compiled(self, tmp_path, seeded):
        model = CorrelatedRegressor(linear(), 3)
        model.save(tmp_path / "model.keras")

        loaded = keras.saving.load_model(tmp_path / "model.keras")

        np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])


class Own(keras.Model):
    """A model that is built by its first call."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3)

    def call(self, x):
        return self.dense(x)


class TestInnerModel:
    @pytest.mark.parametrize("make", [Own, lambda: keras.Sequential([keras.layers.Dense(3)])])
    def test_is_built_by_the_data(self, make, seeded):
        x, y = data()
        model = CorrelatedRegressor(make(), 3)
        model.compile("sgd")

        model.fit(x, y, verbose=0)

        assert len(model.trainable_variables) == 3
        assert model.sample(x, 1, seed=0).shape == (1, 64, 3)

    def test_its_training_mode_and_penalties_count(self, seeded):
        x, y = data()
        layers = [keras.layers.Dense(3, kernel_regularizer="l2"), keras.layers.Dropout(0.9)]
        model = CorrelatedRegressor(keras.Sequential([keras.Input((2,)), *layers]), 3)
        model.compile("sgd")
        penalty = 0.01 * np.square(model.model.get_weights()[0]).sum()

        assert model.evaluate(x, y, verbose=0) == pytest.approx(penalty - model.log_prob(x, y).mean(), rel=1e-5)
        assert np.mean(numpy(model(x, training=True)) == 0) > 0.7

    @pytest.mark.parametrize("policy", ["mixed_float16", "bfloat16", "float16"])
    def test_dtype_policies(self, policy, seeded):
        keras.config.set_dtype_policy(policy)
        x, y = data()
        model = CorrelatedRegressor(linear(), 3)
        model.compile("sgd")

        history = model.fit(x, y, epochs=3, verbose=0).history["loss"]

        assert model.whitening.dtype == "float32"
        assert np.isfinite(history).all()
        assert history[-1] < history[0]

    def test_terms_go_on_its_layers_and_not_on_the_noise(self, seeded):
        model = CorrelatedRegressor(linear(), 3, correlation_penalty=0.1)

        apply_entropy(model, "all", DenseEntropy(0.1))

        assert [weight.layer for weight in resolve_placement(model, "all")] == model.model.layers
        assert isinstance(model.model.layers[0].kernel_regularizer, DenseEntropy)
        reasons = {record.path: record.skipped for record in entropy_profile(model).records}
        assert reasons["whitening"] == "a part of the loss, which describes the noise: no data pass through it"

    def test_several_inputs(self, tmp_path, seeded):
        x, y = data()
        inputs = {"a": keras.Input((1,), name="a"), "b": keras.Input((1,), name="b")}
        network = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Concatenate()(list(inputs.values()))))
        x = {"a": x[:, :1], "b": x[:, 1:]}
        model = CorrelatedRegressor(network, 3, warm_start=(x, y))
        model.compile("sgd")
        model.fit(x, y, verbose=0)
        model.save(tmp_path / "model.keras")

        loaded = keras.saving.load_model(tmp_path / "model.keras")

        np.testing.assert_array_equal(loaded.log_prob(x, y), model.log_prob(x, y))
        assert loaded.evaluate(x, y, verbose=0) == pytest.approx(-model.log_prob(x, y).mean(), rel=1e-5)
        assert loaded.sample(x, 2, seed=0).shape == (2, 64, 3)

    def test_a_clone_has_new_weights(self, seeded):
        x, y = data()
        model = CorrelatedRegressor(linear(), 3, warm_start=(x, y), correlation_penalty=0.1)

        clone = keras.models.clone_model(model)

        assert json.dumps(clone.get_config()) == json.dumps(model.get_config())
        assert clone.model is not model.model
        np.testing.assert_array_equal(clone.noise_covariance(), np.eye(3))

    def test_is_a_layer_of_another_model(self, seeded):
        x, _ = data()
        inputs = keras.Input((2,))
        model = regressor()

        outer = keras.Model(inputs, model(inputs))

        assert outer.output_shape == (None, 3)
        np.testing.assert_allclose(outer.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-6)

    @pytest.mark.skipif(keras.backend.backend() == "torch", reason="torch needs a package of its own to export")
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the exporters
    @pytest.mark.slow
    def test_is_exported(self, tmp_path, seeded):
        tensorflow = pytest.importorskip("tensorflow")
        x, y = data()
        model = regressor()
        model.fit(x, y, verbose=0)

        model.export(tmp_path / "model", verbose=False)

        loaded = tensorflow.saved_model.load(tmp_path / "model")
        np.testing.assert_allclose(loaded.serve(x), model.predict(x, verbose=0), rtol=1e-5)

    def test_copies(self, seeded):
        x, y = data()
        model = regressor(some_whitening())

        copy = pickle.loads(pickle.dumps(model))

        np.testing.assert_array_equal(copy.log_prob(x, y), model.log_prob(x, y))


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (lambda: ("dense", 3), "`model` should be a Keras model.*model='dense'"),
            (lambda: (linear(), 0), "`outputs` should be a positive integer"),
            (lambda: (linear(), 2), r"`outputs` should be the last axis.*outputs=2 for outputs of shape \(None, 3\)"),
            (lambda: (linear(), 3, None, -1.0), "`correlation_penalty` should be at least 0"),
        ],
    )
    def test_bad_arguments_are_named(self, arguments, expected):
        with pytest.raises((TypeError, ValueError), match=expected):
            CorrelatedRegressor(*arguments())

    def test_two_outputs(self):
        x = keras.Input((2,))
        both = keras.Model(x, [keras.layers.Dense(3)(x), keras.layers.Dense(3)(x)])

        with pytest.raises(ValueError, match="one output of shape .*several outputs"):
            CorrelatedRegressor(both, 3)

    def test_a_loss(self):
        with pytest.raises(ValueError, match="`loss` should be None for CorrelatedRegressor.*loss='mse'"):
            regressor().compile("sgd", loss="mse")

    @pytest.mark.parametrize("columns", [slice(0, 1), slice(0, 2), 0])
    def test_targets_of_another_shape_are_not_broadcast(self, columns):
        x, y = data()

        with pytest.raises(ValueError, match=r"`y` should be an array of the shape .*3\) of the predictions"):
            regressor().fit(x, y[:, columns], verbose=0)
        with pytest.raises(ValueError, match=r"`y` should be an array of the shape .*3\) of the predictions"):
            regressor().log_prob(x, y[:, columns])
