import copy
import json
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
from conformance import CASES, Case
from modes import EACH_MODE, MODES, compiled, float64_enabled, value_and_gradient
from oracles import central_differences, glorot

import keras_entropy
from keras_entropy import ConvCornerEntropy, ConvEntropy, DenseEntropy, EntropyWarning

cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def model_of(case: Case, regularizer=None, compile_with="sgd"):
    model = keras.Sequential(
        [keras.Input(case.input_shape), case.layer(regularizer or case.make()), keras.layers.Flatten()]
    )
    model.compile(compile_with, "mse")
    return model


def batch_of(model, n=8):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(n, *model.input_shape[1:])).astype("float32")
    return x, generator.normal(size=(n, *model.output_shape[1:])).astype("float32")


def kernel_of(case: Case, scale=1.0):
    return (scale * glorot(case.kernel_shape)).astype("float32")


DEGENERATE = {
    "zero": np.zeros,
    "one": np.ones,
    "zero row": lambda shape: np.where(np.arange(shape[-2])[:, None] == 1, 0, glorot(shape)),
    "duplicate columns": lambda shape: np.repeat(glorot(shape)[..., :1], shape[-1], axis=-1),
    "1e-20": lambda shape: np.full(shape, 1e-20),
    "1e20": lambda shape: np.full(shape, 1e20),
    "1e20 beside 0": lambda shape: np.where(np.arange(np.prod(shape)).reshape(shape) % 2, 0, 1e20),
}


class TestConformance:
    """What holds for every regularizer."""

    @cases
    @pytest.mark.parametrize("mode", EACH_MODE)
    def test_value_and_gradient_agree_with_float64(self, case, mode):
        kernel = kernel_of(case)

        value, gradient = value_and_gradient(case.make(), kernel, mode)

        np.testing.assert_allclose(value, case.oracle(kernel.astype("float64")), rtol=1e-5, atol=1e-6)
        expected = central_differences(case.oracle, kernel)
        np.testing.assert_allclose(gradient, expected, atol=1e-3 * np.abs(expected).max())

    @cases
    def test_host_agrees_with_float64(self, case):
        kernel = kernel_of(case).astype("float64")

        np.testing.assert_allclose(case.make()(kernel), case.oracle(kernel), rtol=1e-10)

    @cases
    @pytest.mark.parametrize("mode", EACH_MODE)
    @pytest.mark.filterwarnings("ignore:.*no gradient:keras_entropy.EntropyWarning")  # tested by itself below
    def test_degenerate_kernels_give_finite_values_and_bounded_gradients_and_nan_is_not_masked(self, case, mode):
        penalty = compiled(case.make(), mode)
        for name, kernel in DEGENERATE.items():
            value, gradient = penalty(kernel(case.kernel_shape))
            assert np.isfinite(value), name
            assert np.isfinite(gradient).all(), name
            assert np.abs(gradient).max() <= 1.001 * case.gradient_bound, name
        kernel = kernel_of(case)
        kernel[(0,) * kernel.ndim] = np.nan

        value, _ = penalty(kernel)

        assert np.isnan(value)
        assert np.isnan(case.make()(kernel.astype("float64")))

    @cases
    def test_the_penalty_enters_the_loss_of_a_layer(self, case):
        model = model_of(case)
        kernel = keras.ops.convert_to_numpy(model.trainable_weights[0])

        assert kernel.shape == case.kernel_shape
        (loss,) = model.losses
        np.testing.assert_allclose(keras.ops.convert_to_numpy(loss), case.oracle(kernel), rtol=1e-4)

    @cases
    @pytest.mark.parametrize("policy", ["float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16"])
    def test_three_steps_of_training_under_each_policy(self, case, policy):
        keras.config.set_dtype_policy(policy)
        keras.utils.set_random_seed(0)
        with float64_enabled(policy == "float64"):
            model = model_of(case, case.make(epsilon=0.3), keras.optimizers.SGD(0.03))
            x, y = batch_of(model)
            before = model.get_weights()[0].astype("float32")
            history = model.fit(x, y, epochs=3, batch_size=8, verbose=0).history
            after = model.get_weights()[0].astype("float32")

        assert np.isfinite(history["loss"]).all()
        assert np.isfinite(after).all()
        assert (after != before).any()

    @cases
    def test_descent_reaches_what_the_factor_asks_for(self, case):
        """Rewarding raises the entropy; suppressing lowers it to the floor: the minimiser, not only the value."""
        if not case.is_entropy:
            pytest.skip("its minimum is not an extreme of one entropy")
        floor = 0.05
        regularizer = case.make(epsilon=floor)
        kernel = kernel_of(case, scale=0.3)
        first = regularizer.measure(kernel.astype("float64"))
        # The curvature is at most max(factor) / floor^2: a larger rate would step over the minimum.
        rate = 0.5 * floor**2 / np.max(np.abs(regularizer.factor))
        penalty = compiled(regularizer, MODES[-1])
        for _ in range(400):
            kernel = kernel - rate * penalty(kernel)[1]

        last = regularizer.measure(kernel.astype("float64"))
        if np.mean(regularizer.factor) > 0:
            assert last > first + 0.5
        else:
            assert first > np.log(floor) + 0.3
            np.testing.assert_allclose(last, np.log(floor), atol=1e-3)

    @cases
    def test_config_holds_the_numbers_of_the_user(self, case):
        regularizer = case.make()

        config = json.loads(json.dumps(regularizer.get_config()))

        assert config == regularizer.get_config()
        assert type(regularizer).from_config(config).get_config() == config
        assert copy.deepcopy(regularizer).get_config() == config
        registered = keras.regularizers.serialize(regularizer)
        assert registered["registered_name"] == f"keras_entropy>{type(regularizer).__name__}"
        assert keras.regularizers.deserialize(registered).get_config() == config
        assert str(regularizer.epsilon) in repr(regularizer)

    @cases
    def test_clones_and_json_keep_it(self, case):
        model = model_of(case)

        for other in (keras.models.clone_model(model), keras.models.model_from_json(model.to_json())):
            other.set_weights(model.get_weights())
            np.testing.assert_allclose(*(keras.ops.convert_to_numpy(m.losses[0]) for m in (model, other)))

    @cases
    def test_one_instance_serves_two_layers(self, case):
        regularizer = case.make()
        first, second = case.layer(regularizer), case.layer(regularizer)
        a, b = keras.Input(case.input_shape), keras.Input(case.input_shape)
        model = keras.Model([a, b], [first(a), second(b)])

        assert len(model.losses) == 2

    @pytest.mark.processes
    @pytest.mark.processes
    def test_saved_models_load_in_a_fresh_process(self, tmp_path, child_environment):
        expected = {}
        for i, case in enumerate(CASES):
            model = model_of(case)
            model.save(tmp_path / f"{i}.keras")
            expected[str(i)] = float(keras.ops.convert_to_numpy(model.losses[0]))
        code = (
            "import sys, json, keras, keras_entropy\n"
            "def loss(i): return keras.models.load_model(f'{sys.argv[1]}/{i}.keras').losses[0]\n"
            "found = {i: float(keras.ops.convert_to_numpy(loss(i))) for i in sys.argv[2:]}\n"
            "print(json.dumps(found))"
        )
        command = [sys.executable, "-c", code, str(tmp_path), *expected]
        output = subprocess.run(command, env=child_environment, capture_output=True, text=True, check=True).stdout

        found = json.loads(output.splitlines()[-1])
        assert found.keys() == expected.keys()
        for i, value in expected.items():
            np.testing.assert_allclose(found[i], value, rtol=1e-5)


def test_default_is_the_log_form_of_the_whole_kernel_per_dimension():
    kernel = np.diag([1.0, np.e])

    np.testing.assert_allclose(DenseEntropy(0.1)(kernel), -0.05, atol=1e-6)
    np.testing.assert_allclose(DenseEntropy(0.1)(kernel.tolist()), -0.05, atol=1e-6)


def test_reciprocal_without_gradient_is_said_once_in_words():
    model = keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(180, kernel_regularizer=DenseEntropy(1e-2, form="reciprocal", block="leading")),
        ]
    )
    model.compile("sgd", "mse")
    x, y = batch_of(model)

    with pytest.warns(EntropyWarning, match=r"has no gradient.*epsilon=0.0001.*100.*form='log'") as caught:
        model.fit(x, y, epochs=2, verbose=0)

    assert len([w for w in caught if w.category is EntropyWarning]) == 1


def test_reciprocal_shared_by_a_small_and_a_large_layer_is_warned_of():
    regularizer = DenseEntropy(1e-2, form="reciprocal")
    regularizer(np.diag([0.5, 0.2]))

    with pytest.warns(EntropyWarning, match="no gradient"):
        regularizer(0.1 * glorot((200, 100)))
    regularizer(0.1 * glorot((300, 100)))  # said once


def test_reciprocal_that_acts_is_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DenseEntropy(1.0, form="reciprocal")(np.diag([0.5, 0.2]))


@pytest.mark.parametrize("make", [DenseEntropy, ConvCornerEntropy])
@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"factor": True}, TypeError, "`factor`.*finite number.*True"),
        ({"factor": None}, TypeError, "`factor`.*None"),
        ({"factor": "0.1"}, TypeError, "`factor`.*'0.1'"),
        ({"factor": np.nan}, ValueError, "`factor`.*nan"),
        ({"factor": np.inf}, ValueError, "`factor`.*inf"),
        ({"factor": 1j}, TypeError, "`factor`"),
        ({"factor": 10**400}, ValueError, "`factor`"),
        ({"factor": 1e300}, ValueError, r"`factor`.*from -3.4e\+38 to 3.4e\+38.*1e\+300"),
        ({"factor": 1, "epsilon": -1e-3}, ValueError, "`epsilon`.*at least 0.*-0.001"),
        ({"factor": 1, "epsilon": False}, TypeError, "`epsilon`"),
        ({"factor": 1, "reduction": "max"}, ValueError, "`reduction`.*'mean', 'sum'.*'max'"),
        ({"factor": 1, "form": "square"}, ValueError, "`form`.*'log', 'reciprocal'.*'square'"),
        ({"factor": 1, "form": ["log"]}, ValueError, "`form`"),
        ({"factor": 1, "form": "reciprocal", "epsilon": 0}, ValueError, "`epsilon`.*above 0"),
    ],
)
def test_bad_arguments_are_refused_at_construction(make, arguments, error, words):
    with pytest.raises(error, match=words):
        make(**arguments)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: DenseEntropy([1.0, 2.0]), TypeError, "`factor`"),
        (lambda: DenseEntropy(1, block="upper"), ValueError, "`block`.*'full', 'leading'"),
        (lambda: ConvCornerEntropy([]), ValueError, "`factor`.*per filter"),
        (lambda: ConvCornerEntropy([1.0, True]), TypeError, r"`factor\[1\]`"),
        (lambda: ConvCornerEntropy([1.0, np.nan]), ValueError, r"`factor\[1\]`"),
        (lambda: ConvCornerEntropy(1, channels="all"), ValueError, "`channels`"),
        (lambda: ConvCornerEntropy(1, layout="dense"), ValueError, "`layout`"),
        (lambda: ConvCornerEntropy(1, groups=0), ValueError, "`groups`"),
        (lambda: ConvCornerEntropy(1, groups=1.5), TypeError, "`groups`"),
        (lambda: ConvCornerEntropy(1, groups=2, layout="depthwise"), ValueError, "`groups`.*depthwise"),
        (lambda: ConvCornerEntropy([1.0], channels="matrix"), ValueError, "one factor.*elements"),
        (lambda: ConvCornerEntropy(1, channels="matrix", form="reciprocal"), ValueError, "form='log'"),
    ],
)
def test_bad_combinations_are_refused_at_construction(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize(
    ("regularizer", "layer", "words"),
    [
        (DenseEntropy(1.0), keras.layers.Conv2D(2, 3), r"\(d, m\).*\(3, 3, 2, 2\).*ConvCornerEntropy"),
        (ConvCornerEntropy(1.0), keras.layers.Dense(2), r"spatial.*\(2, 2\).*DenseEntropy"),
        (ConvCornerEntropy([1.0]), keras.layers.Conv2D(2, 3), "1 factors.*2 filters"),
        (
            ConvCornerEntropy(1.0, channels="matrix", groups=3),
            keras.layers.Conv2D(2, 3),
            "groups=3.*2 filters",
        ),
        (ConvEntropy(1.0), keras.layers.EinsumDense("abc,cde->abde", (None, 2, 3)), r"\(2, 6\).*DenseEntropy"),
    ],
)
def test_kernels_that_are_not_measured_are_refused_at_the_first_call(regularizer, layer, words):
    layer.kernel_regularizer = regularizer
    rank = 4 if isinstance(layer, keras.layers.Conv2D) else 3
    layer.build((None, *[8] * (rank - 2), 2) if not isinstance(layer, keras.layers.Dense) else (None, 2))

    with pytest.raises(ValueError, match=words):
        layer.losses  # noqa: B018


def test_numpy_numbers_become_python_numbers():
    assert DenseEntropy(np.float64(0.25)).get_config()["factor"] == 0.25
    factors = ConvCornerEntropy(np.array([1.0, 2.0])).get_config()["factor"]
    assert factors == [1.0, 2.0]
    assert [type(value) for value in factors] == [float, float]
    assert ConvCornerEntropy((1, 2)).get_config()["factor"] == [1, 2]


def test_measures_are_nats_per_dimension_or_filter():
    np.testing.assert_allclose(DenseEntropy(1, epsilon=0).measure(np.diag([1.0, np.e**2])), 1)
    kernel = np.zeros((1, 1, 2, 3))
    kernel[0, 0] = np.exp([[0, 1, 2], [2, 3, 4]])
    np.testing.assert_allclose(ConvCornerEntropy(1, epsilon=0).log_magnitudes(kernel), [1, 2, 3])
    transposed = ConvCornerEntropy(1, epsilon=0, layout="transpose").log_magnitudes(kernel)
    np.testing.assert_allclose(transposed, [1, 3])
    depthwise = ConvCornerEntropy(1, epsilon=0, layout="depthwise").log_magnitudes(kernel)
    np.testing.assert_allclose(depthwise, [0, 1, 2, 2, 3, 4])
    matrix = ConvCornerEntropy(1, epsilon=0, channels="matrix").log_magnitudes(kernel)
    assert matrix.shape == (2,)


def test_the_package_exports_what_it_says():
    assert all(hasattr(keras_entropy, name) for name in keras_entropy.__all__)
