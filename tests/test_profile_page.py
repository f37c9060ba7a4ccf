"""The page of a profile as a file: what is in it, whose names it escapes, and what it refuses."""

import base64
import copy
import csv
import dataclasses
import hashlib
import json
import math
import re
from html.parser import HTMLParser

import keras
import numpy as np
import pytest
from networks import built
from typer.testing import CliRunner

from keras_entropy import EntropyProfile, entropy_profile
from keras_entropy.profile import page_data
from keras_entropy.profile.epoch_log import epoch_log
from keras_entropy_cli.app import app

pytestmark = pytest.mark.once  # the host computes all of it
L = keras.layers
EVIL = "</script><img src=x onerror=alert(1)>"
HISTORY = {"entropy/a": [-1.0, -1.5, math.nan], "entropy/c": [0.0, 1.0, 2.0], "loss": [3.0, 2.0, 1.0], "lr": [1e-3] * 3}


class Elements(HTMLParser):
    """Elements with their attributes, and the words outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.found, self.words, self.inside = [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.inside = tag
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.inside not in ("script", "style"):
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def network():
    layers = [L.Conv2D(80, 3, name="a"), L.PReLU(name="p"), L.BatchNormalization(name="b"), L.Flatten()]
    return built(*layers, L.Dense(3, name="c"), shape=(6, 6, 2))


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return network()


@pytest.fixture
def write(tmp_path):
    """Write the page of a profile; return its text and its numbers."""

    def write(profile, **arguments):
        profile.to_html(tmp_path / "p.html", **arguments)
        text = (tmp_path / "p.html").read_text(encoding="utf-8")
        (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
        return text, json.loads(data)

    return write


def test_the_page_loads_nothing(model, write):
    text, _ = write(entropy_profile(model))
    page = Elements(text)
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert {tag for tag, _ in page.found}.isdisjoint({"link", "iframe", "object", "embed", "base", "form", "img"})
    assert not re.search(r"https?:|@import|\bsrc=|\bhref=|url\(", text.replace("http://www.w3.org/2000/svg", ""))
    assert [
        attributes for _, attributes in page.found if any(n == "style" or n.startswith("on") for n in attributes)
    ] == []
    (policy,) = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    for tag, name in (("script", "script-src"), ("style", "style-src")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in policy


def test_the_table_holds_the_numbers_without_the_script(model, write):
    profile, random = entropy_profile(model), entropy_profile(model, randomize=0)
    text, _ = write(profile)
    page = Elements(text)
    for record in profile.records:
        (row,) = re.findall(rf'<tr data-i="\d">(?:(?!</tr>).)*>{record.path}</button>.*?</tr>', text)
        if record.skipped is None:
            difference = record.mean - random[record.path].mean
            for value in (f"{record.mean:.3f}", f"{random[record.path].mean:.3f}", f"{difference + 0.0:+.3f}"):
                assert value.replace("-", "\u2212").replace("\u22120.000", "0.000") in row
        else:
            assert "not measured" in row
    assert "3 of 4 weights are measured, beside a randomly initialised copy (seed 0)." in page.text
    assert "Nothing stands out: no collapsed layers, no dead outputs" in page.text
    heads = page.all("th")
    assert [head["aria-sort"] for head in heads if "aria-sort" in head] == ["ascending"]
    assert all(head.get("scope") in ("col", "row") for head in heads)
    regions = [attributes for _, attributes in page.found if attributes.get("role") == "region"]
    assert len(regions) == 2
    assert all(region["tabindex"] == "0" and region["aria-label"] for region in regions)


def test_details_are_those_of_the_weights(model, write):
    _, data = write(entropy_profile(model))
    conv, activation, scale, dense = data["layers"]

    kernel = np.array(keras.ops.convert_to_numpy(model.get_layer("c").kernel), np.float64)
    singular = np.linalg.svd(kernel, compute_uv=False)
    np.testing.assert_allclose(dense["own"]["spectrum"]["y"], np.log(singular), rtol=1e-3)
    norms = np.sort(np.linalg.norm(kernel, axis=0))[::-1]
    np.testing.assert_allclose(dense["own"]["norms"]["y"], norms, rtol=1e-3)
    cosines = kernel.T @ kernel / np.outer(*[np.linalg.norm(kernel, axis=0)] * 2)
    found = np.frombuffer(base64.b64decode(dense["own"]["cosines"]), np.uint8) / 255
    np.testing.assert_allclose(found, np.abs(cosines[np.triu_indices(3, 1)]), atol=1 / 255)
    assert dense["own"]["outputs"] == [0, 1, 2]
    assert set(dense["random"]) == set(dense["own"])
    assert dense["random"]["norms"] != dense["own"]["norms"]

    assert len(conv["own"]["outputs"]) == 64
    assert conv["own"]["norms"]["n"] == 80
    assert len(base64.b64decode(conv["own"]["cosines"])) == 64 * 63 // 2
    assert "own" not in activation
    assert activation["skipped"].startswith("an activation")
    assert "cosines" not in scale["own"]


@pytest.mark.parametrize("measure", ["corner", "total_correlation"])
def test_other_measures_show_their_values_beside_the_spectrum(measure, model, write):
    profile = entropy_profile(model, measure)
    text, data = write(profile)
    assert data["curves"] == ["values", "spectrum", "norms"]
    shown = data["layers"][3]["own"]
    np.testing.assert_allclose(shown["values"]["y"], np.sort(profile["c"].values)[::-1], rtol=1e-3, atol=1e-9)
    assert shown["spectrum"]["n"] == 3
    assert "collapsed layers (the measure is not log_volume); constant outputs (no sample)." in text


def test_a_loaded_profile_has_a_page_that_says_what_is_missing(model, write, tmp_path):
    entropy_profile(model).save(tmp_path / "p.json")
    text, data = write(EntropyProfile.load(tmp_path / "p.json"))
    assert "This profile was read from a file or copied" in text
    assert (
        "Not looked for: collapsed layers, layers far from random (no random copy); constant outputs (no sample)."
        in text
    )
    assert data["curves"][0] == "values"
    assert set(data["layers"][0]["own"]) == {"mean", "values", "box"}
    assert "random" not in data["layers"][0]

    entropy_profile(model, randomize=1).save(tmp_path / "r.json")
    _, data = write(EntropyProfile.load(tmp_path / "p.json"), other=EntropyProfile.load(tmp_path / "r.json"))
    assert data["other"] == "random copy (seed 1)"
    assert set(data["layers"][0]["random"]) == {"mean", "values", "box"}


def test_random_weights_have_a_page_of_their_own(model, write):
    text, data = write(entropy_profile(model, randomize=3))
    assert "<h1>Entropy profile of net, randomly initialised (seed 3)</h1>" in text
    assert "random" not in data["layers"][0]
    assert "norms" in data["layers"][0]["own"]


def test_a_copy_does_not_hold_the_model(model):
    profile = entropy_profile(model)
    assert profile._measured_model is not None
    assert copy.copy(profile)._measured_model is None
    assert copy.copy(profile) == profile


def test_weights_that_changed_are_refused(write):
    network = built(L.Dense(3, name="c"))
    profile = entropy_profile(network)
    network.get_layer("c").kernel.assign(np.ones((4, 3)))
    with pytest.raises(ValueError, match="The weights of net have changed since this profile was made: c. Make a new"):
        write(profile)


def test_names_of_other_people_are_text(write, model):
    profile = entropy_profile(model)
    records = tuple(dataclasses.replace(r, path=f"{EVIL}\x1b{i}", kind=EVIL) for i, r in enumerate(profile.records))
    log = {f"entropy/{records[0].path}": [1.0], "loss": [1.0]}
    text, data = write(dataclasses.replace(profile, model=EVIL, records=records), history=log)
    assert "<img" not in text
    assert "\x1b" not in text
    assert text.count("</script>") == 2
    assert data["layers"][1]["name"] == f"{EVIL}?1"
    assert Elements(text).all("img") == []
    assert f"Entropy profile of {EVIL}" in Elements(text).text


def test_epochs_of_a_history(model, write, tmp_path):
    class History:
        history = HISTORY

    with (tmp_path / "history.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ["epoch", *HISTORY, "note"],
                *([i, *row, "x"] for i, row in enumerate(zip(*HISTORY.values(), strict=True))),
            ]
        )
    for history in (HISTORY, History(), tmp_path / "history.csv", str(tmp_path / "history.csv")):
        text, data = write(entropy_profile(model), history=history)
        assert [layer["epochs"] for layer in data["layers"]] == [[-1.0, -1.5, None], None, None, [0.0, 1.0, 2.0]]
        assert data["losses"] == {"loss": [3.0, 2.0, 1.0]}
        assert '<h2 id="over">Epochs</h2>' in text
    assert '<h2 id="over">' not in write(entropy_profile(model))[0]


def test_the_page_opens_on_a_measured_weight(write):
    layers = [
        L.Embedding(5, 4, name="tokens"),
        L.Flatten(),
        L.Dense(6, name="a"),
        L.PReLU(name="p"),
        L.Dense(2, name="b"),
    ]
    network = built(*layers, shape=(3,))
    assert write(entropy_profile(network))[1]["first"] == 1
    network.get_layer("b").set_weights([np.ones((6, 2)), np.zeros(2)])
    assert write(entropy_profile(network))[1]["first"] == 3
    assert write(entropy_profile(built(L.PReLU(name="p"), L.Dense(3, name="c")), randomize=0))[1]["first"] == 1


def test_the_page_says_how_to_read_constant_outputs_and_single_values(model, write):
    page = Elements(write(entropy_profile(model))[0])
    assert "Constant outputs: an activation gives one value on all inputs of the sample" in page.text
    assert "its box is a dash" in page.text


def test_bad_logs_are_refused(model, write, tmp_path):
    profile = entropy_profile(model)
    with pytest.raises(ValueError, match="`history` should be a log of this model with EntropyLogger.*entropy/a"):
        write(profile, history={"loss": [1.0]})
    with pytest.raises(TypeError, match="`history` should be a History of fit"):
        write(profile, history=3)
    with pytest.raises(FileNotFoundError):
        write(profile, history=tmp_path / "no.csv")
    for content in ("", "a,a\n1,2\n", "a,b\n1\n", "a,b\n"):
        (tmp_path / "bad.csv").write_text(content)
        with pytest.raises(ValueError, match=r"bad.csv should have one row per epoch"):
            epoch_log(tmp_path / "bad.csv")
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe\x00a,b")
    with pytest.raises(ValueError, match=r"bad.csv is not a CSV file"):
        epoch_log(tmp_path / "bad.csv")


def test_numbers_that_are_not_finite(write):
    network = built(L.Dense(4, kernel_initializer="zeros", name="zero"), L.Dense(4, name="c"))
    text, data = write(entropy_profile(network))
    zero = data["layers"][0]["own"]
    assert (zero["mean"], zero["box"]) == (None, None)
    assert zero["values"] == {"n": 4, "y": [None] * 4, "quartiles": [None] * 5}
    assert "\u2212∞" in text
    assert 'data-v="-1e+300"' in text


def test_weights_that_are_not_measured_are_named_as_by_the_command(write, tmp_path):
    network = built(*(L.PReLU(name=f"p{i}") for i in range(9)), L.Dense(3, name="c"), L.Dense(2, name="d"))
    network.get_layer("c").set_weights([np.full((4, 3), np.nan), np.zeros(3)])
    text, _ = write(entropy_profile(network))
    words = Elements(text.partition('<h2 id="layers">')[0]).text
    network.save(tmp_path / "m.keras")
    command = CliRunner().invoke(app, ["profile", str(tmp_path / "m.keras"), "--randomize", "0"])

    assert "What stands out Not measured (10) c (Dense): not finite: 12 NaN of 12 values." in words  # before the PReLUs
    assert "not measured: c (Dense): not finite: 12 NaN of 12 values" in command.stdout
    assert "2 more p7 (PReLU): an activation" in words
    (row,) = re.findall(r'<tr data-i="9">.*?</tr>', text)
    assert '<td data-v="0.5"><span>not measured</span></td>' in row


def test_boxes_and_curves_are_short():
    values = np.concatenate([np.linspace(-1, 1, 1001), np.full(300, -50.0), [60.0, -math.inf]])
    box = page_data.box(values)
    assert len(box["outliers"]) == page_data.MOST_OUTLIERS
    assert (box["outliers"][0], box["outliers"][-1], box["infinite"]) == (-50.0, 60.0, 1)
    curve = page_data.curve(np.sort(values)[::-1])
    assert (curve["n"], len(curve["y"]), curve["y"][0], curve["y"][-1]) == (1303, page_data.MOST_POINTS, 60.0, None)


def test_the_command_writes_the_page(model, tmp_path):
    model.save(tmp_path / "m.keras")
    (tmp_path / "history.csv").write_text("epoch,entropy/a,loss\n1,0.5,2\n2,0.4,1\n")
    command = ["profile", str(tmp_path / "m.keras"), "--html", str(tmp_path / "out.html")]
    result = CliRunner().invoke(app, [*command, "--log", str(tmp_path / "history.csv")])

    assert result.exit_code == 0, result.output
    text = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "beside a randomly initialised copy (seed 0)" in text
    assert '"epochs":[0.5,0.4]' in text
    assert "Nothing stands out: no collapsed layers" in result.stdout
    again = CliRunner().invoke(app, command)
    assert (again.exit_code, "out.html exists. Use --overwrite" in again.stderr) == (2, True)
    alone = CliRunner().invoke(app, [*command[:2], "--log", "x"])
    assert (alone.exit_code, "Add --html FILE" in alone.stderr) == (2, True)
    missing = CliRunner().invoke(app, [*command, "--overwrite", "--log", str(tmp_path / "no.csv")])
    assert (missing.exit_code, "no.csv" in missing.stderr) == (2, True)


def test_the_command_says_what_stands_out(tmp_path):
    network = built(L.Dense(6, kernel_initializer="ones", name="same"), L.Dense(4, name="c"), shape=(8,))
    network.save(tmp_path / "m.keras")
    result = CliRunner().invoke(app, ["profile", str(tmp_path / "m.keras")])
    assert "duplicate outputs (1):\n  same: 5 of 6 outputs repeat an earlier one" in result.stdout
    assert "Nothing else was found: no dead outputs, no unread inputs." in result.stdout
    assert result.stdout.endswith("Add --randomize 0 to compare with a randomly initialised copy.\n")
