"""Figures 1, 8 and 9: patterns of layers in trained and in random networks."""

import dataclasses

import numpy as np
import pytest

from keras_entropy import models
from keras_entropy.profile import EntropyProfile, ProfileRecord
from keras_entropy.study.document import Picture, Table
from reproduction import Settings, profile_page, profiles, segmentation, trained_weights
from reproduction.profile_page import Case

TINY = dataclasses.replace(profiles.SMALL, side=8, images=40, epochs=1, seeds=2, random=2, largest=100_000)
UNET = dataclasses.replace(segmentation.SMALL, height=16, width=16, images=16, filters=(4, 8), epochs=1, batch_size=8)


def profile(*means, spread=0.1):
    records = [
        ProfileRecord(f"conv{i}", "Conv2D", (3, 3, 1, 2), m, (m - spread, m + spread), "nats per filter")
        for i, m in enumerate(means)
    ]
    return EntropyProfile("net", "corner", None, (*records, ProfileRecord("head", "Dense", (2, 2), 9.0, (9.0,), "x")))


@pytest.mark.once
def test_a_pattern_that_random_networks_have_too_is_not_one_of_training():
    case = Case(
        "net", "corner", (profile(-2, -3, -4), profile(-2.1, -3, -4.1)), (profile(-3, -4, -5), profile(-3, -4, -5.2))
    )
    assert case.contrasts("early", case.trained) == pytest.approx([2, 2])
    beyond = case.beyond("early")  # both samples vary, and the interval carries both
    assert beyond.estimate == pytest.approx(-0.1)
    assert beyond.method == "Welch t"
    assert case.alike()[0] == pytest.approx(1)
    assert case.contrast("ends", np.array([0.0, -1.0, 0.0])) == pytest.approx(1)
    assert np.isnan(case.contrast("pre-skip", np.array([0.0, -1.0, 0.0])))
    marked = dataclasses.replace(case, marked=frozenset(["conv1"]))
    assert marked.contrast("pre-skip", np.array([0.0, 3.0, 1.0])) == pytest.approx(2.5)


@pytest.mark.once
def test_one_trained_network_has_no_interval_and_dead_filters_are_left_out():
    dead = ProfileRecord("conv0", "Conv2D", (3, 3, 1, 2), -np.inf, (-np.inf, -2.0), "nats per filter")
    trained = dataclasses.replace(profile(0, -3, -4), records=(dead, *profile(0, -3, -4).records[1:]))
    case = Case("net", "corner", (trained,), (profile(-3, -4, -5), profile(-3, -4, -5.1)))
    assert case.means(case.trained)[0, 0] == -2
    said = list(profile_page.conclusions("a-fig9", [case], "early"))
    assert "has no interval" in said[0]
    assert "was not tested" in next(
        profile_page.conclusions("a-fig8", [dataclasses.replace(case, trained=())], "early")
    )


@pytest.mark.once
def test_the_paper_s_fall_beside_that_of_random_networks():
    case = Case("vgg16", "corner", (), (profile(-3.3, -4, -4.7), profile(-3.3, -4, -4.7)))
    said = next(profile_page.conclusions("a-fig1", [case], "early"))
    assert (
        "fall from -3.30 to -4.70, by 1.40. Trained minus random is +1.1 in the first layer and -0.8 in the last"
        in said
    )


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(profiles, "SMALL", TINY)
    monkeypatch.setattr(segmentation, "SMALL", UNET)


@pytest.mark.slow
@pytest.mark.usefixtures("train_here", "tiny")
def test_a_tiny_unet(tmp_path):
    outcome = profiles.run("a-fig9", Settings(output=tmp_path, progress=False))
    assert [b.name for b in outcome.blocks if isinstance(b, Picture)] == ["profile1.png", "profile2.png"]
    assert sum("n = 2 and 2 networks" in conclusion for conclusion in outcome.conclusions) == 2
    assert any("strokes" in sentence for sentence in outcome.reduced)
    assert not any("Values of lambda" in sentence for sentence in outcome.reduced)


@pytest.mark.slow
@pytest.mark.usefixtures("train_here", "tiny")
def test_a_figure_without_weights_says_what_stands_in(tmp_path, monkeypatch):
    monkeypatch.setitem(profiles.FIGURES, "a-fig1", profiles.Figure("mobilenet", "squeezenet", "early"))
    monkeypatch.setattr(trained_weights, "_keras_models", lambda: tmp_path)
    outcome = profiles.run("a-fig1", Settings(output=tmp_path, progress=False))
    assert any(
        "no pretrained weights of mobilenet" in s and "cnn, trained here (2 networks, val_accuracy" in s
        for s in outcome.reduced
    )
    summary = next(b for b in outcome.blocks if isinstance(b, Table))
    assert [(row[0][:17], row[1], row[2]) for row in summary.rows] == [
        ("mobilenet", "corner", "0"),
        ("cnn, trained here", "corner", "2"),
        ("cnn, trained here", "log_volume", "2"),
    ]


@pytest.mark.usefixtures("tiny")
def test_weights_of_the_very_architecture_are_used(tmp_path, monkeypatch):
    monkeypatch.setattr(trained_weights, "_keras_models", lambda: tmp_path / "none")
    monkeypatch.setitem(profiles.FIGURES, "a-fig1", profiles.Figure("cnn", "squeezenet", "early"))
    models.by_name("cnn").save(tmp_path / "cnn.keras")
    settings = Settings(output=tmp_path / "out", data=tmp_path, progress=False)
    outcome = profiles.run("a-fig1", settings)
    assert not any("no pretrained weights" in sentence for sentence in outcome.reduced)
    assert any("one trained network" in conclusion for conclusion in outcome.conclusions)
