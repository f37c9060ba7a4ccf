"""The words for a result. They claim what the test shows and no more: two samples are never called equal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from keras_entropy._checks import flag, message
from keras_entropy.stats import _samples

if TYPE_CHECKING:
    from keras_entropy.stats.records import Comparison, Equivalence, Estimate

_MOST_DECIMALS = 12


def estimate(record: Estimate) -> str:
    """An `Estimate` in one line."""
    digits = _digits(record.estimate, record.low, record.high, (0.0,))
    parts = [_interval(record, record.low, record.high, digits), record.method, f"n = {record.n}", *_p(record.p)]
    return f"{digits(record.estimate)} ({', '.join(part for part in parts if part)})"


def verdict(record: Comparison, lower_is_better: bool) -> str:
    """What is shown of a."""
    flag("lower_is_better", lower_is_better)
    if record.shown == 0:
        return "no difference shown"
    return "better" if (record.shown > 0) != lower_is_better else "worse"


def comparison(record: Comparison, name_a: str, name_b: str, lower_is_better: bool, unit: str) -> str:
    """A `Comparison` in one sentence."""
    _names(name_a, name_b, unit)
    word = verdict(record, lower_is_better)
    digits = _digits(record.estimate, record.low, record.high, (0.0,))
    note = f"; {record.note}" if record.note and not math.isnan(record.low) else ""
    deciding = record.p if record.p_adjusted is None else record.p_adjusted
    p = _p(deciding, round(1 - record.level, 12))
    tail = [record.method, _n(record, unit), *([f"{p[0]} after {record.adjustment}"] if p and record.adjustment else p)]
    if record.shown:
        # Said of the amount by which a is better or worse, so that all three numbers are above 0.
        low, high = (record.low, record.high) if record.shown > 0 else (-record.high, -record.low)
        amount = digits(abs(record.estimate))
        inner = ", ".join([_interval(record, low, high, digits, record.interval_kind), *tail])
        return f"{name_a} is {word} than {name_b} by {amount} ({inner}{note})"
    inner = ", ".join(
        [
            f"{name_a} minus {name_b} {digits(record.estimate)}",
            _interval(record, record.low, record.high, digits, record.interval_kind),
            *tail,
        ]
    )
    if deciding is not None and deciding <= round(1 - record.level, 12):
        note += "; the interval does not bear out the p-value"
    inner += note
    if record.alternative == "two-sided":
        return f"no difference shown between {name_a} and {name_b} ({inner})"
    sought = "better" if (record.alternative == "greater") != lower_is_better else "worse"
    return f"{name_a} is not shown to be {sought} than {name_b} ({inner})"


def equivalence(record: Equivalence, name_a: str, name_b: str, unit: str) -> str:
    """An `Equivalence` in one sentence."""
    _names(name_a, name_b, unit)
    digits = _digits(record.estimate, record.low, record.high, (-record.margin, record.margin))
    parts = [
        f"{name_a} minus {name_b} {digits(record.estimate)}",
        _interval(record, record.low, record.high, digits),
        record.method,
        _n(record, unit),
        *_p(record.p, record.alpha),
    ]
    inner = ", ".join(parts)
    if record.equivalent:
        return f"{name_a} and {name_b} are equivalent within {record.margin:.12g} ({inner})"
    return f"equivalence within {record.margin:.12g} not shown for {name_a} and {name_b} ({inner})"


def _names(name_a: str, name_b: str, unit: str) -> None:
    for argument, value in (("name_a", name_a), ("name_b", name_b), ("unit", unit)):
        _samples.label(argument, value)
    if name_a == name_b:
        raise ValueError(message("name_b", "another name than `name_a`", name_b))


def _n(record: Comparison | Equivalence, unit: str) -> str:
    return f"n = {record.n} {unit}" if record.paired else f"n = {record.n_a} and {record.n_b} {unit}"


def _interval(record: Estimate, low: float, high: float, digits: _Digits, kind: str = "interval") -> str:
    if math.isnan(low) or math.isnan(high):
        absent = "no interval and no p-value" if record.p is not None and math.isnan(record.p) else "no interval"
        return f"{absent}: {record.note}" if record.note else absent
    percent = f"{100 * record.level:.10g} %"
    if math.isinf(low) and math.isinf(high):
        return f"unbounded {percent} {kind}"
    if math.isinf(high):
        return f"one-sided {percent} {kind} at least {digits(low)}"
    if math.isinf(low):
        return f"one-sided {percent} {kind} at most {digits(high)}"
    return f"{percent} {kind} {digits(low)} to {digits(high)}"


def _p(p: float | None, alpha: float = 0.05) -> list[str]:
    """P with so many decimals that it is seen on which side of alpha it lies."""
    if p is None or math.isnan(p):
        return []
    if p < 0.001 <= alpha:
        return ["p < 0.001"]
    for decimals in range(3, _MOST_DECIMALS + 1):
        rounded = round(p, decimals)
        if rounded > 0 and (rounded <= alpha) == (p <= alpha) and (rounded != alpha or p == alpha):
            return [f"p = {rounded:.{decimals}f}"]
    return [f"p = {p:.3g}"]


class _Digits:
    """Writes numbers with the same decimals."""

    def __init__(self, decimals: int | None):
        self.decimals = decimals

    def __call__(self, value: float) -> str:
        if self.decimals is None:
            return f"{value:.6g}"
        text = f"{value:.{self.decimals}f}"
        return text if float(text) else text.lstrip("-")


def _digits(value: float, low: float, high: float, thresholds: tuple[float, ...]) -> _Digits:
    """Two significant digits of half the width, or as many as keep an end on its side of each threshold."""
    ends = [end for end in (low, high) if math.isfinite(end)]
    half = max([abs(value - end) for end in ends] or [abs(value)])
    if max(abs(value), *map(abs, ends), 0.0) >= 1e9:
        return _Digits(None)
    start = max(1 - math.floor(math.log10(half)), 0) if half > 0 else 3
    for decimals in range(start, _MOST_DECIMALS + 1):
        if all(
            (round(end, decimals) > threshold) == (end > threshold)
            and (round(end, decimals) < threshold) == (end < threshold)
            for end in ends
            for threshold in thresholds
        ):
            return _Digits(decimals)
    return _Digits(None)
