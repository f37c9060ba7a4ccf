"""Bootstrap intervals, bias-corrected and accelerated (Efron 1987), and the interquartile mean."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_entropy._checks import flag, message, one_of, positive_integer
from keras_entropy.stats import _samples
from keras_entropy.stats.records import Estimate

_NAMES = ("mean", "median", "interquartile mean")


def bootstrap(
    x: Any,
    statistic: str | Callable[..., Any] = "mean",
    level: float = 0.95,
    *,
    seed: int = 0,
    resamples: int = 9999,
    expand: bool = True,
) -> Estimate:
    """A statistic of one sample with its BCa bootstrap interval, by `scipy.stats.bootstrap`.

    A plain bootstrap interval of few values is too short: of ten normal ones it covers the mean in 91 % of studies, not
    95 %. `expand` therefore asks SciPy for the wider level that makes it as long as a t interval (Hesterberg 2015). No
    interval of a mean or median by resampling leaves the range of the sample, so that fewer than 6 values cannot give
    95 %: that warns. Where the resamples do not vary, the interval is NaN, with a warning.

    Args:
        x: at least two numbers.
        statistic: `"mean"`, `"median"`, `"interquartile mean"`, or a function of a vector that gives a number. If it
            has an argument `axis`, it is called on many resamples at once, as in SciPy.
        level: confidence of the interval.
        seed: of the resamples: the same seed gives the same interval.
        resamples: how many.
        expand: whether to correct for the size of the sample; False gives Efron's interval.

    Examples:
        >>> from keras_entropy.stats import bootstrap
        >>> print(bootstrap([0.91, 0.93, 0.92, 0.94, 0.92, 0.95, 0.93, 0.93]))
        0.929 (95 % interval 0.920 to 0.941, BCa bootstrap of the mean, n = 8)
    """
    return _bootstrap(_samples.sample("x", x), statistic, level, seed, resamples, expand)


def interquartile_mean(x: Any, level: float = 0.95, *, seed: int = 0, resamples: int = 9999) -> Estimate:
    """The mean of the middle half of a sample, with its bootstrap interval.

    As `scipy.stats.trim_mean(x, 0.25)`: a quarter of the values, rounded down, is left out at each end.

    Args:
        x: at least four numbers; fewer have no middle half.
        level: confidence of the interval.
        seed: of the resamples.
        resamples: how many.

    Examples:
        >>> from keras_entropy.stats import interquartile_mean
        >>> print(interquartile_mean([0.91, 0.93, 0.92, 0.94, 0.92, 0.95, 0.93, 0.13]))
        0.93 (95 % interval 0.53 to 0.94, BCa bootstrap of the interquartile mean, n = 8)
    """
    return _bootstrap(_samples.sample("x", x, 4), "interquartile mean", level, seed, resamples, True)


def _bootstrap(
    values: _samples.Array, statistic: str | Callable[..., Any], level: float, seed: int, resamples: int, expand: bool
) -> Estimate:
    function, name = _function(statistic)
    level, n = _samples.confidence(level), len(values)
    _samples.natural("seed", seed)
    if positive_integer("resamples", resamples) < 100:
        raise ValueError(message("resamples", "at least 100", resamples, "Fewer do not place the ends of an interval."))
    asked = _expanded(level, n) if flag("expand", expand) else level
    record: dict[str, Any] = {
        "method": f"BCa bootstrap of the {name}",
        "n": n,
        "estimate": _value(function, values),
        "p": None,
        "level": level,
    }
    note = "the values do not vary"
    if not _samples.constant(values - values.mean(), values):
        low, high = _interval(function, values, asked, seed, resamples)
        if high - low > 0:
            few = math.ceil(1 - math.log2(1 - level) - 1e-9)
            if n < few:
                note = f"{n} values cannot give {100 * level:.10g} %, {few} can"
                _samples.warn(f"The bootstrap interval is too short: {note}. Use `t_interval`, or run more seeds.", 2)
                return Estimate(**record, low=low, high=high, note=note)
            return Estimate(**record, low=low, high=high)
        note = "the resamples do not vary"
    _samples.warn(f"There is no bootstrap interval: {note}.", 2)
    return Estimate(**record, low=math.nan, high=math.nan, note=note)


def _function(statistic: str | Callable[..., Any]) -> tuple[Callable[..., Any], str]:
    if callable(statistic):
        return statistic, getattr(statistic, "__name__", "statistic").replace("<lambda>", "statistic")
    from scipy import stats

    name = one_of("statistic", statistic, _NAMES)
    trimmed = functools.partial(stats.trim_mean, proportiontocut=0.25)
    functions: dict[str, Callable[..., Any]] = {
        "mean": np.mean,
        "median": np.median,
        "interquartile mean": lambda x, axis=-1: trimmed(x, axis=axis),
    }
    return functions[name], name


def _value(function: Callable[..., Any], values: _samples.Array) -> float:
    value = np.asarray(function(values))
    if value.ndim or value.dtype.kind not in "iuf" or not math.isfinite(value):
        raise ValueError(message("statistic", "a function that gives a finite number of the sample", value.tolist()))
    return float(value)


def _expanded(level: float, n: int) -> float:
    """The level at which a normal interval with the plug-in deviation is as long as a t interval."""
    from scipy import special

    return 1 - 2 * float(special.ndtr(-math.sqrt(n / (n - 1)) * special.stdtrit(n - 1, (1 + level) / 2)))


def _interval(
    function: Callable[..., Any], values: _samples.Array, level: float, seed: int, resamples: int
) -> tuple[float, float]:
    from scipy import stats

    options: dict[str, Any] = {"n_resamples": resamples, "method": "BCa", "confidence_level": level}
    # Many resamples at once, but not of a long sample.
    options["batch"] = max(1, min(resamples, 10_000_000 // len(values)))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # degenerate samples: said by the caller, in this package's words
        interval = stats.bootstrap((values,), function, **_samples.generator(stats.bootstrap, seed), **options)
    low, high = (float(end) for end in interval.confidence_interval)
    return low, high
