import keras
import numpy as np
import pytest

from keras_entropy import (
    ActivationEntropy,
    ConvCornerEntropy,
    ConvEntropy,
    DenseEntropy,
    EntropyLogger,
    EntropyWarning,
    TotalCorrelation,
    apply_entropy,
    entropy_profile,
    resolve_placement,
)

L = keras.layers
X = np.random.default_rng(0).normal(size=(16, 8, 8, 2)).astype("float32")
Y = np.zeros((16, 3), "float32")


def network():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            L.Conv2D(4, 3, name="conv1"),
            L.Conv2D(4, 3, groups=2, name="conv2"),
            L.SeparableConv2D(4, 3, name="separable"),
            L.Flatten(name="flatten"),
            L.Dense(5, name="hidden"),
            L.Dense(3, name="head"),
        ]
    )
    model.compile("sgd", "mse")
    return model


def paths(where, regularizer=None, model=None):
    return [weight.path for weight in resolve_placement(model or network(), where, regularizer=regularizer)]


ALL = ["conv1", "conv2", "separable/depthwise_kernel", "separable/pointwise_kernel", "hidden", "head"]


def test_placements_by_name():
    assert paths("none") == []
    assert paths("first") == ALL[:1]
    assert paths("first:2") == ALL[:2]
    assert paths("all") == ALL
    assert paths("separable/*") == ALL[2:4]
    assert paths(["head", "conv?"]) == [ALL[0], ALL[1], ALL[5]]
    assert paths(lambda layer: layer.name == "hidden") == ["hidden"]


def test_only_kernels_that_the_regularizer_measures_count():
    assert paths("first", DenseEntropy(1.0)) == ["hidden"]
    assert paths("all", ConvCornerEntropy(1.0)) == ALL[:4]


@pytest.mark.parametrize(
    ("where", "error", "words"),
    [
        ("first:9", ValueError, "asks for 9 kernels.*Available: 6: conv1.*head"),
        ("first:0", ValueError, "`placement`.*at least 1.*first:0"),
        ("pre_skip:2", ValueError, "'pre_skip:2'.*conv1"),
        ("last", ValueError, "'last'.*conv1"),
        (["hidden", "nothing"], ValueError, "'nothing'"),
        (lambda layer: False, ValueError, "finds no kernel"),
        (None, TypeError, "`placement`"),
        (3, TypeError, "`placement`.*3"),
        ([], TypeError, "`placement`"),
        (L.Dense(2, name="hidden"), TypeError, "`placement` should be a glob.* a layer. Give its name: 'hidden'"),
        ([L.Dense(2, name="a"), L.Dense(2, name="b")], TypeError, r"layers. Give their names: \['a', 'b'\]"),
        ({L.Dense(2, name="a"): None}, TypeError, "Give its name: 'a'"),
        (keras.Sequential(name="encoder"), TypeError, r"Give its name: 'encoder/\*'"),
    ],
)
def test_placements_that_find_nothing_are_errors(where, error, words):
    with pytest.raises(error, match=words):
        paths(where)


def test_models_that_are_not_built_are_refused():
    with pytest.raises(ValueError, match="not built.*keras.Input"):
        resolve_placement(keras.Sequential([L.Dense(2)]), "first")


@pytest.mark.parametrize("fits_before", [0, 1])
def test_takes_effect_in_the_next_fit_and_survives_cloning_and_saving(fits_before, tmp_path):
    model = network()
    for _ in range(fits_before):
        model.fit(X, Y, verbose=0)
    iterations = int(model.optimizer.iterations)

    assert apply_entropy(model, "all", DenseEntropy(5.0)).layers == ("hidden", "head")

    penalty = float(keras.ops.convert_to_numpy(sum(model.losses)))
    predictions = model.predict(X, verbose=0)
    expected = np.mean(np.square(predictions - Y)) + penalty
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), expected, atol=1e-6)
    history = model.fit(X, Y, verbose=0).history  # one batch: the loss is that before the step
    np.testing.assert_allclose(history["loss"], expected, atol=1e-6)
    assert int(model.optimizer.iterations) == iterations + 1
    model.save(tmp_path / "model.keras")
    for other in (keras.models.clone_model(model), keras.models.load_model(tmp_path / "model.keras")):
        assert len(other.losses) == 2
        assert other.get_layer("head").kernel_regularizer.get_config() == DenseEntropy(5.0).get_config()


def test_each_layer_gets_its_own_copy_with_its_layout_and_groups():
    model = network()
    apply_entropy(model, "all", ConvCornerEntropy(1.0, channels="matrix"))

    found = {
        "conv1": model.get_layer("conv1").kernel_regularizer,
        "conv2": model.get_layer("conv2").kernel_regularizer,
        "depthwise": model.get_layer("separable").depthwise_regularizer,
        "pointwise": model.get_layer("separable").pointwise_regularizer,
    }
    assert {name: (r.layout, r.groups) for name, r in found.items()} == {
        "conv1": ("conv", 1),
        "conv2": ("conv", 2),
        "depthwise": ("depthwise", 1),
        "pointwise": ("conv", 1),
    }
    assert len({id(r) for r in found.values()}) == 4
    assert np.isfinite(model.evaluate(X, Y, verbose=0))


@pytest.mark.parametrize("kind", [ConvEntropy, TotalCorrelation])
def test_exact_terms_get_strides_dilation_and_groups_too(kind):
    model = keras.Sequential([
        keras.Input((9, 9, 4)), L.Conv2D(4, 3, strides=2, name="a"),
        L.Conv2D(4, 3, dilation_rate=(1, 2), groups=2, padding="same", name="b"),
        L.Conv2DTranspose(4, 3, strides=(1, 2), name="c"), L.Flatten(), L.Dense(2, name="d"),
    ])  # fmt: skip

    attached = apply_entropy(model, "all", kind(1.0, grid=4, every=2))

    assert list(attached) == (["a", "b", "c", "d"] if kind is TotalCorrelation else ["a", "b", "c"])
    found = [model.get_layer(name).kernel_regularizer for name in "abc"]
    assert [(r.layout, r.strides, r.dilation, r.groups) for r in found] == [
        ("conv", 2, 1, 1),
        ("conv", 1, [1, 2], 2),
        ("transpose", [1, 2], 1, 1),
    ]
    assert {(r.grid, r.every) for r in found} == {(4, 2)}


def test_terms_of_activations_are_not_for_kernels():
    with pytest.raises(TypeError, match=r"`regularizer`.*of kernels.*ActivationEntropy"):
        apply_entropy(network(), "first", ActivationEntropy("tanh", 1.0))


def test_both_parts_of_a_separable_convolution_are_penalised():
    model = network()
    apply_entropy(model, "separable/*", ConvCornerEntropy(1.0, epsilon=0.0))

    depthwise, pointwise, _ = model.get_layer("separable").get_weights()
    expected = -np.log(np.abs(depthwise[0, 0])).mean() - np.log(np.abs(pointwise[0, 0])).mean()
    np.testing.assert_allclose(float(keras.ops.convert_to_numpy(sum(model.losses))), expected, rtol=1e-5)


def test_factors_that_do_not_fit_a_layer_are_refused_before_anything_is_attached():
    model = keras.Sequential([keras.Input((8, 8, 1)), L.Conv2D(4, 3, name="a"), L.Conv2D(5, 3, name="b")])

    with pytest.raises(ValueError, match=r"'b'.*4 factors.*5 filters.*Nothing was attached"):
        apply_entropy(model, "all", ConvCornerEntropy([1.0] * 4))

    assert model.losses == []


def test_a_layer_that_is_there_but_not_measured_is_named_so():
    with pytest.raises(ValueError, match=r"'head' finds no kernel that ConvCornerEntropy can act on.*conv1"):
        apply_entropy(network(), "head", ConvCornerEntropy(1.0))


class TestOddNames:
    @pytest.fixture
    def model(self):
        names = ["none", "all", "block[0]", "block0", "first", "a $x_{", "größe"]
        return keras.Sequential([keras.Input((4,)), *(L.Dense(4, name=name) for name in names)])

    @pytest.mark.parametrize("name", ["block[0]", "block0", "a $x_{", "größe"])
    def test_a_path_wins_over_a_glob(self, model, name):
        assert [w.path for w in resolve_placement(model, name)] == [name]
        assert apply_entropy(model, name, DenseEntropy(0.1)).layers == (name,)

    @pytest.mark.parametrize("name", ["none", "all", "first"])
    def test_a_path_wins_over_a_named_placement_with_a_warning(self, model, name):
        with pytest.warns(EntropyWarning, match=f"'{name}' is the path of a layer.*rename"):
            found = resolve_placement(model, name)

        assert [w.path for w in found] == [name]
        assert [w.path for w in resolve_placement(model, [name])] == [name]

    def test_globs_are_globs_where_no_path_fits(self, model):
        assert [w.path for w in resolve_placement(model, "block*")] == ["block[0]", "block0"]
        assert [w.path for w in resolve_placement(model, "block[[]?]")] == ["block[0]"]
        assert len(resolve_placement(model, "*")) == 7

    def test_the_logger_and_the_profile_show_names_as_they_are(self, model, tmp_path):
        model.compile("sgd", "mse", run_eagerly=True)  # a graph of TensorFlow takes no such names
        x = np.ones((4, 4), "float32")

        history = model.fit(x, x, verbose=0, callbacks=[EntropyLogger(log_dir=tmp_path)]).history

        paths = [layer.name for layer in model.layers]
        assert [key.removeprefix("entropy/") for key in history if key.startswith("entropy/")] == paths
        profile = entropy_profile(model)
        assert [record.path for record in profile.records] == paths
        assert all(path in str(profile) for path in paths)
        profile.plot(path=tmp_path / "profile.png")

    def test_a_name_inside_of_a_nested_model_wins_over_a_glob(self):
        inner = keras.Sequential([keras.Input((4,)), L.Dense(4, name="h[1]"), L.Dense(4, name="h1")], name="inner")
        model = keras.Sequential([keras.Input((4,)), inner])

        assert [w.path for w in resolve_placement(model, "h[1]")] == ["inner/h[1]"]


def test_a_term_that_can_act_on_no_kernel_is_told_which_there_are():
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="hidden"), keras.layers.Dense(2, name="head")]
    )
    with pytest.raises(
        ValueError, match="finds no kernel that ConvEntropy can act on. It can act on none .* hidden, head"
    ):
        apply_entropy(model, "all", ConvEntropy(1e-3))
