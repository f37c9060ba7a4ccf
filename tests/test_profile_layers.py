import math
import random

import keras
import numpy as np
import pytest
from networks import Odd, built, fill, log_singular_values

from keras_entropy import entropy_profile, functional, register_measurable
from keras_entropy.profile import LinearMap

L = keras.layers


def only(model, measure="log_volume", **arguments):
    (record,) = entropy_profile(model, measure, **arguments).records
    return record


class TestRecords:
    def test_of_a_dense_layer(self):
        model = fill(built(L.Dense(3, name="a")))
        kernel = model.get_weights()[0].astype(np.float64)

        record = only(model, "corner")

        assert (record.path, record.kind, record.shape, record.unit) == ("a", "Dense", (4, 3), "nats per dimension")
        assert record.skipped is None
        np.testing.assert_allclose(record.mean, np.linalg.slogdet(kernel[:3])[1] / 3, rtol=1e-12)
        assert len(record.values) == 3
        np.testing.assert_allclose(np.mean(record.values), record.mean)
        np.testing.assert_allclose(only(model).values, log_singular_values(kernel), rtol=1e-10)

    @pytest.mark.parametrize("measure", ["corner", "log_volume", "total_correlation"])
    def test_heads_of_attention(self, measure):
        x = keras.Input((5, 6))
        model = fill(keras.Model(x, L.MultiHeadAttention(2, 3, value_dim=4, name="mha")(x, x)))
        query, key, value, output = (model.get_layer("mha").get_weights()[i].astype(np.float64) for i in (0, 2, 4, 6))

        profile = entropy_profile(model, measure)

        heads = {
            "mha/query": [query[:, i] for i in range(2)],
            "mha/key": [key[:, i] for i in range(2)],
            "mha/value": [value[:, i] for i in range(2)],
            "mha/attention_output": list(output),
        }
        assert [record.path for record in profile.records] == list(heads)
        for path, matrices in heads.items():
            record = profile[path]
            assert list(record.pieces) == ["head 1", "head 2"]
            if measure == "total_correlation":
                expected = [functional.total_correlation(m, epsilon=1e-4) / m.shape[1] for m in matrices]
            else:
                block = "full" if measure == "log_volume" else "leading"
                expected = [functional.dense_log_volume(m, block) / min(m.shape) for m in matrices]
            np.testing.assert_allclose(list(record.pieces.values()), expected, rtol=1e-9)
            np.testing.assert_allclose(record.mean, np.mean(expected))
            np.testing.assert_allclose(np.mean(record.values), record.mean)

    @pytest.mark.parametrize("initializer", ["glorot_uniform", "he_normal", "random_normal"])
    @pytest.mark.parametrize(
        "make",
        [
            lambda **kernel: L.EinsumDense("abc,cde->abde", (None, 8, 4), **kernel),
            lambda **kernel: L.EinsumDense("abc,bcd->abd", (5, 24), **kernel),
            lambda **kernel: L.MultiHeadAttention(8, 4, **kernel),
            lambda **kernel: L.GroupQueryAttention(4, 8, 2, **kernel),
        ],
    )
    def test_the_random_copy_is_drawn_as_keras_draws_the_layer(self, make, initializer, seeded):
        x = keras.Input((5, 32))
        layer = make(kernel_initializer=initializer)
        model = keras.Model(x, layer(x) if isinstance(layer, L.EinsumDense) else layer(x, x))

        fresh, copy = entropy_profile(model), entropy_profile(model, randomize=0)

        for record in fresh.records:
            assert record.mean == pytest.approx(copy[record.path].mean, abs=0.2)
        assert fresh.findings(copy) == ()

    def test_heads_of_grouped_attention(self):
        x = keras.Input((5, 6))
        model = fill(keras.Model(x, L.GroupQueryAttention(3, 4, 2, name="gqa")(x, x)))

        profile = entropy_profile(model, "log_volume")

        pieces = {record.path: len(record.pieces) for record in profile.records}
        assert pieces == {"gqa/query": 4, "gqa/key": 2, "gqa/value": 2, "gqa/attention_output": 4}
        key = next(v for v in model.weights if v.path.endswith("key/kernel"))
        head = keras.ops.convert_to_numpy(key)[:, 1]
        np.testing.assert_allclose(profile["gqa/key"].pieces["head 2"], log_singular_values(head).mean(), rtol=1e-9)

    @pytest.mark.parametrize(
        ("layer", "gates"),
        [
            (L.SimpleRNN, []),
            (L.LSTM, ["input gate", "forget gate", "candidate", "output gate"]),
            (L.GRU, ["update gate", "reset gate", "candidate"]),
        ],
    )
    def test_gates_of_recurrent_layers(self, layer, gates):
        model = fill(built(layer(3, name="r"), shape=(5, 4)))

        records = entropy_profile(model, "log_volume").records

        assert [record.path.split("/")[-1] for record in records] == ["kernel", "recurrent_kernel"]
        for record, weight in zip(records, model.get_weights(), strict=False):
            pieces = np.split(weight, max(1, len(gates)), axis=1)
            expected = [log_singular_values(piece).mean() for piece in pieces]
            assert list(record.pieces) == gates
            np.testing.assert_allclose(record.mean, np.mean(expected))
            if gates:
                np.testing.assert_allclose(list(record.pieces.values()), expected, rtol=1e-9)

    def test_normalisations(self):
        model = fill(
            built(L.BatchNormalization(), L.LayerNormalization(), L.RMSNormalization(), L.GroupNormalization(2))
        )
        batch, layer, rms, group = entropy_profile(model, "log_volume").records
        gamma, _, _, variance = (weight.astype(np.float64) for weight in model.layers[0].get_weights())

        np.testing.assert_allclose(batch.values, np.log(gamma / np.sqrt(variance + 1e-3)), rtol=1e-9)
        for record, norm in ((layer, model.layers[1]), (rms, model.layers[2]), (group, model.layers[3])):
            np.testing.assert_allclose(record.values, np.log(norm.get_weights()[0].astype(np.float64)))
        assert {r.mean for r in entropy_profile(model, "total_correlation").records} == {0.0}

    def test_normalisation_without_a_scale_divides_by_sigma(self):
        model = fill(built(L.BatchNormalization(scale=False, epsilon=0.5)))

        record = only(model)

        np.testing.assert_allclose(record.values, -0.5 * np.log(model.layers[0].get_weights()[-1] + 0.5), rtol=1e-6)

    def test_standardisation_of_inputs(self):
        layer = L.Normalization()
        layer.adapt(np.array([[0.0, 0.0], [2.0, 6.0]]))

        np.testing.assert_allclose(only(built(layer, shape=(2,))).values, -np.log([1, 3]), rtol=1e-6)

    def test_einsum_kernels_of_higher_rank_are_one_matrix(self):
        model = fill(built(L.EinsumDense("abc,cde->abde", (None, 2, 3), name="x"), shape=(4, 5)))

        record = only(model)

        np.testing.assert_allclose(record.values, log_singular_values(model.get_weights()[0].reshape(5, 6)), rtol=1e-9)
        assert record.pieces == {}

    def test_einsum_kernels_with_a_shared_axis_are_blocks(self):
        model = fill(built(L.EinsumDense("abc,bcd->abd", (3, 2), name="x"), shape=(3, 5)))
        blocks = model.get_weights()[0]

        record = only(model)

        assert list(record.pieces) == ["block 1", "block 2", "block 3"]
        expected = [log_singular_values(block).mean() for block in blocks]
        np.testing.assert_allclose(list(record.pieces.values()), expected, rtol=1e-9)

    def test_low_rank_adapters_are_merged(self):
        model = fill(built(L.Dense(4, name="x")))
        layer = model.get_layer("x")
        layer.enable_lora(2)
        fill(model, 1)
        kernel, a, b = (keras.ops.convert_to_numpy(v).astype("float64") for v in
                        (layer._kernel, layer.lora_kernel_a, layer.lora_kernel_b))  # fmt: skip
        merged = kernel + a @ b  # alpha is the rank

        record = only(model)

        np.testing.assert_allclose(record.values, log_singular_values(merged), rtol=1e-9)

    def test_wrapped_and_bidirectional_and_shared_layers(self):
        shared = L.Dense(4, name="shared")
        x = keras.Input((5, 4))
        h = L.TimeDistributed(shared, name="each")(x)
        y = L.Bidirectional(L.SimpleRNN(2, name="rnn"), name="both")(shared(h))

        paths = [record.path for record in entropy_profile(keras.Model(x, y)).records]

        kernels = [f"both/{way}_rnn/simple_rnn_cell/{name}" for way in ("forward", "backward")
                   for name in ("kernel", "recurrent_kernel")]  # fmt: skip
        assert sorted(paths) == sorted(["each/shared", *kernels])

    def test_nested_models_have_paths(self):
        inner = keras.Sequential([keras.Input((4,)), L.Dense(3, name="a")], name="inner")
        x = keras.Input((4,))

        model = keras.Model(x, L.Dense(2, name="b")(inner(x)))

        assert [record.path for record in entropy_profile(model).records] == ["inner/a", "b"]

    def test_wide_and_tall_kernels_in_blocks_of_rows(self, monkeypatch):
        monkeypatch.setattr("keras_entropy.profile.measure._BLOCK", 64)
        for shape in ((50, 5), (5, 50)):
            model = fill(built(L.Dense(shape[1]), shape=shape[:1]))
            np.testing.assert_allclose(only(model).values, log_singular_values(model.get_weights()[0]), rtol=1e-9)

    def test_a_zero_kernel_is_minus_infinity(self):
        model = built(L.Dense(3, kernel_initializer="zeros"))

        assert only(model, "corner").mean == only(model, "log_volume").mean == -math.inf

    def test_nothing_of_the_model_changes(self, tmp_path):
        model = built(L.Conv2D(3, 3), L.BatchNormalization(), L.Flatten(), L.Dense(2), shape=(8, 8, 2))
        model.compile("adam", "mse")
        before = [weight.copy() for weight in model.get_weights()]
        random_state = random.getstate()

        entropy_profile(model, "log_volume").compare(entropy_profile(model, "log_volume", randomize=0))

        for weight, old in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(weight, old)
        assert random.getstate() == random_state  # what Keras draws seeds from

    def test_inverted_standardisation_multiplies(self):
        layer = L.Normalization(invert=True)
        layer.adapt(np.array([[0.0, 0.0], [2.0, 6.0]]))

        np.testing.assert_allclose(only(built(layer, shape=(2,))).values, np.log([1, 3]), rtol=1e-6)

    def test_reverse_embeddings_map_vectors(self):
        if not hasattr(L, "ReversibleEmbedding"):
            pytest.skip("this version of Keras has no ReversibleEmbedding")
        layer = L.ReversibleEmbedding(7, 4, tie_weights=False, name="e")
        layer.build((None, 3))

        words, vectors = entropy_profile(layer, "log_volume").records

        assert "integers" in words.skipped
        assert (vectors.shape, vectors.skipped) == ((4, 7), None)

    def test_a_layer_alone(self):
        layer = L.Dense(3, name="d")
        layer.build((None, 4))

        assert only(layer).path == "d"

    def test_weights_of_the_model_itself(self):
        class Own(keras.Model):
            def build(self, shape):
                self.mix = self.add_weight(shape=(3, 3), name="mix")
                self.built = True

            def call(self, x):
                return x @ self.mix

        model = Own()
        model(np.ones((1, 3), "float32"))

        record = only(model)

        assert (record.path, record.shape) == ("mix", (3, 3))
        assert "register_measurable" in record.skipped


class TestSkipped:
    def test_nothing_is_dropped_silently(self):
        model = built(L.Embedding(7, 4, name="e"), Odd(name="odd"), L.PReLU(name="p"), shape=(3,), dtype="int32")

        records = entropy_profile(model).records

        assert [(r.path, r.shape) for r in records] == [("e", (7, 4)), ("odd/scale", (4,)), ("odd/mix", (4, 2)),
                                                        ("p", (3, 2))]  # fmt: skip
        assert all(record.mean is None and record.values == () and record.unit is None for record in records)
        for record, words in zip(records, ("integers", "register_measurable", "Odd", "activation"), strict=True):
            assert words in record.skipped

    @pytest.mark.parametrize("mode", ["int8", "int4"])
    def test_quantised_layers(self, mode):
        model = built(L.Dense(16, name="a"), L.EinsumDense("ab,bc->ac", 8, name="b"), shape=(16,))
        for layer in model.layers:
            layer.quantize(mode)

        records = entropy_profile(model).records

        assert [record.path for record in records] == ["a", "b"]
        assert all(f"quantised to {mode}" in record.skipped for record in records)

    @pytest.mark.filterwarnings("ignore:.build... was called on layer 'late':UserWarning")
    def test_layers_that_are_not_built(self):
        class Late(keras.Model):
            def __init__(self):
                super().__init__()
                self.first = L.Dense(2, name="first")
                self.second = L.Dense(2, name="second")

            def call(self, x):
                return self.first(x)

        model = Late()
        model(np.ones((1, 3), "float32"))

        first, second = entropy_profile(model).records

        assert first.skipped is None
        assert (second.path, second.skipped[:9]) == ("second", "not built")

    def test_weights_of_one_name_and_shifts_by_name_are_all_listed(self):
        class Several(L.Dense):
            def build(self, shape):
                super().build(shape)
                self.gains = [self.add_weight(shape=(2,), name="gain") for _ in range(2)]
                self.beta = self.add_weight(shape=(), name="beta")

            def call(self, x):
                return super().call(x) * self.gains[0] * self.gains[1] * self.beta

        records = entropy_profile(built(Several(2, name="s"))).records

        assert [(r.path, r.shape) for r in records] == [
            ("s", (4, 2)), ("s/gain", (2,)), ("s/gain_1", (2,)), ("s/beta", ()),
        ]  # fmt: skip
        assert [r.skipped is None for r in records] == [True, False, False, False]

    def test_values_that_are_no_numbers_and_weights_without_values(self):
        model = built(L.BatchNormalization(name="bn"))
        model.set_weights([*model.get_weights()[:3], -np.ones(4)])

        assert "variance is negative" in only(model).skipped
        assert only(built(L.Dense(3, name="d"), shape=(0,))).skipped == "it holds no values"

    def test_weights_that_are_not_finite_are_named(self):
        model = built(L.Conv2D(2, 3, name="c"), L.BatchNormalization(name="bn"), shape=(8, 8, 1))
        kernel, *rest = model.get_weights()
        kernel[0, 0, 0, 0], kernel[1, 1, 0, 0], kernel[1, 1, 0, 1] = np.nan, np.nan, np.inf
        rest[-1][0] = np.nan
        model.set_weights([kernel, *rest])

        conv, norm = entropy_profile(model).records

        assert conv.skipped == "not finite: 2 NaN and 1 infinite of 18 values"
        assert norm.skipped == "not finite: 1 NaN of 2 values"
        assert all(record.skipped is None for record in entropy_profile(model, randomize=0).records)

    def test_statistics_of_a_normalisation_that_are_not_finite_are_no_dead_outputs(self):
        model = built(L.BatchNormalization(name="bn"), L.Dense(2, name="d"))
        variance = np.ones(4)
        for bad in (np.inf, -1.0):
            variance[1] = bad
            model.get_layer("bn").moving_variance.assign(variance)
            profile = entropy_profile(model)
            assert profile["bn"].skipped.startswith("not finite: ")
            assert "Nothing else was found: no dead outputs" in str(profile)

    def test_a_model_of_which_nothing_is_measured_is_compared_too(self):
        model = built(L.Dense(3, name="a"), L.Dense(2, name="b"), shape=(4,))
        model.set_weights([np.full_like(value, np.nan) for value in model.get_weights()])
        found = entropy_profile(model).compare(entropy_profile(model, randomize=0))
        assert found.differences == ()
        assert "a: not finite: 12 NaN of 12 values" in str(found)
        assert "(nothing is measured)" in str(found)

    def test_biases_and_other_shifts_that_are_not_finite_are_named(self):
        layers = [L.Dense(3, name="a"), L.BatchNormalization(name="bn"), L.Dense(2, name="b")]
        model = built(*layers, L.Embedding(4, 2, name="e"), shape=(4,))
        for path, name in (("a", "bias"), ("bn", "moving_mean"), ("e", "embeddings")):
            variable = getattr(model.get_layer(path), name)
            variable.assign(np.full(variable.shape, np.nan))

        profile, random = entropy_profile(model), entropy_profile(model, randomize=0)

        assert {r.path: r.skipped for r in profile.records if r.skipped is not None} == {
            "e": "not finite: 8 NaN of 8 values",
            "a/bias": "not finite: 3 NaN of 3 values",
            "bn/moving_mean": "not finite: 3 NaN of 3 values",
        }
        assert {r.path for r in random.records if r.skipped is not None} == {"e"}
        assert "Nothing else was found: no" in str(profile)
        assert "a/bias: not finite: 3 NaN of 3 values" in str(profile.compare(random))
        alone = model.get_layer("a")
        assert [record.path for record in entropy_profile(alone).records] == ["a", "a/bias"]

    def test_kinds_that_no_measured_weight_can_show_are_not_said_to_be_absent(self):
        recurrent, none = (entropy_profile(built(layer, shape=(4, 3))) for layer in (L.LSTM(2, name="r"), L.ReLU()))
        units = "Not looked for: dead outputs, unread inputs, duplicate outputs"

        assert f"{units} (a unit has a part in each gate or piece); collapsed layers, " in str(recurrent)
        assert f"{units}, collapsed layers, layers far from random (nothing is measured)" in str(none)
        assert not any("Nothing" in str(profile) for profile in (recurrent, none))


class TestRegister:
    @pytest.fixture(autouse=True)
    def _forget(self, monkeypatch):
        from keras_entropy.profile import linear_map

        monkeypatch.setattr(linear_map, "_FUNCTIONS", dict(linear_map._FUNCTIONS))

    def test_variables_by_name(self):
        register_measurable(Odd, lambda layer: {"scale": layer.scale, "mix": layer.mix})
        model = fill(built(Odd(name="odd")))

        scale, mix = entropy_profile(model, "log_volume").records

        assert (scale.path, mix.path) == ("odd/scale", "odd/mix")
        np.testing.assert_allclose(scale.values, np.log(model.get_weights()[0].astype(np.float64)))
        np.testing.assert_allclose(mix.values, log_singular_values(model.get_weights()[1]), rtol=1e-9)

    def test_arrays_maps_and_reasons(self):
        register_measurable(Odd, lambda layer: LinearMap(np.ones((3, 3, 2, 5)), "conv", strides=2))
        model = built(Odd(name="odd"))
        records = entropy_profile(model, "log_volume").records
        assert [(r.path, len(r.values)) for r in records if not r.skipped] == [("odd", 5)]

        register_measurable(Odd, lambda layer: {"mix": layer.mix, "scale": "is a matter of taste"})
        assert entropy_profile(model)["odd/scale"].skipped == "is a matter of taste"

    def test_subclasses_inherit_and_built_in_kinds_can_be_replaced(self):
        class Child(L.Dense):
            pass

        register_measurable(L.Dense, lambda layer: {"kernel": "not today"})

        assert only(built(Child(2, name="c"))).skipped == "not today"

    def test_what_has_no_initializer_cannot_be_drawn(self):
        register_measurable(Odd, lambda layer: {"mix": layer.mix, "scale": layer.scale})

        assert all("cannot be drawn" in r.skipped for r in entropy_profile(built(Odd()), randomize=0).records)

    @pytest.mark.parametrize("bad", [(int, len), (Odd, 3), ("Odd", len)])
    def test_other_objects_are_refused(self, bad):
        with pytest.raises(TypeError, match="should be"):
            register_measurable(*bad)

    @pytest.mark.parametrize("returned", [3, {"mix": 3}, {"mix": None}])
    def test_a_function_that_returns_something_else(self, returned):
        register_measurable(Odd, lambda layer: returned)
        with pytest.raises(TypeError, match=r"registered for Odd.*Received: (3|None)"):
            entropy_profile(built(Odd()))
