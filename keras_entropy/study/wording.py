"""Words and numbers in the tables, figures and sentences of a study. These functions know no result classes of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from keras_entropy.stats import Estimate, MeanDifference, wording

__all__ = [
    "DASH",
    "interval",
    "is_number",
    "left_out",
    "p_value",
    "percent",
    "plural",
    "point_text",
    "seconds",
    "unfinished",
    "value_text",
]

DASH = "—"
"""The cell of a missing value."""

percent = wording.percent


def plural(n: int, noun: str) -> str:
    """A number with its noun: "1 run", "2 runs"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def value_text(value: Any) -> str:
    """The value of an axis as text."""
    if isinstance(value, float):
        return f"{value:.12g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=dict)


def is_number(value: Any) -> bool:
    """Whether the value of an axis is a finite number; booleans are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def point_text(point: Mapping[str, Any]) -> str:
    """The values of several axes as text, such as "width=4, factor=0.01"."""
    return ", ".join(f"{axis}={value_text(value)}" for axis, value in point.items())


def interval(estimate: Estimate | None) -> str:
    """An estimate with its interval, such as "0.31 (0.28 to 0.34)"; a dash for None."""
    if estimate is None:
        return DASH
    if math.isnan(estimate.low):
        return f"{estimate.estimate:.4g}"
    write = wording.decimals(estimate.estimate, estimate.low, estimate.high)
    return f"{write(estimate.estimate)} ({write(estimate.low)} to {write(estimate.high)})"


def p_value(result: MeanDifference | None) -> str:
    """The p-value that decides, such as "0.014"; a dash if there is none."""
    if result is None:
        return DASH
    return wording.p_value(result.deciding_p, result.alpha).removeprefix("p ").removeprefix("= ") or DASH


def seconds(value: float) -> str:
    """A time in seconds; a dash for NaN."""
    return DASH if math.isnan(value) else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def unfinished(failures: Mapping[str, int], runs: int) -> str:
    """How many runs did not finish, such as "2 of 24 runs did not finish (1 diverged, 1 failed)"; empty for none."""
    parts = ", ".join(f"{n} {status}" for status, n in failures.items())
    return f"{sum(failures.values())} of {plural(runs, 'run')} did not finish ({parts})" if failures else ""


def left_out(failures: Mapping[str, int], runs: int) -> str:
    """The same of runs that the statistics leave out."""
    are = "is" if sum(failures.values()) == 1 else "are"
    return f"{unfinished(failures, runs)} and {are} left out" if failures else ""
