"""What a unit adds to the log-volume of its layer, and the page of pruning and ensembles."""

import csv

import numpy as np
import pytest

from benchmarks.redundancy import redundant_units, transfer_matrices
from conftest import ROOT
from keras_entropy import functional

EPSILON = 1e-3
PAGE = (ROOT / "docs/pruning.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.once


def kernel(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def volume_of(matrix):
    """The log-volume; dimensions that only the noise has count too."""
    missing = max(0, matrix.shape[1] - matrix.shape[0])
    return float(functional.dense_log_volume(matrix, epsilon=EPSILON)) + missing * np.log(EPSILON)


@pytest.mark.parametrize("shape", [(7, 4), (5, 5), (3, 6)])
def test_a_unit_adds_what_the_log_volume_loses_without_it(shape):
    matrix = kernel(shape)
    order, added = redundant_units(matrix, EPSILON)

    left = list(range(shape[1]))
    for unit, value in zip(order[:-1], added[:-1], strict=True):
        whole = volume_of(matrix[:, left])
        losses = {i: whole - volume_of(matrix[:, [j for j in left if j != i]]) for i in left}
        assert unit == min(losses, key=losses.get)
        assert value == pytest.approx(losses[unit], rel=1e-6)
        left.remove(unit)
    assert sum(added) == pytest.approx(volume_of(matrix))


@pytest.mark.parametrize("strides", [1, 2])
def test_a_filter_adds_what_the_log_volume_loses_without_it(strides):
    filters = kernel((3, 3, 4, 4))
    order, added = redundant_units(transfer_matrices(filters, strides), EPSILON)

    def volume(kept):
        return float(functional.conv_log_volume(filters[..., kept], strides=strides, epsilon=EPSILON))

    left = [0, 1, 2, 3]
    losses = {i: volume(left) - volume([j for j in left if j != i]) for i in left}
    assert order[0] == min(losses, key=losses.get)
    assert added[0] == pytest.approx(losses[order[0]])
    assert sum(added) == pytest.approx(volume(left))


def test_without_noise_it_is_the_log_of_the_distance_to_the_span_of_the_others():
    matrix = kernel((6, 4))
    order, added = redundant_units(matrix, epsilon=0.0)
    others = np.delete(matrix, order[0], axis=1)
    rest = matrix[:, order[0]] - others @ np.linalg.lstsq(others, matrix[:, order[0]], rcond=None)[0]
    assert added[0] == pytest.approx(np.log(np.linalg.norm(rest)))


def test_of_two_equal_units_one_is_redundant():
    matrix = kernel((8, 5))
    matrix[:, 3] = matrix[:, 1]
    order, added = redundant_units(matrix)
    assert order[0] in (1, 3)
    assert added[0] == pytest.approx(np.log(1e-4 * np.sqrt(2)), abs=1e-3)
    assert min(added[1:]) > -2


def test_a_filter_that_is_another_one_shifted_is_redundant():
    filters = np.zeros((3, 3, 4, 3))
    filters[:2] = kernel((2, 3, 4, 3))
    filters[1:, ..., 2], filters[0, ..., 2] = filters[:2, ..., 0], 0
    order, added = redundant_units(transfer_matrices(filters))
    assert order[0] in (0, 2)
    assert added[0] < -8
    assert min(redundant_units(filters.reshape(-1, 3))[1]) > 0  # the unfolded kernel does not see it


# The page


def rows(name):
    with (ROOT / "docs" / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def tables():
    """The tables of the page, as lists of rows."""
    found = [[]]
    for line in PAGE.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif found[-1]:
            found.append([])
    return [[part[0], *part[2:]] for part in found if part]


def where(row):
    return row["network"], ("no", "one epoch")[int(row["epochs"])], f"{float(row['part']):.0%}"


def difference(row):
    if not row["p"]:
        return f"{100 * float(row['difference']):+.1f}"
    conclusion = "" if float(row["p_holm"]) >= 0.05 else " better" if float(row["difference"]) > 0 else " worse"
    values = (100 * float(row[name]) for name in ("difference", "low", "high"))
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(*values) + conclusion


def test_the_accuracies_of_the_page_are_those_of_the_records():
    (head, *lines), *_ = tables()
    measured = {(*where(row), row["method"]): f"{100 * float(row['accuracy']):.1f}" for row in rows("pruning.csv")}
    whole = {key[0]: value for key, value in measured.items() if key[2:] == ("0%", "unpruned") and key[1] == "no"}
    shown = {(*line[:3], method): value for line in lines for method, value in zip(head[3:], line[3:], strict=True)}
    assert shown == {key: value for key, value in measured.items() if key[3] != "unpruned"}
    assert f"accuracy is {whole['digits']} % and {whole['squeezenet']} %" in " ".join(PAGE.split())


def test_the_differences_of_the_page_are_those_of_the_records():
    _, (head, *lines), *_ = tables()
    tested = [row for row in rows("pruning.csv") if row["against"]]
    measured = {(*where(row), row["method"], f"minus {row['against']}"): difference(row) for row in tested}
    shown = {(*line[:4], rival): value for line in lines for rival, value in zip(head[4:], line[4:], strict=True)}
    assert shown == measured
    assert f"Holm's adjustment over {sum(row['p'] != '' for row in tested)} tests" in " ".join(PAGE.split())


def test_the_ensembles_of_the_page_are_those_of_the_records():
    _, _, (_, *lines) = tables()
    measured = []
    for row in rows("ensembles.csv"):
        values = {name: float(value) for name, value in row.items() if name != "metric"}
        interval = "{difference:+.4f} ({low:+.4f} to {high:+.4f})".format(**values)
        means = (f"{values[kind]:.4f}" for kind in ("seed_alone", "guided"))
        measured.append([row["metric"], *means, f"{interval}, p = {values['p_holm']:.2g}"])
    assert lines == measured
