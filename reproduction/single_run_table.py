"""Tables 2 and 3 of source A as data, and what they show of themselves.

Sources:
    [A] Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from keras_entropy.stats import Estimate, t_interval

FACTORS = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_PLAIN, _AUGMENTED, _DROPOUT = "plain", "augmentation", "augmentation + dropout"

TABLE2: tuple[tuple[str, str, str, tuple[float, ...]], ...] = (
    # network, strategy, layers with the loss, validation accuracy by lambda
    ("VGG-16", _PLAIN, "[1]", (0.698, 0.752, 0.756, 0.734, 0.716, 0.738, 0.736)),
    ("VGG-16", _PLAIN, "[1,2]", (0.726, 0.720, 0.720, 0.726, 0.718, 0.730, 0.750)),
    ("VGG-16", _AUGMENTED, "[1]", (0.804, 0.796, 0.828, 0.794, 0.800, 0.814, 0.804)),
    ("VGG-16", _AUGMENTED, "[1,2]", (0.816, 0.816, 0.806, 0.824, 0.796, 0.780, 0.800)),
    ("VGG-16", _DROPOUT, "[1]", (0.854, 0.854, 0.874, 0.826, 0.836, 0.868, 0.866)),
    ("VGG-16", _DROPOUT, "[1,2]", (0.858, 0.860, 0.862, 0.854, 0.864, 0.854, 0.848)),
    ("ResNet-50", _PLAIN, "[1]", (0.792, 0.766, 0.782, 0.764, 0.784, 0.784, 0.786)),
    ("ResNet-50", _PLAIN, "[1,5]", (0.776, 0.782, 0.802, 0.778, 0.776, 0.774, 0.766)),
    ("ResNet-50", _PLAIN, "pre-skip", (0.748, 0.766, 0.812, 0.770, 0.786, 0.814, 0.778)),
    ("ResNet-50", _PLAIN, "empirical", (0.778, 0.782, 0.774, 0.776, 0.792, 0.810, 0.776)),
    ("ResNet-50", _AUGMENTED, "[1]", (0.786, 0.784, 0.778, 0.752, 0.814, 0.772, 0.770)),
    ("ResNet-50", _AUGMENTED, "[1,5]", (0.780, 0.782, 0.786, 0.762, 0.768, 0.760, 0.750)),
    ("ResNet-50", _AUGMENTED, "pre-skip", (0.780, 0.794, 0.760, 0.774, 0.766, 0.808, 0.792)),
    ("ResNet-50", _AUGMENTED, "empirical", (0.784, 0.802, 0.746, 0.766, 0.768, 0.768, 0.754)),
    ("ResNet-50", _DROPOUT, "[1]", (0.776, 0.802, 0.796, 0.798, 0.810, 0.792, 0.796)),
    ("ResNet-50", _DROPOUT, "[1,5]", (0.776, 0.812, 0.798, 0.806, 0.776, 0.810, 0.796)),
    ("ResNet-50", _DROPOUT, "pre-skip", (0.792, 0.802, 0.796, 0.794, 0.808, 0.790, 0.820)),
    ("ResNet-50", _DROPOUT, "empirical", (0.804, 0.806, 0.806, 0.824, 0.804, 0.800, 0.798)),
)

TABLE3: tuple[tuple[float, int, float, float, float], ...] = (
    # lambda, epochs, seconds, accuracy, intersection over union
    (0.0, 20, 9276.82, 0.8290, 0.6693),
    (1e-4, 24, 13202.78, 0.8336, 0.6823),
    (1e-3, 21, 8304.54, 0.8316, 0.6724),
    (1e-2, 19, 8590.74, 0.8316, 0.6602),
    (1e-1, 23, 9038.20, 0.8305, 0.6626),
    (1.0, 23, 11374.05, 0.8349, 0.6734),
    (10.0, 36, 14358.95, 0.8300, 0.6786),
)

FIGURE1 = (-2.2, -5.5)
"""Mean entropy change per filter of the trained VGG-16: in its first layer, and where it settles (section 5)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BestColumns:
    """How often the best of a row lies in a column with the term, and how often chance puts it there.

    Attributes:
        rows: how many there are.
        at_term: how many of them have their best at lambda > 0; a tie with lambda = 0 is not one.
        columns: how many each row has, lambda = 0 among them.
    """

    rows: int
    at_term: int
    columns: int

    @property
    def chance(self) -> float:
        """Of a row, if all columns are alike."""
        return (self.columns - 1) / self.columns

    @property
    def expected(self) -> float:
        """How many rows chance gives."""
        return self.rows * self.chance

    @property
    def p(self) -> float:
        """How likely chance gives so many or more, if the rows are independent."""
        from scipy.stats import binom

        return float(binom.sf(self.at_term - 1, self.rows, self.chance))


def best_columns(rows: Sequence[Sequence[float]]) -> BestColumns:
    """Count the rows, of which the first value is that without the term; NaN for a run that failed is never best."""
    columns = {len(row) for row in rows}
    if len(columns) != 1:
        raise ValueError("The rows should have one length.")
    values = [[-math.inf if math.isnan(v) else v for v in row] for row in rows]
    return BestColumns(rows=len(rows), at_term=sum(max(v[1:]) > v[0] for v in values), columns=columns.pop())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gains:
    """What a table of single runs says of the term, over its rows.

    Attributes:
        unselected: mean over lambda > 0 minus lambda = 0.
        selected: best lambda > 0 minus lambda = 0: of runs that differ by chance it is above 0 too.
        noise: standard deviation of repeated runs without the term, pooled; NaN without repetitions.
        noise_low, noise_high: its 95 % interval.
        noise_df: degrees of freedom.
        by_chance: mean of `selected` that such noise gives without any effect.
    """

    unselected: Estimate
    selected: Estimate
    noise: float
    noise_low: float
    noise_high: float
    noise_df: int
    by_chance: float


def gains(rows: Sequence[Sequence[float]], repeated: Sequence[Sequence[float]]) -> Gains:
    """Over rows of a table, with groups of repeated runs without the term."""
    values = np.asarray(rows, dtype=float)
    noise, low, high, df = pooled(repeated)
    return Gains(
        unselected=t_interval(values[:, 1:].mean(1) - values[:, 0]),
        selected=t_interval(values[:, 1:].max(1) - values[:, 0]),
        noise=noise,
        noise_low=low,
        noise_high=high,
        noise_df=df,
        by_chance=noise * largest_normal(values.shape[1] - 1),
    )


def pooled(groups: Sequence[Sequence[float]]) -> tuple[float, float, float, int]:
    """The standard deviation within groups, its 95 % interval, and degrees of freedom; NaN without repetitions."""
    from scipy.stats import chi2

    df = sum(len(group) - 1 for group in groups)
    if df < 1:
        return math.nan, math.nan, math.nan, 0
    squares = sum(float(((np.asarray(group) - np.mean(group)) ** 2).sum()) for group in groups)
    low, high = (math.sqrt(squares / chi2.ppf(q, df)) for q in (0.975, 0.025))
    return math.sqrt(squares / df), low, high, df


def largest_normal(n: int) -> float:
    """Mean of the largest of n independent standard normal numbers."""
    from scipy.integrate import quad
    from scipy.stats import norm

    return float(quad(lambda x: x * n * norm.pdf(x) * norm.cdf(x) ** (n - 1), -12, 12)[0])


def table2_rows(network: str | None = None) -> list[tuple[float, ...]]:
    """The accuracies of table 2, of one network or both."""
    return [row[3] for row in TABLE2 if network in (None, row[0])]


def table2_repeated(network: str | None = None) -> list[list[float]]:
    """The runs without the term, by network and strategy: they are the same experiment at each placement."""
    groups: dict[tuple[str, str], list[float]] = {}
    for name, strategy, _, accuracies in TABLE2:
        if network in (None, name):
            groups.setdefault((name, strategy), []).append(accuracies[0])
    return list(groups.values())


def step_of(rows: Sequence[Sequence[float]], decimals: int = 3) -> float:
    """The largest number of which all values are multiples, as accuracies on few images are."""
    return float(math.gcd(*(round(value * 10**decimals) for row in rows for value in row)) / 10**decimals)
