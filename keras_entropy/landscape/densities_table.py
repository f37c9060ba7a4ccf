"""The averages and differences of many walks as rows of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from keras_entropy.landscape.set_averages import GroupDifference, GroupSummary, MeanOverSets
from keras_entropy.stats import MeanDifference

_MOST_NAMES = 8
"""Number of walks that a note names."""

Table = tuple[list[str], list[list[str]]]
"""The names of the columns, and the rows."""


def group_rows(groups: Sequence[GroupSummary], observable: str | None) -> Table:
    """A row for each group: means with standard errors over data sets."""
    head = ["group", "data sets", "not converged", "entropy, nats", *_named(observable)]
    rows = []
    for group in groups:
        row = [group.name, str(group.entropy.count), str(len(group.unconverged)), _with_error(group.entropy, 2)]
        rows.append(row if group.mean is None else [*row, _with_error(group.mean, 4)])
    return head, rows


def difference_rows(differences: Sequence[GroupDifference], observable: str | None) -> Table:
    """A row for each pair of groups: differences with intervals over data sets."""
    head = ["difference", "data sets", "entropy, nats", *_named(observable)]
    rows = []
    for found in differences:
        count = 0 if found.entropy is None else found.entropy.n
        row = [f"{found.before} -> {found.after}", str(count), _with_interval(found.entropy, 2)]
        rows.append(row if observable is None else [*row, _with_interval(found.mean, 4)])
    return head, rows


def notes(groups: Sequence[GroupSummary], failures: Sequence[object], confidence: float = 0.95) -> list[str]:
    """What to know about the tables."""
    walks = sum(group.walks for group in groups)
    unconverged = [f"{group.name}, data set {i}" for group in groups for i in group.unconverged]
    unvisited = walks - sum(group.entropy.count for group in groups)
    found = [f"+-: standard error over data sets; differences: paired, with {100 * confidence:g} % t intervals."]
    if unvisited:
        found.append(f"{unvisited} of {walks} walks did not visit the region, and are left out: use more moves.")
    if unconverged:
        found.append(f"{len(unconverged)} of {walks} walks have not converged: {_listed(unconverged)}.")
    else:
        found.append(f"All {walks} walks passed the checks of convergence.")
    if failures:
        found.append(f"Not finished: {len(failures)} of {walks + len(failures)} walks.")
        found += [str(failure) for failure in failures[:_MOST_NAMES]]
    return found


def _named(observable: str | None) -> list[str]:
    return [] if observable is None else [f"mean {observable.replace('_', ' ')}"]


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _MOST_NAMES
    return "; ".join([*names[:_MOST_NAMES], *([f"and {rest} more"] if rest > 0 else [])])


def _with_error(value: MeanOverSets, digits: int) -> str:
    if not value.count:
        return "-"
    error = "" if math.isnan(value.standard_error) else f" +- {value.standard_error:.{digits}f}"
    return f"{value.mean:.{digits}f}{error}"


def _with_interval(value: MeanDifference | None, digits: int) -> str:
    if value is None:
        return "-"
    interval = "" if math.isnan(value.low) else f" ({value.low:+.{digits}f} to {value.high:+.{digits}f})"
    return f"{value.estimate:+.{digits}f}{interval}"
