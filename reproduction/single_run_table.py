"""What a table of single runs shows: whether its best columns and its gains are larger than chance gives."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from keras_entropy.stats import Estimate, t_interval
from reproduction.paper_numbers import meni


@dataclasses.dataclass(frozen=True, kw_only=True)
class BestColumns:
    """How many rows have their best value in a column with the term.

    Attributes:
        rows: Number of rows.
        at_term: Number of rows with their best value at lambda > 0. A tie with lambda = 0 does not count.
        columns: Number of columns, lambda = 0 among them.
    """

    rows: int
    at_term: int
    columns: int

    @property
    def chance(self) -> float:
        """Probability of a best value at lambda > 0, if all columns are alike."""
        return (self.columns - 1) / self.columns

    @property
    def expected(self) -> float:
        """Expected number of such rows, if all columns are alike."""
        return self.rows * self.chance

    @property
    def p(self) -> float:
        """Probability of so many rows or more, if all columns are alike and the rows are independent."""
        from scipy.stats import binom

        return float(binom.sf(self.at_term - 1, self.rows, self.chance))


def best_columns(rows: Sequence[Sequence[float]]) -> BestColumns:
    """Count the rows with their best value at lambda > 0.

    Args:
        rows: Values by row; the first of each is that without the term. NaN, for a failed run, is never the best.
    """
    columns = {len(row) for row in rows}
    if len(columns) != 1:
        raise ValueError(f"`rows` should have one length. Received: lengths {sorted(columns)}.")
    values = [[-math.inf if math.isnan(v) else v for v in row] for row in rows]
    return BestColumns(rows=len(rows), at_term=sum(max(v[1:]) > v[0] for v in values), columns=columns.pop())


@dataclasses.dataclass(frozen=True)
class Noise:
    """Standard deviation of repeated runs without the term, pooled over groups.

    Attributes:
        deviation: The standard deviation; NaN without repetitions.
        low: Lower end of its 95 % chi-squared interval.
        high: Upper end.
        df: Degrees of freedom.
    """

    deviation: float
    low: float
    high: float
    df: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowGains:
    """Gains of the term over the rows of a table of single runs.

    Attributes:
        unselected: Mean over lambda > 0, minus lambda = 0.
        selected: Best lambda > 0, minus lambda = 0. It is above 0 for runs that differ only by chance, too.
        noise: Noise of repeated runs without the term.
        by_chance: Mean of `selected` that this noise gives without any effect.
    """

    unselected: Estimate
    selected: Estimate
    noise: Noise
    by_chance: float


def row_gains(rows: Sequence[Sequence[float]], repeated: Sequence[Sequence[float]]) -> RowGains:
    """The gains over rows whose first value is that without the term.

    Args:
        rows: Values by row.
        repeated: Groups of repeated runs without the term.
    """
    values, noise = np.asarray(rows, dtype=float), pooled_noise(repeated)
    return RowGains(
        unselected=t_interval(values[:, 1:].mean(1) - values[:, 0]),
        selected=t_interval(values[:, 1:].max(1) - values[:, 0]),
        noise=noise,
        by_chance=noise.deviation * largest_normal(values.shape[1] - 1),
    )


def pooled_noise(groups: Sequence[Sequence[float]]) -> Noise:
    """The pooled standard deviation within groups of repeated runs."""
    from scipy.stats import chi2

    df = sum(len(group) - 1 for group in groups)
    if df < 1:
        return Noise(math.nan, math.nan, math.nan, 0)
    squares = sum(float(((np.asarray(group) - np.mean(group)) ** 2).sum()) for group in groups)
    low, high = (math.sqrt(squares / chi2.ppf(q, df)) for q in (0.975, 0.025))
    return Noise(math.sqrt(squares / df), low, high, df)


def largest_normal(n: int) -> float:
    """Mean of the largest of n independent standard normal numbers."""
    from scipy.integrate import quad
    from scipy.stats import norm

    return float(quad(lambda x: x * n * norm.pdf(x) * norm.cdf(x) ** (n - 1), -12, 12)[0])


def common_step(rows: Sequence[Sequence[float]], decimals: int = 3) -> float:
    """The largest number of which all values are multiples, such as 1/500 for accuracies on 500 images."""
    return float(math.gcd(*(round(value * 10**decimals) for row in rows for value in row)) / 10**decimals)


def paper_rows(network: str | None = None) -> list[list[float]]:
    """The accuracies of Meni et al. (2023), table 2, of one network or of both."""
    return [row["accuracy"] for row in meni("a-table2")["rows"] if network in (None, row["network"])]


def paper_baselines(network: str | None = None) -> list[list[float]]:
    """The runs of that table without the term, by network and strategy: one experiment at each placement."""
    groups: dict[tuple[str, str], list[float]] = {}
    for row in meni("a-table2")["rows"]:
        if network in (None, row["network"]):
            groups.setdefault((row["network"], row["strategy"]), []).append(row["accuracy"][0])
    return list(groups.values())
