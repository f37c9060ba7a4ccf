"""An `EntropyProfile` in the hand: its random copy, files, comparisons, tables and figures."""

import copy
import dataclasses
import itertools
import json
import math
import pickle
import re

import keras
import numpy as np
import pytest
from networks import Odd, built, fill

from keras_entropy import EntropyProfile, EntropyWarning, _sealed, entropy_profile, functional
from keras_entropy._frozen import FrozenDict
from keras_entropy.profile import measurable_weights, measure_weight
from keras_entropy.profile.profile import SCHEMA

L = keras.layers


def only(model, measure="log_volume", **arguments):
    (record,) = entropy_profile(model, measure, **arguments).records
    return record


def one_record(**changes):
    record = {"path": "a", "kind": "Dense", "shape": [1, 1], "mean": 0.0, "values": [0.0], "unit": "nats", "pieces": {},
              "skipped": None, **changes}  # fmt: skip
    return profile_file(records=[record])


def profile_file(**changes):
    """The text of a file whose checksum is right."""
    whole = {"model": "m", "measure": "corner", "randomize": None, "records": [], **changes}
    return json.dumps(_sealed.sealed(SCHEMA, whole))


class TestRandomCopy:
    def model(self):
        return built(
            L.Conv2D(8, 3, name="c"), L.DepthwiseConv2D(3, depthwise_initializer="ones", name="d"),
            L.SeparableConv2D(4, 3, name="s"), L.BatchNormalization(name="b"), L.Reshape((-1, 4)), L.LSTM(3, name="l"),
            L.Dense(3, kernel_initializer=keras.initializers.RandomNormal(stddev=0.1, seed=5), name="k"),
            shape=(9, 9, 2),
        )  # fmt: skip

    def test_is_deterministic_and_does_not_depend_on_the_weights(self):
        first, second = (entropy_profile(fill(self.model(), i), "log_volume", randomize=0) for i in range(2))

        assert first == second
        assert first.randomize == 0
        assert first != entropy_profile(self.model(), "log_volume", randomize=1)

    def test_draws_from_the_own_initializers(self):
        profile = entropy_profile(fill(self.model()), "log_volume", randomize=3)

        ones = functional.conv_log_spectrum(np.ones((3, 3, 1, 8)), groups=8)
        np.testing.assert_allclose(profile["d"].values, ones)
        np.testing.assert_allclose(profile["b"].values, -0.5 * np.log(1.001))  # gamma 1, variance 1
        recurrent = profile["l/lstm_cell/recurrent_kernel"]
        assert recurrent.shape == (3, 12)
        wide = entropy_profile(
            built(L.Dense(400, kernel_initializer=keras.initializers.RandomNormal(stddev=0.1)), shape=(400,)),
            "corner",
            randomize=0,
        ).records[0]
        # E log|det| of a Gaussian matrix: half the sum of the digamma functions of i / 2, plus n log(2) / 2.
        from scipy.special import digamma

        expected = np.mean([0.5 * (digamma(i / 2) + np.log(2)) for i in range(1, 401)]) + np.log(0.1)
        np.testing.assert_allclose(wide.mean, expected, atol=0.02)

    def test_a_freshly_built_model_is_like_its_random_copy(self):
        model = built(L.Conv2D(64, 3, name="c"), shape=(8, 8, 32))

        (difference,) = entropy_profile(model).compare(entropy_profile(model, randomize=0)).differences

        # The mean of 2048 logs of uniform magnitudes: standard deviation 1 / sqrt(2048) each.
        assert abs(difference.difference) < 6 * np.sqrt(2 / 2048)

    def test_initializers_without_a_seed_cannot_draw(self):
        class Own(keras.Initializer):
            def __init__(self, scale):
                self.scale = scale

            def __call__(self, shape, dtype=None):
                return keras.ops.ones(shape, dtype)

        for initializer in (Own(2.0), lambda shape, dtype=None: keras.random.normal(shape, dtype=dtype)):
            model = built(L.Dense(3, kernel_initializer=initializer))
            assert "no initializer with a seed" in only(model, randomize=0).skipped

    def test_seeds_of_numpy_are_seeds(self):
        model = built(L.Dense(3))

        assert entropy_profile(model, randomize=np.int64(0)) == entropy_profile(model, randomize=0)

    @pytest.mark.parametrize("seed", [True, -1, 0.5, "0"])
    def test_other_seeds_are_refused(self, seed):
        with pytest.raises(ValueError if seed == -1 else TypeError, match="`randomize`"):
            entropy_profile(built(L.Dense(2)), randomize=seed)


class TestArguments:
    def test_errors(self):
        with pytest.raises(ValueError, match="`measure`.*'corner', 'log_volume', 'total_correlation'"):
            entropy_profile(built(L.Dense(2)), "entropy")
        with pytest.raises(TypeError, match="`model` should be a Keras model"):
            entropy_profile([1, 2])
        with pytest.raises(ValueError, match=r"not built.*keras\.Input"):
            entropy_profile(keras.Sequential([L.Dense(2)]))

    def test_progress_goes_to_standard_error(self, capsys):
        entropy_profile(built(L.Dense(2)), progress=True)

        assert capsys.readouterr().out == ""

    def test_an_unknown_path_lists_the_paths(self):
        with pytest.raises(KeyError, match="'x'.*Available: a"):
            entropy_profile(built(L.Dense(2, name="a")))["x"]


class TestSaving:
    def test_round_trip_with_infinities_and_reasons(self, tmp_path):
        x = keras.Input((3, 4))
        h = L.MultiHeadAttention(2, 2)(x, x)
        model = keras.Model(x, L.Dense(2, kernel_initializer="zeros")(Odd()(h)))
        profile = entropy_profile(model, "log_volume", randomize=None)

        profile.save(tmp_path / "deep" / "p.json")

        assert EntropyProfile.load(tmp_path / "deep" / "p.json") == profile
        text = (tmp_path / "deep" / "p.json").read_text()
        assert json.loads(text, parse_constant=pytest.fail)["schema"] == SCHEMA
        assert '"-inf"' in text

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "is not an entropy profile"),
            ("[]", "not a JSON object"),
            ('{"schema": "keras-entropy/train/1"}', f"this version reads '{SCHEMA}'"),
            (json.dumps(_sealed.sealed(SCHEMA, {"measure": "corner"})), "missing required field `model`"),
            (profile_file(measure="x"), "`measure`"),
            (profile_file(randomize="0"), r"Expected `int \| null`, got `str`"),
            (profile_file(records=[3]), r"at `\$.records\[0\]`"),
            (profile_file(more=3), "unknown field 'more'"),
            ("[" * 100000, "nested too deeply"),
            (one_record(mean=None), "a mean and a unit, or a reason"),
            (one_record(unit=None), "a mean and a unit, or a reason"),
            (one_record(skipped="why"), "a mean and a unit, or a reason"),
            (one_record(unit=[3]), "got `array` - at"),
            (one_record(values="123"), "got `str` - at"),
            (one_record(pieces=[1]), "got `array` - at"),
            (one_record(mean=10**400), "out of range"),
            (one_record().replace('"mean": 0.0', '"mean": 0.5'), 'its checksum is wrong.*delete its "sha256"'),
            (one_record().replace('"records": [', '"records": [{}, '), "its checksum is wrong"),
        ],
    )  # fmt: skip
    def test_other_files_are_refused(self, tmp_path, text, words):
        path = tmp_path / "p.json"
        path.write_text(text)

        with pytest.raises(ValueError, match=f"p.json is not an entropy profile.*{words}|{words}.*"):
            EntropyProfile.load(path)

    def test_a_file_without_checksum_is_read_with_a_warning(self, tmp_path):
        document = json.loads(one_record(mean=0.25))
        del document["sha256"]
        (tmp_path / "p.json").write_text(json.dumps(document))
        with pytest.warns(EntropyWarning, match="p.json has no checksum"):
            assert EntropyProfile.load(tmp_path / "p.json").records[0].mean == 0.25

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            EntropyProfile.load(tmp_path / "p.json")

    def test_binary_files(self, tmp_path):
        (tmp_path / "p.json").write_bytes(bytes(range(256)))
        with pytest.raises(ValueError, match="is not an entropy profile"):
            EntropyProfile.load(tmp_path / "p.json")


class TestCompare:
    def profiles(self):
        model = built(L.Dense(3, name="a"), L.Dense(3, name="b"), Odd(name="odd"))
        return entropy_profile(fill(model), "log_volume"), entropy_profile(fill(model, 1), "log_volume")

    def test_differences_and_reasons(self):
        first, second = self.profiles()

        comparison = first.compare(second)

        assert [d.path for d in comparison.differences] == ["a", "b"]
        for difference in comparison.differences:
            assert difference.difference == first[difference.path].mean - second[difference.path].mean
        assert [path for path, _ in comparison.skipped] == ["odd/scale", "odd/mix"]
        table = str(comparison)
        assert "difference" in table
        assert "odd/mix: no measure is known" in table
        assert repr(comparison).startswith("<ProfileComparison: net, measure log_volume; other: net")
        assert list(comparison.to_frame()["path"]) == ["a", "b"]

    def test_outliers_are_those_of_the_box_plot(self):
        boxplot_stats = pytest.importorskip("matplotlib.cbook", reason="needs the extra plot").boxplot_stats

        from keras_entropy.profile.record import count_outliers

        values = [*np.linspace(0, 1, 9), 5.0, -4.0]
        assert count_outliers(values) == len(boxplot_stats(values)[0]["fliers"]) == 2
        assert count_outliers([]) == count_outliers([-math.inf]) == 0

    def test_layers_of_only_one_profile_are_named(self):
        one = entropy_profile(built(L.Dense(3, name="a"), L.Dense(3, name="b")))
        two = entropy_profile(built(L.Dense(3, name="a"), L.Dense(4, name="b"), L.Dense(2, name="c")))

        comparison = one.compare(two)

        assert [d.path for d in comparison.differences] == ["a"]
        assert dict(comparison.skipped) == {
            "b": "of shape (3, 3) in the first profile, (3, 4) in the second",
            "c": "only in the second profile",
        }

    def test_what_cannot_be_compared(self):
        first, second = self.profiles()
        with pytest.raises(ValueError, match="the same measure.*'log_volume' and 'corner'"):
            first.compare(entropy_profile(built(L.Dense(3, name="a")), "corner"))
        with pytest.raises(ValueError, match="no measured weight in common"):
            first.compare(entropy_profile(built(L.Dense(3, name="z")), "log_volume"))
        with pytest.raises(TypeError, match="`other` should be an EntropyProfile"):
            first.compare(second.records)


class TestReading:
    """What a result shows, and that nobody can change it."""

    def profile(self):
        h = L.MultiHeadAttention(2, 2, name="mha")
        x = keras.Input((3, 4))
        return entropy_profile(keras.Model(x, Odd(name="<odd>")(h(x, x)), name="n\x1bet"))

    def test_a_profile_prints_as_a_table(self):
        profile = self.profile()

        title, head, *rows = str(profile).splitlines()

        assert title == "n?et, measure log_volume"
        assert head.split() == ["weight", "layer", "shape", "mean", "outliers", "unit"]
        record = profile["mha/query"]
        (row,) = [row for row in rows if row.startswith("mha/query ")]
        assert row.split("  ")[-1].strip() == record.unit
        assert f"{record.mean:.3f}" in row
        assert "4 x 2 x 2" in row
        assert rows[5].startswith("<odd>/mix (Odd) is not measured: no measure is known")
        assert repr(profile) == "<EntropyProfile of n?et, measure log_volume: 4 weights measured, 2 skipped>"

    def test_a_zero_is_printed_without_a_minus(self):
        profile = entropy_profile(built(L.BatchNormalization(name="bn"), shape=(4,)))
        assert -5e-4 < profile["bn"].mean < 0  # epsilon
        for shown in (profile, profile.compare(profile)):
            assert "-0.000" not in str(shown)
            assert " 0.000 " in str(shown)
            assert "-0.000" not in shown._repr_html_()

    @pytest.mark.parametrize("compared", [False, True])
    def test_a_notebook_shows_the_same_escaped(self, compared):
        profile = self.profile()
        shown = profile.compare(profile) if compared else profile

        html = shown._repr_html_()

        assert "\x1b" not in html
        assert "<odd>" not in html
        assert "&lt;odd&gt;/mix" in html
        (body,) = re.findall("<tbody>(.*)</tbody>", html)
        cells = re.findall("<td[^>]*>(.*?)</td>", body)
        words = [cell for row in str(shown).splitlines()[2:6] for cell in re.split("  +", row)]
        assert cells == words

    def test_no_result_can_be_changed(self):
        profile = self.profile()
        comparison = profile.compare(profile)
        (weight, *_) = [measure_weight(w, values=True) for w in measurable_weights(built(L.LSTM(2), shape=(3, 2)))]

        for result in (profile, *profile.records, comparison, *comparison.differences, weight):
            assert is_frozen(result)
        assert len(weight.pieces) == 4
        with pytest.raises(TypeError, match="item assignment"):
            profile["mha/query"].pieces["head 1"] = 0.0
        assert hash(profile) == hash(copy.deepcopy(profile))
        assert pickle.loads(pickle.dumps(profile)) == copy.deepcopy(profile) == profile


def is_frozen(value):
    """Whether nothing in a result can be changed."""
    if dataclasses.is_dataclass(value):
        frozen = type(value).__dataclass_params__.frozen
        return frozen and all(is_frozen(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, tuple):
        return all(map(is_frozen, value))
    return isinstance(value, str | int | float | FrozenDict | None)


class TestFrameAndPlot:
    def test_one_row_per_weight(self):
        frame = entropy_profile(built(L.Dense(3, name="a"), Odd(name="o"))).to_frame()

        assert list(frame.columns[:3]) == ["path", "kind", "shape"]
        assert {"mean", "values", "unit", "skipped"} <= set(frame.columns)
        assert list(frame["path"]) == ["a", "o/scale", "o/mix"]
        assert list(frame["mean"].isna()) == [False, True, True]
        assert list(frame["skipped"].isna()) == [True, False, False]

    def test_two_panels_share_columns(self, tmp_path):
        model = built(L.Dense(3, name="a"), L.Dense(3, name="b"))

        figure = entropy_profile(model).plot(entropy_profile(model, randomize=0), tmp_path / "p.png")

        top, bottom = figure.axes
        assert [label.get_text() for label in bottom.get_xticklabels()] == ["a", "b"]
        assert "random weights (seed 0)" in bottom.get_title()
        assert top.get_ylim() == bottom.get_ylim()
        assert (tmp_path / "p.png").stat().st_size > 1000

    @pytest.mark.parametrize("name", ["a", "p.png", "p.SVG"])
    def test_the_suffix_gives_the_format(self, tmp_path, name):
        entropy_profile(built(L.Dense(3))).plot(path=tmp_path / name)

        assert [path.name for path in tmp_path.iterdir()] == [name]
        start = (tmp_path / name).read_bytes()[:5]
        assert start == (b"<?xml" if name.endswith("SVG") else b"\x89PNG\r")

    def test_an_unknown_suffix_is_an_error(self, tmp_path):
        with pytest.raises(ValueError, match=r"should end in one of .*png.*Received: .*p\.xyz"):
            entropy_profile(built(L.Dense(3))).plot(path=tmp_path / "p.xyz")
        assert not list(tmp_path.iterdir())

    def test_nothing_measured_and_names_that_look_like_formulas(self, tmp_path):
        nothing = entropy_profile(built(L.ReLU())).plot(path=tmp_path / "n.png")
        assert "nothing measured" in nothing.axes[0].get_title()
        entropy_profile(built(L.Dense(3, name="a$\\x_$"))).plot(path=tmp_path / "f.png")

    def test_a_hundred_layers_are_readable(self):
        model = built(*[L.Dense(3, name=f"block{i}_dense") for i in range(100)])

        figure = entropy_profile(model).plot()
        figure.canvas.draw()

        boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
        assert len(boxes) == 100
        assert all(left.x1 <= right.x0 for left, right in itertools.pairwise(boxes))
