"""Page of table 2 (Meni et al., 2023): the paper's own numbers analysed, and those of the runs."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from keras_entropy import plots
from keras_entropy.stats import Estimate
from keras_entropy.study import ArmResult, Comparison, figures
from keras_entropy.study.document import DASH, Block, Heading, Paragraph, Picture, Table
from keras_entropy.study.wording import interval
from reproduction.estimates import compared, direction, mean, mean_interval
from reproduction.paper_numbers import meni
from reproduction.single_run_table import (
    BestColumns,
    best_columns,
    common_step,
    largest_normal,
    paper_baselines,
    paper_rows,
    pooled_noise,
    row_gains,
)

BASELINE = "none"
METRIC = "val_accuracy"
Cell = tuple[str, str]  # strategy and placement


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """The runs of one network.

    Attributes:
        name: Name of the network.
        comparison: All placements against the baseline, by strategy.
        placements: Name or layers of each placement, by placement.
        classes: Number of classes.
    """

    name: str
    comparison: Comparison
    placements: Mapping[str, str]
    classes: int

    @property
    def factors(self) -> list[float]:
        """The values of lambda above 0."""
        return sorted({row.own["factor"] for row in self.comparison.rivals})

    @property
    def bases(self) -> dict[str, ArmResult]:
        """The runs without the term, by strategy."""
        return {row.shared["strategy"]: row for row in self.comparison.rows if row.arm == BASELINE}

    def rivals(self) -> dict[Cell, list[ArmResult]]:
        """The runs with the term, by strategy and placement, in the order of lambda."""
        found: dict[Cell, list[ArmResult]] = {}
        for row in self.comparison.rivals:
            found.setdefault((row.shared["strategy"], row.arm), []).append(row)
        return {cell: sorted(rows, key=factor_of) for cell, rows in found.items()}

    def lines(self) -> list[list[ArmResult]]:
        """The runs of each strategy and placement; the first are those without the term."""
        return [[self.bases[strategy], *rows] for (strategy, _), rows in self.rivals().items()]

    def means(self) -> list[list[float]]:
        """Mean accuracies of `lines`. A cell with a run that did not finish is NaN, as its mean would be biased."""
        return [
            [row.mean.estimate if whole(row) and row.mean is not None else math.nan for row in rows]
            for rows in self.lines()
        ]

    def whole_means(self) -> list[list[float]]:
        """The rows of `means` whose runs all finished."""
        return [row for row in self.means() if not any(map(math.isnan, row))]

    def gains(self) -> dict[str, dict[int, float]]:
        """Gain of the term over the rows, by seed: "average" over lambda, "best" lambda of each row, and "left out".

        "left out" is the gain at the lambda that is best on the other seeds. Cells with a run that did not finish are
        left out.
        """
        found: dict[str, dict[int, float]] = {"average": {}, "best": {}, "left out": {}}
        lines = [[row.values for row in rows if whole(row)] for rows in self.lines() if whole(rows[0])]
        both = [(base, rows) for base, *rows in lines if rows]
        seeds = {*both[0][0]} if both else set()
        for seed in sorted(seeds):
            rest = sorted(seeds - {seed})
            one = [(base[seed], [row[seed] for row in rows]) for base, rows in both]
            found["average"][seed] = mean(mean(values) - base for base, values in one)
            found["best"][seed] = mean(max(values) - base for base, values in one)
            if rest:
                picks = [max(rows, key=lambda row: mean(row[s] for s in rest)) for _, rows in both]
                found["left out"][seed] = mean(p[seed] - base for p, (base, _) in zip(picks, one, strict=True))
        return found

    def repeated(self) -> list[list[float]]:
        """Accuracies of the repeated runs without the term, by strategy."""
        return [list(row.values.values()) for row in self.bases.values() if len(row.values) > 1]

    def idle(self) -> Counter[float]:
        """Number of finished runs whose accuracy stayed below 1.5 times that of guessing, by lambda."""
        limit = 1.5 / self.classes
        found: Counter[float] = Counter()
        for row in self.comparison.rows:
            found[factor_of(row)] += sum(value < limit for value in row.values.values())
        return found


def factor_of(row: ArmResult) -> float:
    """The lambda of a cell."""
    return float(row.own.get("factor", 0.0))


def whole(row: ArmResult) -> bool:
    """Whether all runs of a cell finished with a value."""
    return len(row.values) == row.runs > 0


def blocks(found: Sequence[Found], choices: str) -> list[Block]:
    """The blocks of the page."""
    page: list[Block] = [
        Heading("The paper's own table"),
        _paper_table(),
        _paper_analysis(),
        Heading("Table 2 from these runs"),
        _own_table(found),
        Paragraph(choices),
        Paragraph(
            "The term is eq. 25, a sum over filters and channels. Each run is judged by its best epoch, as the paper's "
            "early stopping on the accuracy suggests; this flatters all arms alike. All placements of a strategy share "
            "the runs without the term, which are one experiment."
        ),
        Table(
            "Layers of each placement",
            ("network", "placement", "layers"),
            tuple((one.name, p, layers) for one in found for p, layers in one.placements.items()),
            words=3,
        ),
    ]
    for number, one in enumerate(found, start=1):
        page.append(Heading(f"{one.name}: each cell against no term"))
        page.append(
            Picture(
                f"differences{number}.png",
                plots.png(figures.differences(one.comparison)),
                f"{one.name}: best validation accuracy minus that without the term, paired by seed.",
                f"Differences of accuracy of {one.name} by strategy, placement and lambda, with intervals.",
            )
        )
        page += [one.comparison.table(), one.comparison.effort_table()]
    return page


def _paper_table() -> Table:
    paper = meni("a-table2")
    head = ("network", "strategy", "layers", *(f"{factor:g}" for factor in paper["factors"]))
    rows = []
    for row in paper["rows"]:
        shown = _marked([f"{v:.3f}" for v in row["accuracy"]], row["accuracy"])
        rows.append((row["network"], row["strategy"], row["layers"], *shown))
    bold, step = paper["bold"], common_step(paper_rows())
    place = {name: bold[name] for name in ("network", "strategy", "layers")}
    (best,) = (max(row["accuracy"]) for row in paper["rows"] if place.items() <= row.items())
    notes = (
        f"One run a cell. *: the best of its row. The paper prints {bold['accuracy']:.3f} in bold in "
        f"{bold['network']}, {bold['strategy']}, {bold['layers']}, where {best:.3f} is the best.",
        f"All numbers are multiples of {step:g}, as accuracies on {1 / step:.0f} images are.",
    )
    return Table("Validation accuracy by lambda, as the paper prints it", head, tuple(rows), notes, 3)


def _paper_analysis() -> Table:
    rows = []
    for name in (None, "VGG-16", "ResNet-50"):
        values = paper_rows(name)
        best, gain = best_columns(values), row_gains(values, paper_baselines(name))
        rows.append(
            (
                name or "both",
                f"{best.at_term} of {best.rows}",
                f"{best.expected:.1f}",
                f"{best.p:.2f}",
                interval(gain.unselected),
                f"{gain.selected.estimate:.4f}",
                f"{gain.noise.deviation:.4f} ({gain.noise.low:.4f} to {gain.noise.high:.4f})",
                f"{gain.by_chance:.4f}",
            )
        )
    head: tuple[str, ...] = ("network", "best at lambda > 0", "by chance", "p", "mean of lambda > 0 minus 0 (95 %)")
    head += ("best of lambda > 0 minus 0", "noise (95 %)", "best minus 0 by noise alone")
    notes = (
        "By chance: if all seven columns are alike, one of the six with lambda > 0 is the best in six rows of seven. "
        "p: probability of so many rows or more, by the binomial distribution. The mean of lambda > 0 minus lambda = 0 "
        "selects nothing; its t interval is over rows.",
        "Noise: the standard deviation of runs at lambda = 0, which are the same experiment at every placement, pooled "
        "over network and strategy, with its chi-squared interval. Best minus 0 by noise alone: "
        f"{largest_normal(6):.3f} times the noise, the mean of the largest of six normal numbers.",
    )
    return Table("What the paper's table shows of itself", head, tuple(rows), notes)


def _own_table(found: Sequence[Found]) -> Table:
    factors = sorted({f for one in found for f in one.factors})
    head = ("network", "strategy", "placement", "0", *(f"{f:g}" for f in factors))
    rows = []
    for one in found:
        for (strategy, placement), values, line in zip(one.rivals(), one.means(), one.lines(), strict=True):
            shown = [f"{v:.3f}" if whole(row) else _partly(row) for v, row in zip(values, line, strict=True)]
            rows.append((one.name, strategy, placement, *_marked(shown, values)))
    idle: Counter[float] = sum((one.idle() for one in found), Counter[float]())
    runs: Counter[float] = Counter()
    for row in itertools.chain.from_iterable(one.comparison.rows for one in found):
        runs[factor_of(row)] += row.runs
    notes = [
        "Means over seeds of the best validation accuracy of each run. *: the best of its row. In brackets: the number "
        "of finished runs, if some did not finish; such a cell is in none of the counts on this page.",
        f"Finished runs whose accuracy stayed below 1.5 times that of guessing: "
        f"{_by_factor(idle, [0.0, *factors], runs)}.",
        *(f"{one.name}: {one.comparison.caption}." for one in found if one.comparison.caption),
    ]
    return Table("Best validation accuracy by lambda", head, tuple(rows), tuple(notes), 3)


def _by_factor(counts: Counter[float], factors: Sequence[float], of: Counter[float]) -> str:
    """Counts by lambda, in words."""
    return ", ".join(f"{counts[f]} of {of[f]} at lambda {f:g}" for f in factors)


def _partly(row: ArmResult) -> str:
    """A cell in which not all runs finished."""
    average = DASH if row.mean is None else f"{row.mean.estimate:.3f}"
    return f"{average} ({len(row.values)} of {row.runs})"


def _marked(shown: Sequence[str], values: Sequence[float]) -> list[str]:
    best = max((v for v in values if not math.isnan(v)), default=None)
    return [f"{cell}*" if value == best else cell for cell, value in zip(shown, values, strict=True)]


def conclusions(found: Sequence[Found], images: int) -> Iterator[str]:
    """One sentence for each claim."""
    yield from _of_the_paper()
    rows = sum(len(one.means()) for one in found)
    complete = [row for one in found for row in one.whole_means()]
    if complete:
        best = best_columns(complete)
        yield (
            f"These runs, best cell at lambda > 0: {best.at_term} of the {best.rows} rows (of {rows}) whose runs all "
            f"finished; {_if_alike(best)} (no p-value: rows of a strategy share their runs at lambda = 0)."
        )
    else:
        yield f"These runs: none of the {rows} rows has all of its runs, so best cells are not counted."
    for one in found:
        yield from _of_the_runs(one, images)


def _if_alike(best: BestColumns) -> str:
    return f"if all {best.columns} columns were alike, {best.expected:.1f} rows would be expected"


def _of_the_paper() -> Iterator[str]:
    rows = paper_rows()
    best, gain = best_columns(rows), row_gains(rows, paper_baselines())
    noise = gain.noise
    yield (
        f'"The best accuracy is at lambda > 0 in {best.at_term} of {best.rows} rows": {_if_alike(best)}, and '
        f"{best.at_term} or more would occur with probability {best.p:.2f}. So the count shows no effect."
    )
    yield (
        f'"Accuracy improves by 2-3 %", in the paper\'s own numbers: on average over lambda > 0 '
        f"{_shown(gain.unselected, 'rows')}. The best of six minus lambda = 0 is {gain.selected.estimate:.3f}; runs at "
        f"lambda = 0 differ among themselves by a standard deviation of {noise.deviation:.3f} (95 % interval "
        f"{noise.low:.3f} to {noise.high:.3f}), which alone gives {gain.by_chance:.3f}."
    )
    vgg = [row for row in meni("a-table2")["rows"] if row["network"] == "VGG-16"]
    first, both = ([max(row["accuracy"]) for row in vgg if row["layers"] == layers] for layers in ("[1]", "[1,2]"))
    apart = ", ".join(f"{a - b:.3f}" for a, b in zip(first, both, strict=True))
    against = compared(first, both)
    assert against is not None
    sentence = against.sentence("[1]", "[1,2]", lower_is_better=False, unit="strategies")
    yield f'"[1] is better than [1,2] in VGG-16": the best cells differ by {apart} in the paper; {sentence}.'


def _of_the_runs(one: Found, images: int) -> Iterator[str]:
    gains = one.gains()
    if not gains["best"]:
        yield f"{one.name}: no cell with the term has all of its runs, so no average is computed."
        yield from _failures(one)
        return
    yield _average_gain(one, gains, images)
    words = Counter(
        "not compared" if r.difference is None else r.difference.conclusion(lower_is_better=False)
        for r in one.comparison.rivals
    )
    counts = ", ".join(f"{n} {word}" for word, n in words.most_common())
    yield f"{one.name}, cell by cell after Holm's adjustment in each strategy: {counts}."
    if "empirical" in one.placements:
        yield _empirical(one)
    yield from _failures(one)


def _average_gain(one: Found, gains: Mapping[str, Mapping[int, float]], images: int) -> str:
    average, best, left_out = (list(gains[name].values()) for name in ("average", "best", "left out"))
    noise, means = pooled_noise(one.repeated()).deviation, one.whole_means()
    kept = sum(whole(row) for row in one.comparison.rivals)
    said = (
        f"{one.name}, average over lambda > 0, placements and strategies, minus lambda = 0, in the {kept} of "
        f"{len(one.comparison.rivals)} cells whose runs all finished: "
    )
    if len(average) > 1:
        estimate = mean_interval(average)
        assert estimate is not None
        said += _shown(estimate, "seeds")
    elif len(means) > 1:
        said += _shown(row_gains(means, []).unselected, "rows of single runs")
    else:
        said += f"{average[0]:+.3f}, one value without interval"
    said += f". Choosing the best lambda of each row on the judged seed gives {mean(best):+.3f}"
    if left_out:
        said += f", choosing it on the other seeds {mean(left_out):+.3f}"
    if not math.isnan(noise):
        said += f". Runs without the term differ by a standard deviation of {noise:.3f}"
    return f"{said}. On {images} images an accuracy has a standard error of {_standard_error(one, images):.3f}."


def _failures(one: Found) -> Iterator[str]:
    """Runs that failed or did not learn, by lambda."""
    lost: Counter[float] = Counter()
    runs: Counter[float] = Counter()
    for row in one.comparison.rows:
        lost[factor_of(row)] += sum(row.failures.values())
        runs[factor_of(row)] += row.runs
    idle, factors = one.idle(), [0.0, *one.factors]
    if lost.total() or idle.total():
        yield (
            f"{one.name}, runs that did not finish (eq. 25 as a sum over filters and channels): "
            f"{_by_factor(lost, factors, runs)}; finished runs whose accuracy stayed below 1.5 times that of guessing: "
            f"{_by_factor(idle, factors, runs)}."
        )


def _empirical(one: Found) -> str:
    """The empirical placement against the others, by seed."""
    by_place: dict[str, list[Mapping[int, float]]] = {}
    for (_, placement), rows in one.rivals().items():
        by_place.setdefault("empirical" if placement == "empirical" else "others", []).extend(r.values for r in rows)
    everything = [values for group in by_place.values() for values in group]
    seeds = sorted(set.intersection(*map(set, everything)))
    a, b = ([mean(v[s] for v in by_place[group]) for s in seeds] for group in ("empirical", "others"))
    test = compared(a, b)
    if test is None:
        return f"{one.name}, the empirical placement against the others: fewer than two seeds, not compared."
    return f"{one.name}: {test.sentence('the empirical placement', 'the others', lower_is_better=False)}."


def _shown(estimate: Estimate, unit: str) -> str:
    """What an estimate of a gain shows, and the estimate with the unit of its values."""
    word = {1: "a gain", -1: "a loss", 0: "no gain shown"}[direction(estimate)]
    return f"{word}, {str(estimate).removesuffix(')')} {unit})"


def _standard_error(one: Found, images: int) -> float:
    """Binomial standard error of the mean accuracy without the term."""
    accuracy = mean(v for row in one.bases.values() for v in row.values.values())
    return float((accuracy * (1 - accuracy) / images) ** 0.5)
