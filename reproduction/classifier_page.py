"""What table 1 of source A shows, from the records of CNNs: tables, a picture and sentences."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from keras_entropy import plots
from keras_entropy.stats import Estimate, MeanDifference, holm_adjusted
from keras_entropy.study import arm_groups, figures
from keras_entropy.study.arm_groups import mean_of, plural
from keras_entropy.study.document import DASH, Block, Heading, Paragraph, Picture, Table
from keras_entropy.study.records import RunRecord
from keras_entropy.study.result_tables import p_value
from keras_entropy.study.significance_tables import STARS
from reproduction import published
from reproduction.image_data import effort
from reproduction.protocol import in_words
from reproduction.selection import Gains

PAPERS_ARM = "eq. 25 on first"
VALIDATION, TRAINING = "val_accuracy", "accuracy"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Findings:
    """What the page is written from.

    Attributes:
        records: of all runs.
        data: name of the data.
        tune_from: the first of the seeds that choose lambda.
        architectures, factors: of the protocol.
        chosen: what the paper does not say, in a sentence.
    """

    records: Sequence[RunRecord]
    data: str
    tune_from: int
    architectures: Sequence[str]
    factors: Sequence[float]
    chosen: str

    @property
    def arms(self) -> list[str]:
        """The rivals, in their order."""
        return list(dict.fromkeys(record.arm for record in self.records if record.arm != "none"))

    @property
    def seeds(self) -> list[int]:
        """That are compared."""
        return sorted({record.seed for record in self.records if record.seed < self.tune_from})

    @property
    def tune_seeds(self) -> list[int]:
        """That choose lambda, and are not compared."""
        return sorted({record.seed for record in self.records if record.seed >= self.tune_from})

    def gains(self, arm: str, filters: str, metric: str = VALIDATION) -> Gains:
        """Of an arm against no term; runs that did not finish are not in it."""
        values: dict[float, dict[int, float]] = {}
        baseline: dict[int, float] = {}
        for record in self.records:
            if not record.ok or record.point["filters"] != filters or metric not in record.history:
                continue
            value = record.value(metric)
            if arm_groups.usable(value) and record.arm == "none":
                baseline[record.seed] = value
            elif arm_groups.usable(value) and record.arm == arm:
                values.setdefault(record.point["factor"], {})[record.seed] = value
        return Gains(values, baseline)


def blocks(found: Findings) -> tuple[Block, ...]:
    """The page."""
    return (
        Heading("The table, from these runs"),
        Paragraph(found.chosen),
        Paragraph(
            "Accuracies are those of the last epoch. The convolutions pad their input, which the paper leaves open."
        ),
        _as_printed(found),
        Heading("The same with lambda chosen on other seeds"),
        _picture(found),
        *(_unseen(found, arm) for arm in found.arms),
        Heading("What choosing on the tested seeds adds"),
        _optimism(found),
        Paragraph(effort(found.records)),
    )


def _as_printed(found: Findings) -> Table:
    rows = []
    for filters in found.architectures:
        gains, training = found.gains(PAPERS_ARM, filters), found.gains(PAPERS_ARM, filters, TRAINING)
        best, base = gains.best(found.seeds), _mean(gains.baseline, found.seeds)
        cells = [_number(_mean(training.baseline, found.seeds)), _number(base)]
        if best is None:
            cells += [DASH] * 3
        else:
            test = gains.test(best, found.seeds, alternative="greater", paired=False)
            trained = training.test(best, found.seeds, alternative="greater", paired=False)
            cells += [f"{best:g}", _starred(trained), _starred(test)]
        paper = published.TABLE_1.get(filters)
        printed = (
            [DASH] * 3 if paper is None else [f"{paper[1]:.4f}", f"{paper[2]:+.4f}", f"{paper[3]:+.4f} ({paper[4]:g})"]
        )
        rows.append((in_words(filters), *cells, *printed))
    own = ("train acc.", "val. acc.", "best λ", "Δ train", "Δ val.")
    head = ("filters", *own, "paper: val. acc.", "paper: Δ train", "paper: Δ val. (p)")
    notes = (
        "* p at most 0.05, ** 0.01, *** 0.001: one-tailed Welch t tests that the accuracy is higher with the term, not "
        f"adjusted, n = {plural(len(found.seeds), 'seed')}; p in brackets.",
        "Eq. 25 on the first layer. As in the paper, the best lambda is chosen on the seeds that are then tested.",
        *_failed_note(found),
    )
    return Table("As the paper chooses and tests", head, tuple(rows), notes)


@dataclasses.dataclass(frozen=True)
class Cell:
    """An arm on an architecture, with lambda chosen on seeds that are not tested.

    Attributes:
        filters: the architecture.
        factor: that was chosen.
        two: the two-sided test on the compared seeds.
        one: the one-sided one.
        same: the mean gain of the lambda that the compared seeds choose for themselves.
    """

    filters: str
    factor: float | None
    two: MeanDifference | None
    one: MeanDifference | None
    same: float


def cells(found: Findings, arm: str) -> list[Cell]:
    """By architecture; the two-sided tests are one family, adjusted by Holm."""
    made = []
    for filters in found.architectures:
        gains = found.gains(arm, filters)
        factor, best = gains.best(found.tune_seeds), gains.best(found.seeds)
        same = math.nan if best is None else _mean(gains.at(best, found.seeds), found.seeds)
        two = one = None
        if factor is not None:
            two = gains.test(factor, found.seeds)
            one = gains.test(factor, found.seeds, alternative="greater")
        made.append(Cell(filters, factor, two, one, same))
    return _adjusted(made)


def _adjusted(made: list[Cell]) -> list[Cell]:
    family = holm_adjusted([cell.two for cell in made])
    return [dataclasses.replace(cell, two=test) for cell, test in zip(made, family, strict=True)]


def _unseen(found: Findings, arm: str) -> Table:
    rows = []
    for cell in cells(found, arm):
        row = [in_words(cell.filters), DASH if cell.factor is None else f"{cell.factor:g}"]
        verdict = DASH if cell.two is None else cell.two.verdict(lower_is_better=False)
        one = DASH if cell.one is None else f"{cell.one.p:.3f}"
        points = [_points(cell.same), _interval(cell.two)]
        rows.append((*row, *points, p_value(cell.two), verdict, one, str(cell.two.n) if cell.two else "0"))
    head = (
        "filters",
        "λ",
        "chosen on the tested seeds",
        "chosen on others (95 %)",
        "p",
        "verdict",
        "p, one-sided",
        "n",
    )
    notes = (
        f"Points of validation accuracy against no term. λ is that of {plural(len(found.tune_seeds), 'seed')} that are "
        "not tested. Paired t tests; two-sided p adjusted by Holm over the architectures, the rest is not.",
        *_failed_note(found),
    )
    return Table(f"{arm}", head, tuple(rows), notes)


def average(found: Findings, arm: str) -> Estimate | None:
    """The gain over all architectures, each with the lambda of the tuning seeds, seed by seed."""
    by_seed: dict[int, list[float]] = {seed: [] for seed in found.seeds}
    for cell in cells(found, arm):
        if cell.factor is None:
            return None
        for seed, gain in found.gains(arm, cell.filters).at(cell.factor, found.seeds).items():
            by_seed[seed].append(gain)
    whole = [math.fsum(gains) / len(gains) for gains in by_seed.values() if len(gains) == len(found.architectures)]
    return mean_of(whole, 0.95)


def optimism(found: Findings, arm: str, architectures: Sequence[str]) -> Mapping[str, Estimate | None]:
    """The gain on the seeds that choose lambda, that on a seed left out, and the first minus the second."""
    seeds = [*found.seeds, *found.tune_seeds]
    pairs = [found.gains(arm, filters).left_out(seeds) for filters in architectures]
    whole = [seed for seed in seeds if all(seed in own for own in pairs)]
    same = [math.fsum(own[seed][0] for own in pairs) / len(pairs) for seed in whole]
    unseen = [math.fsum(own[seed][1] for own in pairs) / len(pairs) for seed in whole]
    added = [a - b for a, b in zip(same, unseen, strict=True)]
    return {name: mean_of(x, 0.95) for name, x in (("same", same), ("unseen", unseen), ("added", added))}


def _optimism(found: Findings) -> Table:
    rows = []
    for arm in found.arms:
        groups = [(in_words(filters), [filters]) for filters in found.architectures]
        for name, group in [*groups, ("all", list(found.architectures))]:
            own = optimism(found, arm, group)
            same = own["same"]
            row = (arm, name, DASH if same is None else _points(same.estimate))
            rows.append((*row, _interval(own["unseen"]), _interval(own["added"])))
    head = ("arm", "filters", "gain on the seeds that choose λ", "gain on a seed left out (95 %)", "added (95 %)")
    seeds = plural(len(found.seeds) + len(found.tune_seeds), "seed")
    notes = (
        f"Points of validation accuracy, of {seeds}, each left out once while the others choose λ among "
        f"{len(found.factors)}. The choices share seeds: the t intervals are approximate. Choosing cannot add less "
        "than 0: its interval is no test. Added is 0 without one where leaving out a seed never changes the choice.",
    )
    return Table("The optimism of choosing and testing on the same seeds", head, tuple(rows), notes, 2)


def _picture(found: Findings) -> Picture:
    lines = [(arm, cell) for arm in found.arms for cell in cells(found, arm)]
    figure, axes = plots.blank(8.0, 1.6 + 0.3 * len(lines))
    axes.axvline(0, color=figures.BLACK, linewidth=1)
    for y, (arm, cell) in enumerate(lines):
        if cell.two is not None and not math.isnan(cell.two.low):
            axes.plot([100 * cell.two.low, 100 * cell.two.high], [y, y], color=figures.BLUE, linewidth=1.8)
        if cell.two is not None:
            axes.plot(
                100 * cell.two.estimate, y, "s", color=figures.BLUE, label=_once(y, "λ chosen on other seeds, 95 %")
            )
        label = _once(y, "λ chosen on the tested seeds")
        axes.plot(100 * cell.same, y, "o", color=figures.ORANGE, markerfacecolor="none", label=label)
        paper = published.TABLE_1.get(cell.filters)
        if arm == PAPERS_ARM and paper is not None:
            axes.plot(100 * paper[3], y, "x", color=figures.BLACK, label=_once(y, "the paper"))
    axes.set_yticks(range(len(lines)), [f"{arm}, {in_words(cell.filters)}" for arm, cell in lines], fontsize=8)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlabel("points of validation accuracy, minus no term")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    caption = (
        f"Gain in validation accuracy on {found.data} by how lambda is chosen; n = {plural(len(found.seeds), 'seed')}."
    )
    return Picture("a-table1.png", plots.png(figure), caption, caption)


def _once(y: int, label: str) -> str | None:
    return label if y == 0 else None


def verdicts(found: Findings) -> tuple[str, ...]:
    """One sentence for each claim."""
    return (_printed_verdict(found), *(_arm_verdict(found, arm) for arm in found.arms), *_added(found), _failed(found))


def _printed_verdict(found: Findings) -> str:
    gains, shown_better = [], 0
    for filters in found.architectures:
        own = found.gains(PAPERS_ARM, filters)
        best = own.best(found.seeds)
        test = None if best is None else own.test(best, found.seeds, alternative="greater", paired=False)
        if test is not None:
            gains.append(100 * test.estimate)
            shown_better += test.p is not None and test.p <= 0.05
    ends = f"{min(gains):+.1f} to {max(gains):+.1f} points" if gains else "no gain to name"
    return (
        f"Eq. 25 on the first layer, lambda chosen on the tested seeds as in the paper: {ends}, p at most 0.05 in "
        f"{shown_better} of {len(found.architectures)} architectures (one-tailed Welch t, not adjusted, "
        f"n = {plural(len(found.seeds), 'seed')}); the paper: +0.5 to +1.1 points in 9 of 9."
    )


def _arm_verdict(found: Findings, arm: str) -> str:
    made, mean = cells(found, arm), average(found, arm)
    tested = [cell.two for cell in made if cell.two is not None]
    better = sum(test.verdict(lower_is_better=False) == "better" for test in tested)
    worse = sum(test.verdict(lower_is_better=False) == "worse" for test in tested)
    none = len(made) - better - worse
    average_said = f"mean gain over the architectures {_interval(mean)} points" if mean else "no mean gain to name"
    return (
        f"{arm}, lambda chosen on other seeds: {average_said} (95 % interval, paired t, "
        f"n = {plural(len(found.seeds), 'seed')}); better than no term in {better}, worse in {worse}, no difference "
        f"shown in {none} of {plural(len(made), 'architecture')} (p adjusted by Holm)."
    )


def _added(found: Findings) -> list[str]:
    sentences = []
    for arm in found.arms:
        own = optimism(found, arm, found.architectures)
        same, unseen, added = own["same"], own["unseen"], own["added"]
        if same is not None and unseen is not None and added is not None:
            sentences.append(
                f"{arm}: the seeds that choose lambda show {_points(same.estimate)} points, a seed left out "
                f"{_interval(unseen)}: choosing on the tested seeds adds {_interval(added)} points (means over the "
                f"architectures, approximate 95 % t intervals over {plural(added.n, 'seed')}; it cannot add less "
                "than 0, so that its interval is no test)."
            )
    return sentences


def _failed(found: Findings) -> str:
    runs = found.records
    failed = arm_groups.unfinished(arm_groups.failures_of(runs), len(runs))
    return f"{failed}." if failed else f"All {len(runs)} runs finished."


def _failed_note(found: Findings) -> tuple[str, ...]:
    said = arm_groups.counted(arm_groups.failures_of(found.records), len(found.records))
    return (f"{said}.",) if said else ()


def _mean(values: Mapping[int, float], seeds: Sequence[int]) -> float:
    own = [values[seed] for seed in seeds if seed in values]
    return math.fsum(own) / len(own) if own else math.nan


def _number(value: float) -> str:
    return DASH if math.isnan(value) else f"{value:.4f}"


def _points(value: float) -> str:
    return DASH if math.isnan(value) else f"{100 * value:+.2f}"


def _interval(estimate: Estimate | None) -> str:
    if estimate is None:
        return DASH
    if math.isnan(estimate.low):
        return f"{_points(estimate.estimate)} (no interval)"
    return f"{_points(estimate.estimate)} ({_points(estimate.low)} to {_points(estimate.high)})"


def _starred(test: MeanDifference | None) -> str:
    if test is None:
        return DASH
    if test.p is None or math.isnan(test.p):
        return f"{test.estimate:+.4f}"
    stars = next((stars for most, stars in STARS if test.p <= most), "")
    return f"{test.estimate:+.4f}{stars} ({test.p:.2g})"
