"""Axes of a study: names with lists of values, their combinations, and the combination that the tuning seeds choose."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras_entropy import _checks
from keras_entropy.runs.records import RunRecord, canonical

Values = dict[str, Any]
OWN_AXES = ("factor", "placement")
"""Axes that an arm uses itself. All others are arguments of the build function."""


def checked_axes(argument: str, given: Mapping[str, Iterable[Any]] | None) -> dict[str, list[Any]]:
    """Return axes with lists of plain values."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(_checks.message(argument, "a dict of axes to values", given))
    found = {}
    for name, values in given.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise TypeError(_checks.message(f"{argument}[{name!r}]", "a list of values", values))
        plain = [value.item() if hasattr(value, "item") else value for value in values]
        if not plain:
            raise ValueError(_checks.message(f"{argument}[{name!r}]", "at least one value", values))
        for value in plain:
            if not isinstance(value, str | int | float | bool | None):
                raise TypeError(_checks.message(f"{argument}[{name!r}]", "numbers, strings, booleans or None", value))
        if len(set(map(repr, plain))) < len(plain):
            raise ValueError(_checks.message(f"{argument}[{name!r}]", "values without repetition", plain))
        found[str(name)] = plain
    return found


def merged(shared: Mapping[str, Sequence[Any]], own: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """The shared axes with the own values added, then the own axes; each value once."""
    names = {name: [*shared.get(name, ()), *own.get(name, ())] for name in [*shared, *own]}
    return {name: list({repr(value): value for value in values}.values()) for name, values in names.items()}


def combinations(axes: Mapping[str, Sequence[Any]]) -> list[Values]:
    """All combinations of the values of axes; one empty combination without axes."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def choose(
    records: Iterable[RunRecord], candidates: Sequence[Values], metric: str, lower_is_better: bool
) -> Values | None:
    """Choose the candidate with the best mean over the tuning seeds; the first one among equals.

    Args:
        records: Records of the tuning runs of one arm at one point.
        candidates: The combinations that were tried.
        metric: String. The metric that is averaged, at the last epoch.
        lower_is_better: Boolean. Direction of the metric.

    Returns:
        The combination; None if no candidate finished on all seeds. A candidate that fails on one seed is excluded.
    """
    found: dict[str, list[float]] = {}
    for record in records:
        value = record.value(metric)
        found.setdefault(canonical(record.tuned), []).append(value if lower_is_better else -value)
    means = [sum(values) / len(values) if (values := found.get(canonical(c))) else math.nan for c in candidates]
    best = min((mean for mean in means if not math.isnan(mean)), default=None)
    return None if best is None else candidates[means.index(best)]
