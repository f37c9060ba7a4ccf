"""The result of a run: read-only, printed as a table, drawn, and saved."""

import dataclasses
import json
import re

import numpy as np
import pytest
from landscape_cases import ball_run, map_run, without_kernel

from keras_entropy import _sealed, landscape

pytestmark = pytest.mark.once


@pytest.mark.parametrize("run", [ball_run, map_run])
def test_it_is_saved_as_json(run, tmp_path):
    found = run()
    found.save(tmp_path / "density.json")
    record = json.loads((tmp_path / "density.json").read_text())
    assert record["schema"] == "keras-entropy/density-of-states/3"
    assert np.array(record["entropy"], float) == pytest.approx(found.entropy)
    again = landscape.DensityOfStates.load(tmp_path / "density.json")
    for field in dataclasses.fields(found):
        one, other = getattr(found, field.name), getattr(again, field.name)
        if field.name == "axes":
            one, other = ([(axis.name, axis.edges, axis.deep) for axis in axes] for axes in (one, other))
        elif field.name == "means":
            one, other = dict(one), dict(other)
        np.testing.assert_equal(other, one)
    assert again.visited.dtype == bool
    assert again.histogram.dtype == np.int64
    assert str(again) == str(found)


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.update(schema="keras-entropy/profile/1"),
        lambda record: record.pop("entropy"),
        lambda record: record.update(entropy=[1.0]),
        lambda record: record.update(entropy=["a", "b", "c", "d", "e", "f", "g", "h"]),
        lambda record: record["axes"][0].update(edges=[1.0, 0.0]),
        lambda record: record["means"].update(energy=[[1.0]]),
        lambda record: record.update(more=1),
        lambda record: record.update(visited=[1] * 8),
        lambda record: record.update(moves="many"),
        lambda record: record.update(moves=-1),
        lambda record: record["axes"].clear(),
    ],
)
def test_a_file_of_something_else_is_refused(change, tmp_path):
    path = tmp_path / "density.json"
    ball_run().save(path)
    record = json.loads(path.read_text())
    del record["sha256"]
    change(record)
    path.write_text(json.dumps({**record, "sha256": _sealed.checksum(record)}))
    with pytest.raises(ValueError, match="is not a density of states"):
        landscape.DensityOfStates.load(path)


def arrays_of(found):
    yield from (value for value in vars(found).values() if isinstance(value, np.ndarray))
    yield from (part for mean in found.means.values() for part in mean)
    yield from (axis.edges for axis in found.axes)


@pytest.mark.parametrize("run", [ball_run, map_run])
def test_it_cannot_be_changed(run):
    found = run()
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.entropy = found.histogram
    with pytest.raises(TypeError):
        found.means["energy"] = found.means["positive"]
    arrays = list(arrays_of(found))
    assert len(arrays) == 8 + 3 * 2 + len(found.axes)
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert not any(isinstance(value, dict | list) for value in vars(found).values())


def test_a_bin_that_holds_values_beyond_its_outer_edge_says_so():
    edges = {"energy": [0.5, 0.6, 1.0]}
    found = landscape.density_of_states(without_kernel(landscape.ball_problem(2)), "energy", 4e4, edges=edges)
    assert [line.split("  ")[0].strip() for line in str(found).splitlines()[2:4]] == ["below 0.6", "from 0.6"]


def test_it_prints_as_a_table():
    found = ball_run()
    lines = str(found).splitlines()
    assert lines[0] == "ball in a cube of 10 dimensions: entropy in nats, 0 for the whole box"
    assert lines[1].split("  ")[-5:] == ["energy", "entropy", "standard error", "mean energy", "mean positive"]
    assert len(lines) == 2 + 8 + 2
    cells = lines[2].split()
    assert float(cells[0]) == pytest.approx(found.axes[0].centers[0], rel=1e-3)
    assert float(cells[1]) == pytest.approx(found.entropy[0], abs=0.006)
    assert float(cells[2]) == pytest.approx(found.standard_error[0], abs=0.006)
    assert float(cells[4]) == pytest.approx(found.conditional_mean("positive").mean[0], abs=6e-5)
    assert lines[-1] == found.status
    assert repr(found) == "<DensityOfStates: ball in a cube of 10 dimensions, 8 bins, converged>"
    html = found._repr_html_()
    assert html.count("<tr>") == 9
    assert re.findall("<td[^>]*>([^<]*)</td>", html)[1] == cells[1]
    assert found.status in html


def test_a_second_axis_is_summed_over_in_the_table():
    found = map_run()
    lines = str(found).splitlines()
    assert "standard error" not in lines[1]
    cells = lines[2].split()
    shares = np.exp(found.entropy[0])
    assert float(cells[1]) == pytest.approx(np.log(shares.sum()), abs=0.006)
    mean = shares @ found.conditional_mean("energy").mean[0] / shares.sum()
    assert float(cells[2]) == pytest.approx(mean, abs=6e-5)


def test_rows_that_were_not_visited_have_no_means():
    unseen = np.zeros(2)
    found = landscape.DensityOfStates(
        problem="two\x1b bins", axes=(landscape.Axis("energy", [0.0, 1.0, 2.0]),), entropy=np.array([-np.inf, 0.0]),
        standard_error=np.array([np.nan, 0.1]), visited=np.array([False, True]), targets=np.ones(2, bool),
        histogram=unseen, acceptance_rate=unseen, round_trips=0, histogram_entropy=unseen, splitting_entropy=unseen,
        moves=10, seconds=1.0, converged=False, status="Not converged.",
        means={"energy": (np.array([np.nan, 1.5]), unseen, unseen)},
    )  # fmt: skip
    lines = str(found).splitlines()
    assert lines[2].split() == ["0.5", "-inf", "nan"]
    assert lines[3].split() == ["1.5", "0.00", "0.10", "1.5000"]
    assert "\x1b" not in str(found) + found._repr_html_() + repr(found)


@pytest.mark.parametrize(("run", "mean"), [(ball_run, "positive"), (map_run, "positive"), (ball_run, None)])
def test_it_is_drawn(run, mean, tmp_path):
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    figure = run().plot(mean, tmp_path / "figure.png")
    labels = [axes.get_xlabel() for axes in figure.axes] + [axes.get_ylabel() for axes in figure.axes]
    assert "energy" in labels
    assert any("nats" in label for label in labels)
    assert ("mean positive, dots" in labels) == (run is ball_run and mean is not None)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_means_that_were_not_recorded_are_refused():
    with pytest.raises(ValueError, match="one of 'energy', 'positive'"):
        ball_run().conditional_mean("train_loss")


def test_the_distribution_of_the_second_observable_is_drawn(tmp_path):
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    found = map_run()
    [axes] = found.plot_distribution(tmp_path / "figure.png").axes
    shares = np.where(found.visited, np.exp(found.entropy), 0.0)
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    assert lines["all parameters"] == pytest.approx(100 * shares.sum(0) / shares.sum())
    deepest = f"energy {found.axes[0].centers[0]:.3g}"
    assert lines[deepest] == pytest.approx(100 * shares[0] / shares[0].sum())
    assert axes.get_xlabel() == "positive"
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="needs two axes"):
        ball_run().plot_distribution()
