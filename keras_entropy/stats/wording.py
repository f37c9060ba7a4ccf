"""Numbers of a statistical result as text. These functions take plain numbers and know no result classes."""

from __future__ import annotations

import math

_MOST_DECIMALS = 12


class Decimals:
    """Writes several numbers with the same number of decimals.

    Args:
        decimals: Integer, or None for six significant digits.
    """

    def __init__(self, decimals: int | None):
        self.decimals = decimals

    def __call__(self, value: float) -> str:
        """Write a number; a rounded zero has no minus sign."""
        if self.decimals is None:
            return f"{value:.6g}"
        text = f"{value:.{self.decimals}f}"
        return text if float(text) else text.lstrip("-")


def decimals(value: float, low: float, high: float, thresholds: tuple[float, ...] = (0.0,)) -> Decimals:
    """Choose the decimals for an estimate and its interval.

    Half the width of the interval gets two significant digits. If rounding would move an end of the interval to the
    other side of a threshold, more decimals are used.

    Args:
        value: Float. The estimate.
        low: Float. Lower end of the interval; may be infinite or NaN.
        high: Float. Upper end of the interval; may be infinite or NaN.
        thresholds: Floats that decide the conclusion, such as 0. Defaults to `(0.0,)`.
    """
    ends = [end for end in (low, high) if math.isfinite(end)]
    half = max([abs(value - end) for end in ends] or [abs(value)])
    if max(abs(value), *map(abs, ends), 0.0) >= 1e9:
        return Decimals(None)
    start = max(1 - math.floor(math.log10(half)), 0) if half > 0 else 3
    for count in range(start, _MOST_DECIMALS + 1):
        if all(_same_side(round(end, count), end, threshold) for end in ends for threshold in thresholds):
            return Decimals(count)
    return Decimals(None)


def _same_side(one: float, other: float, threshold: float) -> bool:
    return (one > threshold) == (other > threshold) and (one < threshold) == (other < threshold)


def percent(confidence: float) -> str:
    """A confidence such as 0.95 as "95 %"."""
    return f"{100 * confidence:.10g} %"


def interval(low: float, high: float, confidence: float, write: Decimals, kind: str = "interval") -> str:
    """An interval such as "95 % interval 0.1 to 0.3"; an infinite end makes it one-sided."""
    if math.isinf(low) and math.isinf(high):
        return f"unbounded {percent(confidence)} {kind}"
    if math.isinf(high):
        return f"one-sided {percent(confidence)} {kind} at least {write(low)}"
    if math.isinf(low):
        return f"one-sided {percent(confidence)} {kind} at most {write(high)}"
    return f"{percent(confidence)} {kind} {write(low)} to {write(high)}"


def p_value(p: float | None, alpha: float = 0.05) -> str:
    """A p-value such as "p = 0.014" or "p < 0.001"; empty for None and NaN.

    The number has as many decimals as it takes to show on which side of `alpha` it lies.
    """
    if p is None or math.isnan(p):
        return ""
    if p < 0.001 <= alpha:
        return "p < 0.001"
    for count in range(3, _MOST_DECIMALS + 1):
        rounded = round(p, count)
        if rounded > 0 and (rounded <= alpha) == (p <= alpha) and (rounded != alpha or p == alpha):
            return f"p = {rounded:.{count}f}"
    return f"p = {p:.3g}"
