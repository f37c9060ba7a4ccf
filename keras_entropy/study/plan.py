"""Which runs a study consists of, and which values the tuning seeds choose."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras_entropy.study.arms import Arm
from keras_entropy.study.records import RunRecord

Values = dict[str, Any]


def own_axes(arm: Arm, shared: Mapping[str, Sequence[Any]], own: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """The axes of an arm: the study's that concern it, with the arm's values added, then those of the arm alone.

    An arm's grid so holds the baseline's, and no arm is offered less than the others of what all have in common.
    """
    concerned = {
        name: values
        for name, values in shared.items()
        if name not in arm.arguments and (name != "factor" or arm.takes_factor)
    }
    merged = {name: [*concerned.get(name, ()), *own.get(name, ())] for name in [*concerned, *own]}
    return {name: list({repr(value): value for value in values}.values()) for name, values in merged.items()}


def combinations(axes: Mapping[str, Sequence[Any]]) -> list[Values]:
    """All combinations of the values of axes; one empty combination without axes."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def choose(
    records: Iterable[RunRecord], candidates: Sequence[Values], metric: str, lower_is_better: bool
) -> Values | None:
    """The candidate with the best mean over the tuning seeds, the first of them where several are.

    Args:
        records: of the tuning runs of one arm at one point.
        candidates: the values that are tried.
        metric: that is averaged, at the last epoch.
        lower_is_better: its direction.

    Returns:
        The values, or None where no candidate finished on all seeds: a candidate that fails on one is out.
    """
    found: dict[str, list[float]] = {}
    for record in records:
        value = record.value(metric)
        found.setdefault(_text(record.tuned), []).append(value if lower_is_better else -value)
    means = [sum(values) / len(values) if (values := found.get(_text(c))) else math.nan for c in candidates]
    best = min((mean for mean in means if not math.isnan(mean)), default=None)
    return None if best is None else candidates[means.index(best)]


def _text(values: Values) -> str:
    return json.dumps(values, sort_keys=True)
