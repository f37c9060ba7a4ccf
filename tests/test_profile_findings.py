"""What a profile says stands out: dead, unread and duplicate units, collapsed layers, and layers far from random."""

import dataclasses
import math

import keras
import numpy as np
import pytest
from networks import built

from keras_entropy import EntropyProfile, entropy_profile, models
from keras_entropy.profile import ProfileRecord, Units, units
from keras_entropy.profile.findings import ADVICE, find, in_words, remarks

pytestmark = pytest.mark.once  # the host computes all of it
L = keras.layers


def change(model, layer, function, weight="kernel"):
    """Replace a weight by a function of its value."""
    variable = getattr(model.get_layer(layer), weight)
    variable.assign(function(np.array(keras.ops.convert_to_numpy(variable))))


def found(model, measure="log_volume"):
    profile = entropy_profile(model, measure)
    return profile.findings(entropy_profile(model, measure, randomize=0))


def units_of(model, path):
    return entropy_profile(model)[path].units


@pytest.fixture
def mlp(seeded):
    return built(L.Dense(64, name="a"), L.Dense(48, name="b"), L.Dense(10, name="c"), shape=(32,))


def test_a_network_as_it_was_initialised_has_no_findings(mlp):
    assert found(mlp) == ()
    assert units_of(mlp, "a") == Units(outputs=64, inputs=32)


def test_dead_and_unread_units(mlp):
    def dead(kernel):
        kernel[:, [3, 7]] = 0
        kernel[:, 9] *= 1e-8
        kernel[5] = 0
        return kernel

    change(mlp, "b", dead)

    assert units_of(mlp, "b") == Units(outputs=48, inputs=64, dead=(3, 7, 9), unread=(5,))
    said = [(finding.kind, finding.path, finding.evidence) for finding in found(mlp)]
    assert said == [
        ("dead outputs", "b", "3 of 48 outputs have no weights (index 3, 7, 9)"),
        ("unread inputs", "b", "1 of 64 inputs has no weights (index 5)"),
    ]
    assert "can be removed" in found(mlp)[0].advice


def test_duplicate_units_up_to_sign_and_size(mlp):
    def repeat(kernel):
        kernel[:, 10], kernel[:, 20] = 2 * kernel[:, 4], -0.1 * kernel[:, 4]
        kernel[:, 30] = kernel[:, 31] + 0.02 * kernel[:, 0]
        kernel[:, 40] = kernel[:, 41] + 0.2 * kernel[:, 1]
        return kernel

    change(mlp, "a", repeat)

    duplicates = units_of(mlp, "a")
    assert duplicates.duplicates == ((4, 10, 20), (30, 31))
    assert (duplicates.repeated, duplicates.opposite) == (3, 1)
    (finding,) = [finding for finding in found(mlp) if finding.kind == "duplicate outputs"]
    assert str(finding) == (
        "a: 3 of 64 outputs repeat an earlier one (index 10, 20 as 4; 31 as 30): the cosine of their weights is above "
        "0.999 in absolute value, 1 of them with the opposite sign"
    )


def test_duplicates_of_long_vectors_are_found_and_verified(seeded):
    model = built(L.Conv2D(40, 3, name="c"), shape=(8, 8, 64))

    def repeat(kernel):
        kernel[..., 17] = -kernel[..., 5]
        kernel[..., 18] = kernel[..., 6] + 0.08 * kernel[..., 7]  # cosine 0.997
        return kernel

    change(model, "c", repeat)

    assert units_of(model, "c").duplicates == ((5, 17),)


def test_few_inputs_have_parallel_outputs_by_chance(seeded):
    """Among 64 random vectors of two numbers dozens are parallel; no vector of one number says anything."""
    for inputs in (1, 2, 3):
        assert units_of(built(L.Dense(64, name="d"), shape=(inputs,)), "d").duplicates == ()


def test_outputs_of_other_inputs_are_no_duplicates(seeded):
    """Groups, and the channels of a depthwise kernel, read other inputs each."""
    model = built(
        L.Conv2D(8, 3, groups=2, name="g"), L.DepthwiseConv2D(3, depth_multiplier=2, name="d"), shape=(12, 12, 4)
    )

    def equal(kernel):
        kernel[..., 4:] = kernel[..., :4]
        return kernel

    change(model, "g", equal)
    change(model, "d", lambda kernel: np.repeat(kernel[:, :, :1], 8, axis=2))
    assert units_of(model, "g") == Units(outputs=8, inputs=4, groups=2)
    assert units_of(model, "d") == Units(outputs=16, inputs=8, groups=8)

    change(model, "g", lambda kernel: np.repeat(kernel[..., :1], 8, axis=-1))
    assert units_of(model, "g").duplicates == ((0, 1, 2, 3), (4, 5, 6, 7))
    change(model, "d", lambda kernel: np.repeat(kernel[..., :1], 2, axis=-1))
    assert units_of(model, "d").duplicates == tuple((i, i + 1) for i in range(0, 16, 2))


def test_units_of_every_layout(seeded):
    inputs = keras.Input((12, 12, 4))
    x = L.Conv2DTranspose(6, 3, name="t")(inputs)
    x = L.BatchNormalization(name="b")(x)
    x = L.Reshape((-1, 6))(x)
    x = L.MultiHeadAttention(2, 5, name="m")(x, x)
    model = keras.Model(inputs, L.LSTM(3, name="l")(x))

    def dead(kernel):
        kernel[..., 2, :] = 0
        kernel[..., 1] = 0
        return kernel

    change(model, "t", dead)
    change(model, "b", lambda gamma: gamma * [1, 1, 0, 1, 1, 1], "gamma")
    query = model.get_layer("m").query_dense.kernel  # (inputs, heads, units)
    query.assign(np.concatenate([np.array(query)[:, :1]] * 2, axis=1))
    profile = entropy_profile(model)

    assert profile["t"].units == Units(outputs=6, inputs=4, dead=(2,), unread=(1,))
    assert profile["b"].units == Units(outputs=6, inputs=6, dead=(2,), groups=6)
    assert profile["m/query"].units.duplicates == tuple((i, i + 5) for i in range(5))
    assert profile["m/attention_output"].units == Units(outputs=6, inputs=10)
    assert profile["l/lstm_cell/kernel"].units is None
    assert profile["l/lstm_cell/kernel"].layout == "dense"


def test_all_outputs_equal_or_zero(seeded):
    layers = [L.Dense(4, kernel_initializer="ones", name="ones"), L.Dense(4, kernel_initializer="zeros", name="zeros")]
    kinds = {(finding.path, finding.kind) for finding in found(built(*layers, shape=(8,)))}
    assert kinds == {("ones", "collapsed"), ("ones", "duplicate outputs"), ("zeros", "dead outputs")}


def test_many_outputs_are_not_compared(monkeypatch, mlp):
    change(mlp, "a", lambda kernel: np.repeat(kernel[:, :1], 64, axis=1))
    assert units_of(mlp, "a").repeated == 63
    monkeypatch.setattr(units, "MOST_OUTPUTS", 63)
    assert units_of(mlp, "a").repeated == 0


def test_a_collapsed_layer(mlp):
    def collapse(kernel):
        u, s, v = np.linalg.svd(kernel, full_matrices=False)
        return u * np.where(np.arange(len(s)) < 8, s, 1e-4 * s) @ v

    change(mlp, "b", collapse)

    (finding,) = found(mlp)
    profile, random = entropy_profile(mlp), entropy_profile(mlp, randomize=0)
    difference = random["b"].mean - profile["b"].mean
    assert (finding.kind, finding.path) == ("collapsed", "b")
    assert f"{difference:.2f} below the randomly initialised copy" in finding.evidence
    assert str(finding) in str(profile.compare(random))
    assert finding.advice in profile.compare(random)._repr_html_()


def test_directions_that_vanish_are_counted(mlp):
    change(mlp, "b", lambda kernel: kernel[:, :8] @ kernel[:8])

    (finding,) = found(mlp)
    assert finding.kind == "collapsed"
    assert finding.evidence.endswith("40 of 48 singular values are below a millionth of the largest")


def test_dead_and_duplicate_units_that_leave_few_directions_are_a_collapse(mlp):
    change(mlp, "b", lambda kernel: kernel[:, :1] * np.arange(48))
    collapsed, *others = found(mlp)
    assert (collapsed.kind, collapsed.path) == ("collapsed", "b")
    assert collapsed.evidence == "dead and duplicate units leave 1 of 48 directions"
    assert [finding.kind for finding in others] == ["dead outputs", "duplicate outputs"]


@pytest.mark.parametrize(("dead", "kinds"), [(32, ["dead outputs"]), (33, ["collapsed", "dead outputs"])])
def test_dead_units_that_leave_fewer_than_half_of_the_directions_are_a_collapse(dead, kinds, seeded):
    model = built(L.Dense(64, name="a"), shape=(64,))
    change(model, "a", lambda kernel: kernel * (np.arange(64) >= dead))
    assert [finding.kind for finding in found(model)] == kinds
    change(model, "a", lambda kernel: 0 * kernel)
    assert found(model)[0].evidence == "dead and unread units leave 0 of 64 directions"


def test_almost_duplicate_units_of_a_wide_layer_are_a_collapse(seeded):
    model = built(L.Dense(12, name="a"), shape=(6,))
    change(model, "a", lambda kernel: np.outer(kernel[:, 0], 1 + np.arange(12)) + 1e-4 * kernel)
    assert found(model)[0].evidence == "duplicate units leave 1 of 6 directions"


@pytest.mark.parametrize("unread", [0, 100])
def test_unread_inputs_that_take_no_direction_do_not_hide_a_collapse(unread, seeded):
    model = built(L.Dense(64, name="a"), shape=(784,))
    change(model, "a", lambda kernel: (np.arange(784) >= unread)[:, None] * kernel[:, :6] @ kernel[:6])
    finding = found(model)[0]
    assert finding.kind == "collapsed"
    assert finding.evidence.endswith("set aside; 58 of 64 singular values are below a millionth of the largest")


@pytest.mark.parametrize(
    ("layer", "shape", "zero"),
    [
        (lambda: L.Dense(32, name="a"), (784,), np.s_[:200]),  # unread inputs that leave all directions
        (lambda: L.Dense(12, name="a"), (6,), np.s_[:, :2]),  # dead outputs that do
        (lambda: L.Conv2D(64, 3, strides=2, name="a"), (8, 8, 32), np.s_[:, :, :10]),
        (lambda: L.Conv2D(64, 3, strides=2, name="a"), (8, 8, 3), np.s_[:, :, :1]),  # four dimensions for an input
        (lambda: L.Conv2D(64, 3, groups=4, name="a"), (8, 8, 32), np.s_[..., :10]),
        (lambda: L.DepthwiseConv2D(3, depth_multiplier=2, name="a"), (8, 8, 8), np.s_[:, :, :1]),
        (lambda: L.Conv2DTranspose(6, 3, strides=2, name="a"), (8, 8, 4), np.s_[:, :, :1]),
    ],
)
def test_units_without_weights_are_no_collapse_if_most_directions_are_left(layer, shape, zero, seeded):
    model = built(layer(), shape=shape)

    def silence(kernel):
        kernel[zero] = 0
        return kernel

    change(model, "a", silence)
    kinds = {finding.kind for finding in found(model)}
    assert kinds
    assert kinds <= {"dead outputs", "unread inputs"}
    change(model, "a", lambda kernel: 10 * kernel)
    assert found(model)[-1].kind == "far from random"  # what is left is compared
    assert float(found(model)[-1].evidence.split()[-6]) == pytest.approx(math.log(10), abs=0.5)


def test_small_weights_alone_are_no_collapse(mlp):
    change(mlp, "b", lambda kernel: 1e-3 * kernel)

    difference = entropy_profile(mlp)["b"].mean - entropy_profile(mlp, randomize=0)["b"].mean
    (finding,) = found(mlp)
    assert finding.kind == "far from random"
    assert f"{-difference:.2f} below the randomly initialised copy" in finding.evidence
    assert "not a fault" in finding.advice


def test_scales_are_not_far_from_random(seeded):
    model = built(L.Dense(8, name="d"), L.BatchNormalization(name="b"), shape=(8,))
    change(model, "b", lambda variance: 1e4 * variance, "moving_variance")
    assert found(model) == ()


def test_a_collapse_needs_singular_values(mlp):
    change(mlp, "b", lambda kernel: kernel[:, :2] @ kernel[:2])
    kinds = {finding.kind for finding in found(mlp, "corner")}
    assert "collapsed" not in kinds
    records = entropy_profile(mlp).records
    assert remarks((), records, "corner", records, None) == [
        "Nothing stands out: no dead outputs, no unread inputs, no duplicate outputs, no layers far from random.",
        "Not looked for: collapsed layers (the measure is not log_volume); constant outputs (no sample).",
    ]


def test_a_profile_alone_says_what_it_sees(mlp):
    change(mlp, "a", lambda kernel: kernel * (np.arange(64) > 0))
    profile = entropy_profile(mlp)
    said = str(profile).splitlines()
    assert said[-5:] == [
        "dead outputs (1):",
        "  a: 1 of 64 outputs has no weights (index 0)",
        f"  {ADVICE['dead outputs']}",
        "Nothing else was found: no unread inputs, no duplicate outputs.",
        "Not looked for: collapsed layers, layers far from random (no random copy); constant outputs (no sample).",
    ]
    assert "1 of 64 outputs has no weights" in profile._repr_html_()
    with pytest.raises(ValueError, match="`other` should be the profile of a randomly initialised copy"):
        profile.findings(profile)
    sample = np.random.default_rng(0).normal(size=(50, 32))
    assert str(entropy_profile(mlp, sample=sample)).splitlines()[-1] == (
        "Not looked for: collapsed layers, layers far from random (no random copy)."
    )


def test_a_profile_and_a_comparison_print_that_nothing_stands_out(mlp):
    profile, random = (
        entropy_profile(mlp, sample=np.random.default_rng(0).normal(size=(500, 32))),
        entropy_profile(mlp, randomize=0),
    )
    kinds = "no collapsed layers, no dead outputs, no constant outputs in the 3 layers whose activation was seen, "
    said = f"Nothing stands out: {kinds}no unread inputs, no duplicate outputs, no layers far from random."
    assert str(profile).splitlines()[-1] == (
        "Not looked for: collapsed layers, layers far from random (no random copy)."
    )
    for shown in (str(profile.compare(random)), profile.compare(random)._repr_html_()):
        assert said in shown
        assert "Not looked for" not in shown
    assert profile.compare(profile).conclusion[-1] == str(profile).splitlines()[-1]


def test_long_lists_are_cut():
    many = Units(outputs=99, inputs=4, dead=tuple(range(20)))
    records = [ProfileRecord(f"l{i}", "Dense", (4, 99), 0.0, (0.0,), "nats", units=many) for i in range(9)]
    lines = in_words(find(records, "log_volume"))
    assert lines[0] == "dead outputs (9):"
    assert lines[1].endswith("(index 0, 1, 2, 3, 4, 5, 6, 7 and 12 more)")
    assert lines[7] == "  and 3 more"


def test_infinite_means_are_compared():
    record = ProfileRecord("a", "Dense", (2, 2), -math.inf, (0.0, -math.inf), "nats per dimension")
    random = dataclasses.replace(record, mean=0.0, values=(0.1, -0.1))
    (finding,) = find([record], "log_volume", [random])
    assert (finding.kind, finding.evidence) == ("collapsed", "1 of 2 singular values are 0")
    assert find([record], "log_volume", [record]) == ()


def test_files_hold_the_units(mlp, tmp_path):
    change(mlp, "a", lambda kernel: np.repeat(kernel[:, :32], 2, axis=1))
    profile = entropy_profile(mlp)
    profile.save(tmp_path / "p.json")
    assert EntropyProfile.load(tmp_path / "p.json") == profile
    assert EntropyProfile.load(tmp_path / "p.json").findings() == profile.findings() != ()


@pytest.mark.data
def test_a_healthy_trained_network_is_not_called_faulty(data_folder):
    model = models.squeezenet(weights=data_folder / "weights" / "squeezenet_v1.1.npz")
    assert {(f.path, f.kind) for f in found(model)} == {("conv1", "far from random"), ("conv10", "far from random")}


def test_a_trained_network_of_digits_is_not_called_faulty(seeded):
    data = pytest.importorskip("sklearn.datasets", reason="the digits come with scikit-learn")
    x, y = data.load_digits(return_X_y=True)
    model = built(L.Dense(32, "relu", name="a"), L.Dense(10, name="b"), shape=(64,))
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x / 16, y, epochs=3, verbose=0)
    assert {finding.kind for finding in found(model)} <= {"far from random"}


def test_what_was_not_looked_at_is_named(seeded):
    """Layers of few inputs have no duplicates, recurrent ones no units, and zeros nothing to compare with."""
    few = built(L.Dense(64, kernel_initializer="ones", name="a"), L.Dense(1, name="b"), shape=(2,))
    gates = built(L.LSTM(8, name="r"), L.Dense(4, name="d"), shape=(5, 3))
    zeros = built(L.Dense(32, kernel_initializer="zeros", name="z"), L.Dense(32, name="d"), shape=(32,))
    change(zeros, "z", lambda kernel: np.random.default_rng(0).normal(size=kernel.shape))
    narrow = entropy_profile(few)

    assert narrow["a"].units.searched is False
    assert "Not looked for: duplicate outputs in a (too few inputs or too many outputs); collapsed" in str(narrow)
    assert (
        "Not looked for: dead outputs, unread inputs, duplicate outputs in r/lstm_cell/kernel, "
        "r/lstm_cell/recurrent_kernel (a unit has a part in each gate or piece)"
    ) in str(entropy_profile(gates))
    assert "collapsed layers, layers far from random in z (the random copy has no volume to compare with)" in str(
        entropy_profile(zeros).compare(entropy_profile(zeros, randomize=0))
    )


def test_filters_without_a_corner_are_far_from_random(seeded):
    model = built(L.Conv2D(16, 3, name="c"), shape=(8, 8, 4))
    corner = np.zeros((3, 3, 4, 16), bool)
    corner[0, 0, :, :8] = True
    change(model, "c", lambda kernel: np.where(corner, 0, kernel))
    (finding,) = found(model, "corner")
    assert (finding.kind, finding.evidence) == ("far from random", "8 of 16 values are minus infinity")


class TestConstantOutputs:
    def model(self):
        layers = [L.Conv2D(6, 3, padding="same", name="c"), L.ReLU(name="r"), L.MaxPooling2D(name="p"), L.Flatten()]
        dense = L.Dense(5, "relu", bias_initializer=keras.initializers.Constant(3.0), name="d")
        return built(*layers, dense, L.Dense(2, name="head"), shape=(6, 6, 1))

    def sample(self, rows=64):
        return np.random.default_rng(0).normal(size=(rows, 6, 6, 1)).astype("float32")

    def test_dead_relus_are_found_where_they_are(self, seeded):
        model = self.model()
        change(model, "c", lambda bias: np.array([0, -99, 0, 0, -99, 0]), "bias")
        change(model, "d", lambda bias: np.array([1, 1, -1e4, 1, 1]), "bias")
        profile = entropy_profile(model, sample=self.sample())

        found = {layer.path: layer.constant for layer in profile.constant}
        assert found == {"c": (), "r": (1, 4), "d": (2,), "head": ()}
        assert [str(finding) for finding in profile.findings()] == [
            "r: 2 of 6 outputs never change on the sample of 64 rows (index 1, 4)",
            "d: 1 of 5 outputs never changes on the sample of 64 rows (index 2)",
        ]
        assert "leaky activation" in str(profile)

    def test_what_follows_from_constant_inputs_is_not_said_again(self, seeded):
        layers = [
            L.Conv2D(6, 1, name="expand"), L.ReLU(name="expand_relu"), L.DepthwiseConv2D(3, name="depthwise"),
            L.BatchNormalization(name="bn"), L.ReLU(6.0, name="relu6"), L.Flatten(),
            L.Dense(5, "relu", name="d"), L.Dense(4, "tanh", name="e"), L.Dense(2, name="head"),
        ]  # fmt: skip
        model = built(*layers, shape=(6, 6, 1))
        change(model, "expand", lambda bias: np.array([0, -99, 0, 0, -99, 0]), "bias")
        change(model, "d", lambda bias: np.full(5, -1e4), "bias")
        found = {layer.path: layer.constant for layer in entropy_profile(model, sample=self.sample(300)).constant}
        assert found == {
            "expand": (), "expand_relu": (1, 4), "depthwise": (), "relu6": (), "d": (0, 1, 2, 3, 4), "e": (),
            "head": (),
        }  # fmt: skip

    def test_layers_of_a_user_that_do_not_call_their_activation_are_judged_by_their_outputs(self, seeded):
        class Named(keras.layers.Layer):
            activation = "relu"

            def call(self, x):
                return 0 * keras.ops.relu(x)

        (layer,) = entropy_profile(built(Named(name="n"), shape=(3,)), sample=np.arange(12.0).reshape(4, 3)).constant
        assert layer.constant == (0, 1, 2)

    def test_channels_first(self, seeded):
        layers = [L.Conv2D(3, 3, activation="relu", data_format="channels_first", name="c")]
        model = built(*layers, shape=(1, 6, 6))
        change(model, "c", lambda bias: np.array([0, -99, 0]), "bias")
        if keras.backend.backend() == "tensorflow":
            pytest.skip("TensorFlow has no such convolution on the CPU")
        (layer,) = entropy_profile(model, sample=self.sample().transpose(0, 3, 1, 2)).constant
        assert (layer.outputs, layer.constant, layer.rows) == (3, (1,), 64)

    def test_a_healthy_network_has_none(self, seeded):
        profile = entropy_profile(self.model(), sample=self.sample())
        assert all(layer.constant == () for layer in profile.constant)
        assert "no constant outputs" in str(profile)

    def test_recurrent_layers_are_looked_at_and_their_cells_are_not(self, seeded):
        model = built(L.SimpleRNN(4, activation="relu", name="r"), L.Dense(2, name="d"), shape=(5, 3))
        model.get_layer("r").cell.bias.assign([0, -99, 0, 0])
        sample = np.random.default_rng(0).normal(size=(32, 5, 3))
        assert [(layer.path, layer.constant) for layer in entropy_profile(model, sample=sample).constant] == [
            ("r", (1,)), ("d", ()),
        ]  # fmt: skip

    def test_a_recurrent_layer_of_which_the_inputs_are_constant_is_not_the_cause(self, seeded):
        model = built(L.Dense(3, "relu", name="d"), L.GRU(2, name="r"), shape=(5, 3))
        change(model, "d", lambda bias: bias - 99, "bias")
        profile = entropy_profile(model, sample=np.random.default_rng(0).normal(size=(32, 5, 3)))
        assert [(layer.path, layer.constant) for layer in profile.constant] == [("d", (0, 1, 2)), ("r", ())]

    def test_a_constant_input_does_not_hide_a_unit_of_a_recurrent_layer(self, seeded):
        model = built(L.SimpleRNN(4, activation="relu", name="r"), shape=(5, 4))
        model.get_layer("r").cell.bias.assign([-99, 0, 0, 0])
        sample = np.random.default_rng(0).normal(size=(32, 5, 4))
        sample[..., 0] = 1
        assert [layer.constant for layer in entropy_profile(model, sample=sample).constant] == [(0,)]

    def test_a_layer_of_several_widths_is_left_out(self, seeded):
        relu, x = L.ReLU(name="relu"), keras.Input((4,))
        y = relu(L.Dense(3, name="d")(relu(L.Dense(8, name="c")(x))))
        sample = np.random.default_rng(0).normal(size=(32, 4))
        paths = [layer.path for layer in entropy_profile(keras.Model(x, y), sample=sample).constant]
        assert paths == ["c", "d"]

    def test_a_branch_that_jax_compiles_is_not_looked_at(self, seeded):
        class Branch(keras.layers.Layer):
            def __init__(self, **options):
                super().__init__(**options)
                self.dense = L.Dense(3, "relu")

            def build(self, shape):
                self.dense.build(shape)

            def call(self, x):
                return keras.ops.cond(keras.ops.sum(x) > 0, lambda: self.dense(x), lambda: 2 * self.dense(x))

        sample = np.random.default_rng(0).normal(size=(32, 4))
        profile = entropy_profile(built(Branch(name="n"), shape=(4,)), sample=sample)

        on_jax = keras.backend.backend() == "jax"
        assert [layer.constant for layer in profile.constant] == ([] if on_jax else [()])
        assert ("constant outputs (no outputs of an activation were seen)" in str(profile)) == on_jax

    def test_files_and_pages_hold_them(self, seeded, tmp_path):
        model = self.model()
        change(model, "c", lambda bias: np.array([0, -99, 0, 0, -99, 0]), "bias")
        profile = entropy_profile(model, sample=self.sample())
        profile.save(tmp_path / "p.json")
        assert EntropyProfile.load(tmp_path / "p.json") == profile
        profile.to_html(tmp_path / "p.html")
        text = (tmp_path / "p.html").read_text(encoding="utf-8")
        assert "<h3>Constant outputs (1)</h3>" in text
        assert "<li>r: 2 of 6 outputs never change" in text  # a layer without weights is no row of the table

    def test_samples_that_do_not_fit_are_refused(self, seeded):
        with pytest.raises(ValueError, match=r"should have rows that differ: .* Received: 5 equal rows\. Give rows of"):
            entropy_profile(self.model(), sample=np.ones((5, 6, 6, 1)))
        with pytest.raises(ValueError, match="`sample` should be at least two rows"):
            entropy_profile(self.model(), sample=self.sample(1))
        with pytest.raises(ValueError, match="Leave out one of both"):
            entropy_profile(self.model(), randomize=0, sample=self.sample())
        with pytest.raises(ValueError, match="`sample` should be inputs of the model"):
            entropy_profile(self.model(), sample=np.zeros((4, 3)))
        model = self.model()
        model.set_weights([np.full_like(value, np.nan) for value in model.get_weights()])
        with pytest.raises(ValueError, match="`sample` should give finite outputs in each layer"):
            entropy_profile(model, sample=self.sample())
