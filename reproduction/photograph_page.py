"""What the page on table 2 of source A shows: the paper's numbers read again, and those of the runs."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from keras_entropy import plots
from keras_entropy.stats import Estimate, paired_t, t_interval
from keras_entropy.study import Comparison, figures, result_tables
from keras_entropy.study.arm_groups import quiet, text
from keras_entropy.study.comparison import ArmResult
from keras_entropy.study.document import DASH, Block, Heading, Paragraph, Picture, Table
from reproduction import single_run_table

BASELINE = "none"
METRIC = "val_accuracy"
Cell = tuple[str, str]  # strategy and placement


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """The runs of one network.

    Attributes:
        name: of the network.
        comparison: of all placements with none, by strategy.
        placements: the rule or the layers of each.
        classes: how many there are.
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
        return {cell: sorted(rows, key=lambda row: row.own["factor"]) for cell, rows in found.items()}

    def means(self) -> list[list[float]]:
        """A row of mean accuracies for each strategy and placement, the first without the term.

        A cell with a run that did not finish is NaN: the mean of those that did would be one of survivors.
        """
        return [
            [row.mean.estimate if whole(row) and row.mean is not None else math.nan for row in rows]
            for rows in self.lines()
        ]

    def lines(self) -> list[list[ArmResult]]:
        """The runs of each strategy and placement, the first without the term."""
        return [[self.bases[strategy], *rows] for (strategy, _), rows in self.rivals().items()]

    def gains(self) -> dict[str, dict[int, float]]:
        """By seed, what the term gains over the rows: on average over lambda, and at the best lambda of each row.

        "left out" is the gain at the lambda that is best for the other seeds. Cells with a run that did not finish are
        left out.
        """
        found: dict[str, dict[int, float]] = {"average": {}, "best": {}, "left out": {}}
        lines = [[row.values for row in rows if whole(row)] for rows in self.lines() if whole(rows[0])]
        both = [(base, rows) for base, *rows in lines if rows]
        seeds = {*both[0][0]} if both else set()
        for seed in sorted(seeds):
            rest = sorted(seeds - {seed})
            one = [(base[seed], [row[seed] for row in rows]) for base, rows in both]
            found["average"][seed] = _mean([_mean(values) - base for base, values in one])
            found["best"][seed] = _mean([max(values) - base for base, values in one])
            if rest:
                picks = [max(rows, key=lambda row: _mean([row[s] for s in rest])) for _, rows in both]
                found["left out"][seed] = _mean([p[seed] - base for p, (base, _) in zip(picks, one, strict=True)])
        return found

    def repeated(self) -> list[list[float]]:
        """The accuracies without the term, of each strategy those of all seeds."""
        return [list(row.values.values()) for row in self.bases.values() if len(row.values) > 1]

    def idle(self) -> Counter[float]:
        """How many finished runs never got half as good again as guessing, by lambda."""
        limit = 1.5 / self.classes
        found: Counter[float] = Counter()
        for row in self.comparison.rows:
            found[row.own.get("factor", 0.0)] += sum(value < limit for value in row.values.values())
        return found


def whole(row: ArmResult) -> bool:
    """Whether all runs of a cell finished with a value."""
    return len(row.values) == row.runs > 0


def blocks(found: Sequence[Found], choices: str) -> list[Block]:
    """The page."""
    page: list[Block] = [
        Heading("The paper's own table"),
        _printed_table(),
        _analysis(),
        Heading("Table 2 from these runs"),
        _own_table(found),
        Paragraph(choices),
        Paragraph(
            "The term is eq. 25, a sum over filters and channels. Each run is judged by its best epoch, as the paper's "
            "early stopping on the accuracy suggests: this flatters all arms alike. Runs without the term serve all "
            "placements of a strategy, since they are the same experiment."
        ),
        Table(
            "Where the term is put",
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
        page += [result_tables.comparison_table(one.comparison), result_tables.effort_table(one.comparison)]
    return page


def _printed_table() -> Table:
    head = ("network", "strategy", "layers", *(text(f) for f in single_run_table.FACTORS))
    rows = tuple(
        (name, strategy, layers, *_marked([f"{v:.3f}" for v in values], values))
        for name, strategy, layers, values in single_run_table.TABLE2
    )
    notes = (
        "One run a cell. *: the best of its row. The paper prints 0.808 in bold in ResNet-50, augmentation + dropout, "
        "pre-skip, where 0.820 is the best.",
        f"All numbers are multiples of {single_run_table.step_of(single_run_table.table2_rows()):g}, as accuracies on "
        "500 images are.",
    )
    return Table("Validation accuracy by lambda, as the paper prints it", head, rows, notes, 3)


def _analysis() -> Table:
    rows = []
    for name in (None, "VGG-16", "ResNet-50"):
        values = single_run_table.table2_rows(name)
        best, gain = (
            single_run_table.best_columns(values),
            single_run_table.gains(values, single_run_table.table2_repeated(name)),
        )
        rows.append(
            (
                name or "both",
                f"{best.at_term} of {best.rows}",
                f"{best.expected:.1f}",
                f"{best.p:.2f}",
                result_tables.interval(gain.unselected),
                f"{gain.selected.estimate:.4f}",
                f"{gain.noise:.4f} ({gain.noise_low:.4f} to {gain.noise_high:.4f})",
                f"{gain.by_chance:.4f}",
            )
        )
    head: tuple[str, ...] = ("network", "best at lambda > 0", "by chance", "p", "mean of lambda > 0 minus 0 (95 %)")
    head += ("best of lambda > 0 minus 0", "noise (95 %)", "best minus 0 by noise alone")
    notes = (
        "By chance: of seven columns that are alike one of the six with lambda > 0 is the best in six rows of seven. "
        "p: of so many rows or more, by the binomial distribution. The mean of lambda > 0 minus lambda = 0 selects "
        "nothing; its t interval is over rows.",
        "Noise: the standard deviation of runs at lambda = 0, which are the same experiment at every placement, pooled "
        "over network and strategy, with its chi-squared interval. Best minus 0 by noise alone: "
        f"{single_run_table.largest_normal(6):.3f} times the noise, the mean of the largest of six normal numbers.",
    )
    return Table("What the paper's table shows of itself", head, tuple(rows), notes)


def _own_table(found: Sequence[Found]) -> Table:
    factors = sorted({f for one in found for f in one.factors})
    head = ("network", "strategy", "placement", "0", *(text(f) for f in factors))
    rows = []
    for one in found:
        for (strategy, placement), values, line in zip(one.rivals(), one.means(), one.lines(), strict=True):
            shown = [f"{v:.3f}" if whole(row) else _partly(row) for v, row in zip(values, line, strict=True)]
            rows.append((one.name, strategy, placement, *_marked(shown, values)))
    idle: Counter[float] = sum((one.idle() for one in found), Counter[float]())
    runs: Counter[float] = Counter()
    for row in itertools.chain.from_iterable(one.comparison.rows for one in found):
        runs[row.own.get("factor", 0.0)] += row.runs
    stuck = ", ".join(f"{idle[f]} of {runs[f]} at lambda {text(f)}" for f in (0.0, *factors))
    notes = [
        "Means over seeds of the best validation accuracy of each run. *: the best of its row. In brackets: how many "
        "runs finished, where not all did; such a cell is in none of the counts below and above.",
        f"Finished runs that never got half as good again as guessing: {stuck}.",
        *(f"{one.name}: {one.comparison.caption}." for one in found if one.comparison.caption),
    ]
    return Table("Best validation accuracy by lambda", head, tuple(rows), tuple(notes), 3)


def _partly(row: ArmResult) -> str:
    """A cell in which not all runs finished."""
    mean = DASH if row.mean is None else f"{row.mean.estimate:.3f}"
    return f"{mean} ({len(row.values)} of {row.runs})"


def _marked(shown: Sequence[str], values: Sequence[float]) -> list[str]:
    best = max((v for v in values if not math.isnan(v)), default=None)
    return [f"{cell}*" if value == best else cell for cell, value in zip(shown, values, strict=True)]


def verdicts(found: Sequence[Found], images: int) -> Iterator[str]:
    """One sentence for each claim."""
    yield from _of_the_paper()
    rows = [row for one in found for row in one.means()]
    complete = [row for row in rows if not any(map(math.isnan, row))]
    if complete:
        best = single_run_table.best_columns(complete)
        yield (
            f"These runs, best cell at lambda > 0: {best.at_term} of the {best.rows} rows (of {len(rows)}) whose runs "
            f"all finished; {best.columns} columns that are alike give {best.expected:.1f} (no p-value: rows of a "
            "strategy share their runs at lambda = 0)."
        )
    else:
        yield f"These runs: none of the {len(rows)} rows has all of its runs, so that best cells are not counted."
    for one in found:
        yield from _of_the_runs(one, images)


def _of_the_paper() -> Iterator[str]:
    rows = single_run_table.table2_rows()
    best, gain = single_run_table.best_columns(rows), single_run_table.gains(rows, single_run_table.table2_repeated())
    yield (
        f'"The best accuracy is at lambda > 0 in {best.at_term} of {best.rows} rows": the count is one that chance '
        f"gives. Seven columns that are alike give {best.expected:.1f}, and {best.at_term} or more with probability "
        f"{best.p:.2f}."
    )
    yield (
        f'"Accuracy improves by 2-3 %", in the paper\'s own numbers: on average over lambda > 0 '
        f"{_shown(gain.unselected)}, {_said(gain.unselected, 'rows')}. The best of six minus lambda = 0 is "
        f"{gain.selected.estimate:.3f}; runs at lambda = 0 differ among themselves by a standard deviation of "
        f"{gain.noise:.3f} (95 % interval {gain.noise_low:.3f} to {gain.noise_high:.3f}), which alone gives "
        f"{gain.by_chance:.3f}."
    )
    first, both = (
        [max(v) for n, _, at, v in single_run_table.TABLE2 if (n, at) == ("VGG-16", w)] for w in ("[1]", "[1,2]")
    )
    apart = ", ".join(f"{a - b:.3f}" for a, b in zip(first, both, strict=True))
    with quiet():
        against = paired_t(first, both)
    sentence = against.sentence("[1]", "[1,2]", lower_is_better=False, unit="strategies")
    yield f'"[1] is better than [1,2] in VGG-16": the best cells differ by {apart} in the paper; {sentence}.'


def _of_the_runs(one: Found, images: int) -> Iterator[str]:
    gains = one.gains()
    average, chosen = list(gains["average"].values()), list(gains["best"].values())
    if not chosen:
        yield f"{one.name}: no cell with the term has all of its runs, so that nothing is averaged."
        yield from _failures(one)
        return
    noise = single_run_table.pooled(one.repeated())[0]
    means = [row for row in one.means() if not any(map(math.isnan, row))]
    kept = sum(whole(row) for row in one.comparison.rivals)
    said = (
        f"{one.name}, average over lambda > 0, placements and strategies, minus lambda = 0, in the {kept} of "
        f"{len(one.comparison.rivals)} cells whose runs all finished: "
    )
    with quiet():
        if len(average) > 1:
            estimate = t_interval(average)
            said += f"{_shown(estimate)}, {_said(estimate, 'seeds')}"
        elif len(means) > 1:
            estimate = single_run_table.gains(means, []).unselected
            said += f"{_shown(estimate)}, {_said(estimate, 'rows of single runs')}"
        else:
            said += f"{average[0]:+.3f}, one value without interval"
    said += f". Choosing the best lambda of each row on the seed that is judged gives {_mean(chosen):+.3f}"
    if gains["left out"]:
        said += f", choosing it on the other seeds {_mean(list(gains['left out'].values())):+.3f}"
    if not math.isnan(noise):
        said += f". Runs without the term differ by a standard deviation of {noise:.3f}"
    yield f"{said}. On {images} images an accuracy has a standard error of {_uncertainty(one, images):.3f}."
    words = Counter(
        "not compared" if r.against is None else r.against.verdict(lower_is_better=False) for r in one.comparison.rivals
    )
    counts = ", ".join(f"{n} {word}" for word, n in words.most_common())
    yield f"{one.name}, cell by cell after Holm's adjustment in each strategy: {counts}."
    if "empirical" in one.placements:
        yield _empirical(one)
    yield from _failures(one)


def _failures(one: Found) -> Iterator[str]:
    """Runs that came to nothing, by lambda."""
    lost: Counter[float] = Counter()
    runs: Counter[float] = Counter()
    for row in one.comparison.rows:
        factor = row.own.get("factor", 0.0)
        lost[factor] += sum(row.failures.values())
        runs[factor] += row.runs
    idle = one.idle()
    if sum(lost.values()) or sum(idle.values()):
        parts = [f"{lost[f]} of {runs[f]} runs at lambda {text(f)}" for f in (0.0, *one.factors)]
        near = ", ".join(f"{idle[f]} at lambda {text(f)}" for f in (0.0, *one.factors))
        yield (
            f"{one.name}, did not finish (eq. 25 as a sum over filters and channels): {', '.join(parts)}; finished "
            f"without getting half as good again as guessing: {near}."
        )


def _empirical(one: Found) -> str:
    """The empirical placement against the others, by seed."""
    by_place: dict[str, list[dict[int, float]]] = {}
    for (_, placement), rows in one.rivals().items():
        by_place.setdefault("empirical" if placement == "empirical" else "others", []).extend(r.values for r in rows)
    everything = [values for group in by_place.values() for values in group]
    seeds = sorted(set.intersection(*map(set, everything)))
    if len(seeds) < 2:
        return f"{one.name}, the empirical placement against the others: fewer than two seeds, not compared."
    a, b = ([_mean([v[s] for v in by_place[group]]) for s in seeds] for group in ("empirical", "others"))
    with quiet():
        return f"{one.name}: {paired_t(a, b).sentence('the empirical placement', 'the others', lower_is_better=False)}."


def _said(estimate: Estimate, unit: str) -> str:
    """An estimate that says what its values are."""
    return f"{str(estimate).removesuffix(')')} {unit})"


def _shown(estimate: Estimate) -> str:
    return "a gain" if estimate.low > 0 else "a loss" if estimate.high < 0 else "no gain shown"


def _uncertainty(one: Found, images: int) -> float:
    values = [v for row in one.bases.values() for v in row.values.values()]
    mean = _mean(values)
    return float((mean * (1 - mean) / images) ** 0.5)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
