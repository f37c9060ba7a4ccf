"""The commands of Zhang's figures and table, on problems that take no time."""

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from keras_entropy.landscape import (
    Axis,
    ConditionalMean,
    DensityOfStates,
    Observable,
    densities_of_states,
    function_problem,
)
from reproduction import adam_networks, parameter_space, zhang_table
from reproduction.adam_networks import Trained
from reproduction.paper_numbers import zhang

pytestmark = pytest.mark.once


def quick_problems(shape, sets, strength=0.0):
    """Problems with the observables of a network and three test points, which differ by data set."""

    def energy(shift, c):
        loss = 0.5 * np.abs(c).max(0) + strength
        right = np.minimum(np.floor(4 * np.abs(c[0])), 3) / 3
        return {"train_loss": loss, "train_accuracy": 1 - right, "test_accuracy": np.abs(c[1]) < 0.5 + shift}

    observables = {
        "train_loss": Observable(),
        "train_accuracy": Observable(3, "high"),
        "test_accuracy": Observable(1, "high"),
    }
    return [function_problem(functools.partial(energy, seed / 10), 2, 1.0, observables) for seed in range(sets)]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(parameter_space, "problems", quick_problems)
    pool = "keras_entropy.landscape.densities.ProcessPool"
    monkeypatch.setattr(pool, lambda count, log: ThreadPoolExecutor(1))


def run(capsys, folder, part, *arguments):
    parameter_space.main([part, "--sets", "3", "--moves", "5e4", "--output", str(folder), *arguments])
    return capsys.readouterr().out


def test_figure3(tmp_path, capsys):
    said = run(capsys, tmp_path, "figure3")
    assert "3x6 -> 4x6" in said
    assert "3x6 -> 3x8" in said
    assert (tmp_path / "figure3.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.glob("figure3-5e+04/walks/*.json"))) == 9


def test_figure2(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(parameter_space, "LOSSES", (0.4, 0.2))
    said = run(capsys, tmp_path, "figure2")
    assert said.count("difference at a loss of") == 2
    assert said.count("strength 0.0001, loss") == 2
    assert (tmp_path / "figure2.png").read_bytes().startswith(b"\x89PNG")


def test_the_mean_accuracy_of_a_map_is_that_of_its_result():
    members = quick_problems((1, 1), 1)
    with ThreadPoolExecutor(1) as here:
        found = densities_of_states(
            members, ("train_loss", "test_accuracy"), 5e4, target_loss=0.1, executor=here, progress=False
        )
    mean = parameter_space.mean_accuracy(found.walks["all"][0])
    np.testing.assert_allclose(mean, found.conditional_mean("all").mean)


def test_table1(tmp_path, capsys, monkeypatch):
    rows = [dict(row, loss=0.3 if row["epochs"] == 2000 else 0.1) for row in zhang("table1")["rows"]]
    monkeypatch.setattr(parameter_space, "zhang", lambda place: {"rows": rows} if place == "table1" else zhang(place))

    def trained(shape, data, seed, networks, epochs):
        return {
            n: Trained(np.full(networks, 0.2), np.full(networks, 0.7 + seed / 100), np.zeros(networks)) for n in epochs
        }

    monkeypatch.setattr(adam_networks, "trained", trained)
    said = run(capsys, tmp_path, "table1")
    table = (tmp_path / "table1.md").read_text()
    assert table in said
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    assert lines[0] == f"| {' | '.join(zhang_table.HEAD)} |"
    assert [line.split(" | ")[:2] for line in lines[1:]] == [
        [f"| {layers} x {units}", epochs]
        for layers, units in ((3, 6), (3, 8), (4, 6), (4, 8))
        for epochs in ("2000", "5000")
    ]
    assert all(line.count("agrees") + line.count("higher") + line.count("lower") == 4 for line in lines[1:])
    assert "0.710 +- 0.006 [0.71] agrees" in lines[1]


@pytest.mark.parametrize(
    ("paper", "verdict"), [(0.80, "agrees"), (0.86, "agrees"), (0.87, "lower"), (0.74, "agrees"), (0.73, "higher")]
)
def test_a_verdict_is_that_of_the_prediction_interval_of_two_means(paper, verdict):
    values = np.array([0.75, 0.85, 0.80, 0.75, 0.85, 0.80])
    reach = 2.5706 * np.std(values, ddof=1) * np.sqrt(1 / 6 + 1 / 6)
    found = zhang_table.Value(values, paper)
    assert found.reach == pytest.approx(reach, rel=1e-4)
    assert found.verdict == verdict
    assert found.shown(3).endswith(f"[{paper:.2f}] {verdict}")


def test_one_data_set_has_no_verdict():
    assert zhang_table.Value(np.array([0.8]), 0.8).verdict == "unknown"
    assert zhang_table.Value(np.array([0.8]), 0.8).shown(3) == "0.800 [0.80] unknown"
    assert zhang_table.Value(np.array([]), 0.8).shown(3) == "- [0.80] unknown"


def walk(accuracies):
    """A walk along the training loss with these mean test accuracies."""
    n = len(accuracies)
    flat, mean = np.zeros(n), np.asarray(accuracies)
    return DensityOfStates(
        problem="", axes=(Axis("train_loss", np.arange(n + 1.0)),), entropy=flat, standard_error=flat,
        visited=np.isfinite(mean), targets=np.ones(n, bool), histogram=flat, acceptance_rate=flat, round_trips=0,
        histogram_entropy=flat, splitting_entropy=flat, moves=1, seconds=1.0, converged=False, status="",
        means={"test_accuracy": ConditionalMean(mean, flat, flat)},
    )  # fmt: skip


def test_a_row_reads_the_curves_at_the_paper_s_loss_and_at_each_network_s():
    paper = {
        "layers": 3,
        "units": 6,
        "epochs": 2000,
        "loss": 1.0,
        "trained_accuracy": 0.7,
        "equilibrium_accuracy": 0.85,
    }
    runs = [Trained(np.array([0.1, 1.5]), np.array([0.6, 0.8]), np.array([0.2, 0.4])) for _ in range(3)]
    unseen = [np.nan] * 3
    assert len(zhang_table.row_of(paper, runs, [walk(unseen)] * 3).equilibrium.values) == 0
    row = zhang_table.row_of(paper, runs, [walk([0.9, 0.8, 0.7]), walk([np.nan, 0.8, 0.6]), None])
    assert row.equilibrium.values == pytest.approx([0.85])  # the second does not reach the loss
    assert row.gain.values == pytest.approx([0.15])
    assert row.trained.mean == pytest.approx(0.7)
    assert row.reached == pytest.approx(2 / 6)
    assert row.own_loss == pytest.approx(0.8)
    assert row.outside == pytest.approx(0.3)
    assert (row.unconverged, row.walks) == (2, 2)
    reasons = row.reasons()
    assert "1 of 2 walks did not visit the paper's loss" in reasons
    assert "2 of 2 walks have not converged" in reasons
    assert "30% of the trained parameters lie outside the box" in reasons


def test_one_data_set_is_refused(capsys):
    with pytest.raises(SystemExit):
        parameter_space.main(["table1", "--sets", "1"])
    assert "--sets should be at least 2" in capsys.readouterr().err
