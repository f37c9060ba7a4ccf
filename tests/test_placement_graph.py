"""Placements that are read off the graph of a model, or off a profile."""

import keras
import numpy as np
import pytest

from keras_entropy import ConvCornerEntropy, DenseEntropy, entropy_profile, models, resolve_placement

L = keras.layers


def paths(model, placement, *arguments, **more):
    return [weight.path for weight in resolve_placement(model, placement, *arguments, **more)]


class TestPreSkip:
    @pytest.mark.once  # the graph of layers is the same on each backend
    def test_resnet50(self):
        model = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), include_top=False)

        blocks = {2: 3, 3: 4, 4: 6, 5: 3}
        expected = [f"conv{s}_block{b}_3_conv" for s, count in blocks.items() for b in range(1, count + 1)]
        expected += [f"conv{s}_block1_0_conv" for s in blocks]
        assert sorted(paths(model, "pre_skip")) == sorted(expected)

    def test_looks_through_what_has_no_kernel(self):
        x = keras.Input((8, 8, 4))
        a = L.Conv2D(4, 1, name="a")(x)
        b = L.PReLU()(L.BatchNormalization()(a))
        c = L.Conv2D(4, 1, name="c")(L.Dropout(0.5)(b))
        y = L.Conv2D(2, 1, name="y")(L.Add()([L.ReLU()(b), c]))

        assert paths(keras.Model(x, y), "pre_skip") == ["a", "c"]

    def test_sums_of_operators_and_of_constants(self):
        x = keras.Input((4,))
        a = L.Dense(4, name="a")(x) + 1.0
        b = L.Dense(4, name="b")(a)

        assert paths(keras.Model(x, a + b), "pre_skip") == ["a", "b"]
        with pytest.raises(ValueError, match=r"'pre_skip' finds no kernel\. Available: a, b"):
            paths(keras.Model(x, b), "pre_skip")

    def test_nested_models_are_looked_into(self):
        h = keras.Input((4,))
        inner = keras.Model(h, L.ReLU()(L.Dense(4, name="deep")(h)), name="inner")
        through = keras.Sequential([keras.Input((4,)), L.ReLU()], name="through")
        x = keras.Input((4,))
        a = L.Dense(4, name="a")(x)
        b = L.Dense(4, name="b")(a)

        model = keras.Model(x, L.Add()([through(a), inner(b)]))

        assert paths(model, "pre_skip") == ["a", "inner/deep"]

    def test_skips_inside_of_a_model_that_is_called_twice(self):
        h = keras.Input((4,))
        block = keras.Model(h, L.Add()([h, L.Dense(4, name="in")(h)]), name="block")
        x = keras.Input((4,))
        a, b = L.Dense(4, name="a")(x), L.Dense(4, name="b")(x)

        model = keras.Model(x, L.Concatenate()([block(a), block(b)]))

        assert sorted(paths(model, "pre_skip")) == ["a", "b", "block/in"]

    def test_attention_counts_with_its_output(self):
        x = keras.Input((5, 6))
        h = L.MultiHeadAttention(2, 3, name="mha")(x, x)
        y = L.Dense(6, name="mlp")(L.LayerNormalization()(x + h))

        assert paths(keras.Model(x, y + x), "pre_skip") == ["mha/attention_output", "mlp"]

    def test_only_what_the_regularizer_can_act_on(self):
        x = keras.Input((8, 8, 4))
        a, b = L.Conv2D(4, 1, name="a")(x), L.Dense(4, name="b")(x)
        model = keras.Model(x, L.Add()([a, b]))

        assert paths(model, "pre_skip") == ["a", "b"]
        assert paths(model, "pre_skip", regularizer=ConvCornerEntropy(1.0)) == ["a"]

    def test_of_a_separable_convolution_the_pointwise_part_counts(self):
        x = keras.Input((8, 8, 4))
        model = keras.Model(x, L.Add()([x, L.SeparableConv2D(4, 3, padding="same", name="s")(x)]))

        assert paths(model, "pre_skip") == ["s/pointwise_kernel"]

    def test_models_inside_time_distributed(self):
        h = keras.Input((4,))
        inner = keras.Model(h, L.Add()([h, L.Dense(4, name="d2")(L.Dense(4, name="d1")(h))]), name="inner")
        x = keras.Input((5, 4))
        a = L.Dense(4, name="a")(x)

        assert paths(keras.Model(x, L.TimeDistributed(inner, name="each")(a)), "pre_skip") == ["a", "each/inner/d2"]

    def test_of_stacked_cells_the_last_one_counts(self):
        x = keras.Input((5, 4))
        cells = [L.SimpleRNNCell(4, name=f"cell{i}") for i in range(2)]
        model = keras.Model(x, L.Add()([x, L.RNN(cells, return_sequences=True, name="r")(x)]))

        assert all("cell1" in path for path in paths(model, "pre_skip"))
        assert len(paths(model, "pre_skip")) == 2

    def test_layers_that_hide_their_order_are_named(self):
        class Two(L.Layer):
            def __init__(self, **arguments):
                super().__init__(**arguments)
                self.first, self.second = L.Dense(4), L.Dense(4)

            def build(self, shape):
                self.first.build(shape)
                self.second.build(shape)

            def call(self, x):
                return self.second(self.first(x))

        x = keras.Input((4,))
        with pytest.raises(ValueError, match="last kernel of layer 'two'.*Two with several layers inside"):
            paths(keras.Model(x, L.Add()([x, Two(name="two")(x)])), "pre_skip")

    def test_subclassed_models_have_no_graph(self):
        class Own(keras.Model):
            def __init__(self):
                super().__init__()
                self.a = L.Dense(3)

            def build(self, shape):
                self.a.build(shape)

            def call(self, x):
                return self.a(x)

        model = Own()
        model.build((None, 3))
        with pytest.raises(ValueError, match="Own, a subclassed model. Name the layers"):
            paths(model, "pre_skip")


class TestPreConcat:
    def test_unet(self):
        model = models.unet((32, 32, 3), filters=(4, 8, 16))

        assert sorted(paths(model, "pre_concat")) == [
            "down1_conv2", "down2_conv2", "down3_conv2", "up1_transpose", "up2_transpose", "up3_transpose",
        ]  # fmt: skip

    def test_squeezenet(self):
        model = models.squeezenet((64, 64, 3), classes=2)

        found = paths(model, "pre_concat")

        assert found == [f"fire{i}_expand{k}" for i in range(2, 10) for k in ("1x1", "3x3")]


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((6,)), *[L.Dense(6, name=name) for name in "abc"], L.BatchNormalization(name="bn")]
    )


def reference(measure="log_volume", **scales):
    """A network whose kernels keep more or less than random ones: by log(scale) nats per dimension."""
    model = network()
    copy = entropy_profile(model, measure, randomize=0)
    for name, scale in scales.items():
        layer = model.get_layer(name)
        kernel = keras.ops.convert_to_numpy(layer.kernel).astype("float64")
        shift = copy[name].mean - entropy_profile(model, measure)[name].mean
        layer.kernel.assign(kernel * np.exp(shift) * scale)
    return entropy_profile(model, measure)


class TestEmpirical:
    def test_keeps_what_exceeds_the_random_copy(self):
        found = reference(a=0.5, b=1.5, c=3.0)

        assert paths(network(), "empirical", found) == ["b", "c"]
        assert paths(network(), "empirical", found, top=1) == ["c"]
        assert paths(network(), "empirical:1", found) == ["c"]
        assert paths(network(), "empirical", found, threshold=1.0) == ["c"]
        assert paths(network(), "empirical", found, threshold=-1.0) == ["a", "b", "c"]
        assert paths(network(), "empirical", found, threshold=-1.0, top=2) == ["b", "c"]

    def test_takes_a_comparison(self):
        high, low = reference(a=2.0, b=1.0, c=1.0), reference(a=1.0, b=2.0, c=2.0)

        assert paths(network(), "empirical", high.compare(low)) == ["a"]

    def test_other_names_are_matched_by_order(self):
        model = keras.Sequential([keras.Input((6,)), *[L.Dense(6, name=f"x{i}") for i in range(3)],
                                  L.BatchNormalization(name="y")])  # fmt: skip

        assert paths(model, "empirical", reference(a=0.5, b=0.5, c=3.0)) == ["x2"]

    def test_automatic_names_that_have_moved_on_are_matched_by_order(self):
        def chain(first):
            names = [f"dense_{i}" for i in range(first, first + 3)]
            return keras.Sequential([keras.Input((6,)), *[L.Dense(6, name=name) for name in names]])

        trained = chain(0)
        trained.layers[0].kernel.assign(100 * np.eye(6))

        assert paths(chain(1), "empirical:1", entropy_profile(trained, "log_volume")) == ["dense_1"]

    def test_nothing_above_the_threshold_lists_the_differences(self):
        with pytest.raises(
            ValueError, match=r"exceeds that of a randomly initialised copy by 9 nats.*c \+1\.\d+, b.*, a -"
        ):
            paths(network(), "empirical", reference(a=0.5, b=1.5, c=3.0), threshold=9)

    @pytest.mark.parametrize(
        ("arguments", "error", "words"),
        [
            ({}, TypeError, "`reference`.*entropy_profile"),
            ({"reference": "p.json"}, TypeError, "`reference`.*entropy_profile"),
            ({"top": 0}, ValueError, "`top`"),
            ({"threshold": float("nan")}, ValueError, "`threshold`"),
        ],
    )
    def test_errors(self, arguments, error, words):
        with pytest.raises(error, match=words):
            paths(network(), "empirical", **({"reference": reference(a=2.0)} | arguments if arguments else {}))

    def test_another_architecture_is_refused(self):
        other = keras.Sequential([keras.Input((6,)), L.Dense(3, name="other")])
        with pytest.raises(ValueError, match="no measured weight in common"):
            paths(other, "empirical", reference(a=2.0))


class TestDict:
    def test_is_the_union_in_the_order_of_the_layers(self):
        rules = {"c": DenseEntropy(1.0), "first": DenseEntropy(0.1)}

        assert paths(network(), rules) == ["a", "c"]

    def test_a_rule_that_finds_nothing_is_named(self):
        with pytest.raises(ValueError, match="'z'"):
            paths(network(), {"first": DenseEntropy(0.1), "z": DenseEntropy(1.0)})
