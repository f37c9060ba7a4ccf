"""Page of table 1 (Meni et al., 2023), from the records of CNNs."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_entropy import plots
from keras_entropy.stats import Estimate, MeanDifference, holm_adjusted
from keras_entropy.study import RunRecord
from keras_entropy.study.document import DASH, Block, Heading, Paragraph, Picture, Table
from keras_entropy.study.figures import COLOURS
from keras_entropy.study.wording import p_value
from reproduction.estimates import mean, mean_interval, plural, points
from reproduction.paper_numbers import meni
from reproduction.protocol import in_words
from reproduction.selection import SeedGains
from reproduction.study_runs import effort, finished, unfinished

BASELINE, PAPER_ARM = "none", "eq. 25 on first"
VALIDATION, TRAINING = "val_accuracy", "accuracy"
ENDS = ("low", "estimate", "high")
STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Findings:
    """What the page is written from.

    Attributes:
        records: Records of all runs.
        data: Name of the data.
        tune_from: The first of the seeds that choose lambda.
        architectures: Filters of the blocks of each CNN.
        factors: Values of lambda besides 0.
        choices: Sentence with the values that the paper does not say.
    """

    records: Sequence[RunRecord]
    data: str
    tune_from: int
    architectures: Sequence[str]
    factors: Sequence[float]
    choices: str

    @property
    def arms(self) -> list[str]:
        """The arms with the term."""
        return list(dict.fromkeys(record.arm for record in self.records if record.arm != BASELINE))

    @property
    def seeds(self) -> list[int]:
        """The seeds that are compared."""
        return sorted({record.seed for record in self.records if record.seed < self.tune_from})

    @property
    def tune_seeds(self) -> list[int]:
        """The seeds that choose lambda and are not compared."""
        return sorted({record.seed for record in self.records if record.seed >= self.tune_from})

    def gains(self, arm: str, filters: str, metric: str = VALIDATION) -> SeedGains:
        """An arm against the baseline, from the runs that finished."""
        values: dict[float, dict[int, float]] = {}
        baseline: dict[int, float] = {}
        for record in self.records:
            if not record.ok or record.point["filters"] != filters or metric not in record.history:
                continue
            value = record.value(metric)
            if math.isfinite(value) and record.arm == BASELINE:
                baseline[record.seed] = value
            elif math.isfinite(value) and record.arm == arm:
                values.setdefault(record.point["factor"], {})[record.seed] = value
        return SeedGains(values, baseline)


def blocks(found: Findings) -> tuple[Block, ...]:
    """The blocks of the page."""
    return (
        Heading("The table, from these runs"),
        Paragraph(found.choices),
        Paragraph(
            "Accuracies are those of the last epoch. The convolutions pad their input, which the paper leaves open."
        ),
        _as_in_the_paper(found),
        Heading("The same with lambda chosen on other seeds"),
        _picture(found),
        *(_unseen(found, arm) for arm in found.arms),
        Heading("What choosing on the tested seeds adds"),
        _optimism(found),
        Paragraph(effort(found.records)),
    )


def _as_in_the_paper(found: Findings) -> Table:
    rows = []
    printed = meni("a-table1")["architectures"]
    for filters in found.architectures:
        gains, training = found.gains(PAPER_ARM, filters), found.gains(PAPER_ARM, filters, TRAINING)
        best = gains.best(found.seeds)
        cells = [_accuracy(training, found.seeds), _accuracy(gains, found.seeds)]
        if best is None:
            cells += [DASH] * 3
        else:
            options: dict[str, Any] = {"alternative": "greater", "paired": False}
            tests = (own.test(best, found.seeds, **options) for own in (training, gains))
            cells += [f"{best:g}", *map(_starred, tests)]
        paper = [DASH] * 3
        if filters in printed:
            row = printed[filters]
            gain = f"{row['validation_gain']:+.4f} ({row['validation_p']:g})"
            paper = [f"{row['validation']:.4f}", f"{row['train_gain']:+.4f}", gain]
        rows.append((in_words(filters), *cells, *paper))
    own = ("train acc.", "val. acc.", "best λ", "Δ train", "Δ val.")
    head = ("filters", *own, "paper: val. acc.", "paper: Δ train", "paper: Δ val. (p)")
    notes = (
        "* p at most 0.05, ** 0.01, *** 0.001: one-tailed Welch t tests that the accuracy is higher with the term, not "
        f"adjusted, n = {plural(len(found.seeds), 'seed')}; p in brackets.",
        "Eq. 25 on the first layer. As in the paper, the best lambda is chosen on the seeds that are then tested.",
        *_failed(found),
    )
    return Table("As the paper chooses and tests", head, tuple(rows), notes)


@dataclasses.dataclass(frozen=True)
class Cell:
    """An arm on an architecture, with lambda chosen on seeds that are not tested.

    Attributes:
        filters: The architecture.
        factor: The chosen lambda; None if none finished on all of these seeds.
        two_sided: Test on the compared seeds, adjusted by Holm.
        one_sided: The same with one tail, not adjusted.
        same: Mean gain at the lambda that the compared seeds choose for themselves.
    """

    filters: str
    factor: float | None
    two_sided: MeanDifference | None
    one_sided: MeanDifference | None
    same: float

    @property
    def conclusion(self) -> str:
        """What the adjusted test shows."""
        return DASH if self.two_sided is None else self.two_sided.conclusion(lower_is_better=False)


def cells(found: Findings, arm: str) -> list[Cell]:
    """An arm on each architecture; the two-sided tests are one family."""
    made = []
    for filters in found.architectures:
        gains = found.gains(arm, filters)
        factor, best = gains.best(found.tune_seeds), gains.best(found.seeds)
        same = math.nan if best is None else mean(gains.at(best, found.seeds).values())
        two = one = None
        if factor is not None:
            two = gains.test(factor, found.seeds)
            one = gains.test(factor, found.seeds, alternative="greater")
        made.append(Cell(filters, factor, two, one, same))
    family = holm_adjusted([cell.two_sided for cell in made])
    return [dataclasses.replace(cell, two_sided=test) for cell, test in zip(made, family, strict=True)]


def _unseen(found: Findings, arm: str) -> Table:
    rows = []
    for cell in cells(found, arm):
        test, factor = cell.two_sided, DASH if cell.factor is None else f"{cell.factor:g}"
        one = DASH if cell.one_sided is None else f"{cell.one_sided.p:.3f}"
        row = (in_words(cell.filters), factor, points(cell.same), points(test), p_value(test))
        rows.append((*row, cell.conclusion, one, str(test.n) if test else "0"))
    head = (
        "filters",
        "λ",
        "chosen on the tested seeds",
        "chosen on others (95 %)",
        "p",
        "conclusion",
        "p, one-sided",
        "n",
    )
    notes = (
        f"Points of validation accuracy against no term. λ is chosen on {plural(len(found.tune_seeds), 'seed')} that "
        "are not tested. Paired t tests; only the two-sided p is adjusted, by Holm over the architectures.",
        *_failed(found),
    )
    return Table(arm, head, tuple(rows), notes)


def average(found: Findings, arm: str) -> Estimate | None:
    """The gain over all architectures, each at the lambda of the tuning seeds, over the compared seeds."""
    by_seed: dict[int, list[float]] = {seed: [] for seed in found.seeds}
    for cell in cells(found, arm):
        if cell.factor is None:
            return None
        for seed, gain in found.gains(arm, cell.filters).at(cell.factor, found.seeds).items():
            by_seed[seed].append(gain)
    return mean_interval(mean(gains) for gains in by_seed.values() if len(gains) == len(found.architectures))


def optimism(found: Findings, arm: str, architectures: Sequence[str]) -> Mapping[str, Estimate | None]:
    """Gain on the seeds that choose lambda ("same"), on a seed left out ("unseen"), and their difference ("added")."""
    seeds = [*found.seeds, *found.tune_seeds]
    pairs = [found.gains(arm, filters).left_out(seeds) for filters in architectures]
    whole = [seed for seed in seeds if all(seed in own for own in pairs)]
    same, unseen = ([mean(own[seed][which] for own in pairs) for seed in whole] for which in (0, 1))
    added = [a - b for a, b in zip(same, unseen, strict=True)]
    return {name: mean_interval(x) for name, x in (("same", same), ("unseen", unseen), ("added", added))}


def _optimism(found: Findings) -> Table:
    rows = []
    for arm in found.arms:
        groups = [(in_words(filters), [filters]) for filters in found.architectures]
        for name, group in [*groups, ("all", list(found.architectures))]:
            own = optimism(found, arm, group)
            same = own["same"]
            gain = DASH if same is None else points(same.estimate)
            rows.append((arm, name, gain, points(own["unseen"]), points(own["added"])))
    head = ("arm", "filters", "gain on the seeds that choose λ", "gain on a seed left out (95 %)", "added (95 %)")
    seeds = plural(len(found.seeds) + len(found.tune_seeds), "seed")
    notes = (
        f"Points of validation accuracy, over {seeds}. Each is left out once while the others choose λ among "
        f"{len(found.factors)} values. The choices share seeds, so the t intervals are approximate. Choosing cannot "
        "add less than 0, so its interval is no test. It adds 0, without an interval, if no seed changes the choice.",
    )
    return Table("The optimism of choosing and testing on the same seeds", head, tuple(rows), notes, 2)


def _picture(found: Findings) -> Picture:
    lines = [(arm, cell) for arm in found.arms for cell in cells(found, arm)]
    figure, axes = plots.blank(8.0, 1.6 + 0.3 * len(lines))
    axes.axvline(0, color="black", linewidth=1)
    rows = np.arange(len(lines))
    low, middle, high = (_percent(lines, functools.partial(_test_value, end)) for end in ENDS)
    reach = [middle - low, high - middle]
    axes.errorbar(middle, rows, xerr=reach, fmt="s", color=COLOURS[0], label="λ chosen on other seeds, 95 %")
    same = _percent(lines, lambda _, cell: cell.same)
    axes.plot(same, rows, "o", color=COLOURS[1], markerfacecolor="none", label="λ chosen on the tested seeds")
    axes.plot(_percent(lines, _paper_gain), rows, "x", color="black", label="the paper")
    axes.set_yticks(rows, [f"{arm}, {in_words(cell.filters)}" for arm, cell in lines], fontsize=8)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlabel("points of validation accuracy, minus no term")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    seeds = plural(len(found.seeds), "seed")
    caption = f"Gain in validation accuracy on {found.data}, by how lambda is chosen; n = {seeds}."
    return Picture("a-table1.png", plots.png(figure), caption, caption)


def _percent(lines: Sequence[tuple[str, Cell]], value: Callable[[str, Cell], float]) -> np.ndarray:
    return 100 * np.array([value(arm, cell) for arm, cell in lines])


def _test_value(name: str, arm: str, cell: Cell) -> float:
    """An attribute of the two-sided test; NaN without a test."""
    return float(getattr(cell.two_sided, name, math.nan))


def _paper_gain(arm: str, cell: Cell) -> float:
    """The paper's gain, where it has this arm and this architecture."""
    row = meni("a-table1")["architectures"].get(cell.filters) if arm == PAPER_ARM else None
    return math.nan if row is None else float(row["validation_gain"])


def conclusions(found: Findings) -> tuple[str, ...]:
    """One sentence for each claim."""
    arms = (_arm_conclusion(found, arm) for arm in found.arms)
    return (_paper_conclusion(found), *arms, *_added(found), finished(found.records))


def _paper_conclusion(found: Findings) -> str:
    gains, shown_better = [], 0
    for filters in found.architectures:
        own = found.gains(PAPER_ARM, filters)
        best = own.best(found.seeds)
        test = None if best is None else own.test(best, found.seeds, alternative="greater", paired=False)
        if test is not None:
            gains.append(100 * test.estimate)
            shown_better += test.p is not None and test.p <= 0.05
    ends = f"{min(gains):+.1f} to {max(gains):+.1f} points" if gains else "no gain could be computed"
    paper = [row["validation_gain"] for row in meni("a-table1")["architectures"].values()]
    return (
        f"Eq. 25 on the first layer, lambda chosen on the tested seeds as in the paper: {ends}, p at most 0.05 in "
        f"{shown_better} of {len(found.architectures)} architectures (one-tailed Welch t, not adjusted, "
        f"n = {plural(len(found.seeds), 'seed')}); the paper: {100 * min(paper):+.1f} to {100 * max(paper):+.1f} "
        f"points in {len(paper)} of {len(paper)}."
    )


def _arm_conclusion(found: Findings, arm: str) -> str:
    made, gain = cells(found, arm), average(found, arm)
    better, worse = (sum(cell.conclusion == word for cell in made) for word in ("better", "worse"))
    average_said = (
        f"mean gain over the architectures {points(gain)} points" if gain else "no mean gain could be computed"
    )
    return (
        f"{arm}, lambda chosen on other seeds: {average_said} (95 % interval, paired t, "
        f"n = {plural(len(found.seeds), 'seed')}); better than no term in {better}, worse in {worse}, no difference "
        f"shown in {len(made) - better - worse} of {plural(len(made), 'architecture')} (p adjusted by Holm)."
    )


def _added(found: Findings) -> list[str]:
    sentences = []
    for arm in found.arms:
        own = optimism(found, arm, found.architectures)
        same, unseen, added = own["same"], own["unseen"], own["added"]
        if same is not None and unseen is not None and added is not None:
            sentences.append(
                f"{arm}: the gain is {points(same.estimate)} points on the seeds that choose lambda and "
                f"{points(unseen)} on a seed left out, so choosing on the tested seeds adds {points(added)} points "
                f"(means over the architectures, approximate 95 % t intervals over {plural(added.n, 'seed')}; choosing "
                "cannot add less than 0, so its interval is no test)."
            )
    return sentences


def _failed(found: Findings) -> tuple[str, ...]:
    """A note on failed runs, if there are any."""
    said = unfinished(found.records)
    return (said,) if said else ()


def _accuracy(gains: SeedGains, seeds: Sequence[int]) -> str:
    """Mean accuracy of the baseline."""
    value = mean(gains.baseline[seed] for seed in seeds if seed in gains.baseline)
    return DASH if math.isnan(value) else f"{value:.4f}"


def _starred(test: MeanDifference | None) -> str:
    if test is None:
        return DASH
    if test.p is None or math.isnan(test.p):
        return f"{test.estimate:+.4f}"
    stars = next((stars for most, stars in STARS if test.p <= most), "")
    return f"{test.estimate:+.4f}{stars} ({test.p:.2g})"
