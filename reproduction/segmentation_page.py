"""Page of table 3 (Meni et al., 2023): when training would stop, and what it has reached then."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from keras_entropy import plots
from keras_entropy.stats import MeanDifference, holm_adjusted
from keras_entropy.study import RunRecord
from keras_entropy.study.document import DASH, Block, Heading, Paragraph, Picture, Table
from keras_entropy.study.wording import interval, p_value
from reproduction.estimates import compared, mean, p_equals
from reproduction.paper_numbers import meni
from reproduction.study_runs import unfinished

BASELINE, TERM = "none", "pre-concat"
METRIC = "val_iou"
WATCHED = {"val_loss": "the loss with the penalty", "val_task_loss": "the loss of the task alone"}
Measure = Callable[[RunRecord], float]


@dataclasses.dataclass(frozen=True)
class Stopping:
    """Early stopping, computed from the history of a run that was trained to the end.

    Attributes:
        patience: Integer, epochs without improvement after which training stops.
        min_delta: Float, smallest change that counts as an improvement.
    """

    patience: int
    min_delta: float

    def epoch(self, values: Sequence[float]) -> int:
        """The epoch after which `keras.callbacks.EarlyStopping` stops; the last one if it does not."""
        return self.end(values) or len(values)

    def end(self, values: Sequence[float]) -> int | None:
        """The epoch after which it stops; None if it does not."""
        best, waited = math.inf, 0
        for number, value in enumerate(values, start=1):
            waited += 1
            if value + self.min_delta < best:  # the sum that Keras computes, with its rounding
                best, waited = value, 0
            elif waited >= self.patience and number > 1:
                return number
        return None


@dataclasses.dataclass(frozen=True)
class Table3:
    """The runs of table 3.

    Attributes:
        records: Records of the runs.
        stopping: Rule of early stopping.
        factors: Values of lambda above 0.
    """

    records: tuple[RunRecord, ...]
    stopping: Stopping
    factors: tuple[float, ...]

    @property
    def all_factors(self) -> tuple[float, ...]:
        """All values of lambda."""
        return (0.0, *self.factors)

    def runs(self, factor: float) -> dict[int, RunRecord]:
        """The finished runs at a lambda, by seed."""
        return {r.seed: r for r in self.records if r.ok and r.point.get("factor", 0.0) == factor}

    def values(self, factor: float, measure: Measure) -> dict[int, float]:
        """A number of each finished run at a lambda, by seed."""
        found = {seed: measure(record) for seed, record in self.runs(factor).items()}
        return {seed: value for seed, value in found.items() if math.isfinite(value)}

    def epochs(self, watched: str) -> Measure:
        """Epochs of a run, if early stopping watches a loss."""
        return lambda record: float(self.stopping.epoch(record.history[watched]))

    def seconds(self, watched: str) -> Measure:
        """Seconds of these epochs, at the mean time of an epoch of the run."""
        return lambda record: record.wall_seconds / record.epochs * self.stopping.epoch(record.history[watched])

    def reached(self, watched: str, metric: str) -> Measure:
        """A metric at the epoch at which early stopping stops."""
        return lambda record: record.history[metric][self.stopping.epoch(record.history[watched]) - 1]

    def unstopped(self, watched: str, factor: float) -> int:
        """Number of finished runs at a lambda that early stopping does not stop."""
        runs = self.runs(factor).values()
        return sum(self.stopping.end(run.history[watched]) is None for run in runs)

    def against(self, measure: Measure) -> tuple[MeanDifference | None, ...]:
        """Each lambda against the baseline, paired by seed; the tests are one family."""
        base, found = self.values(0.0, measure), []
        for factor in self.factors:
            rival = self.values(factor, measure)
            seeds = sorted(rival.keys() & base.keys())
            found.append(compared([rival[s] for s in seeds], [base[s] for s in seeds]))
        return holm_adjusted(found)


def blocks(table: Table3, masks: Sequence[tuple[str, Any]], choices: str) -> list[Block]:
    """The blocks of the page."""
    stopping, epochs = table.stopping, max((r.epochs for r in table.records), default=0)
    return [
        Heading("The paper's own table"),
        _paper_table(),
        Heading("Table 3 from these runs"),
        *(_own_table(table, watched) for watched in WATCHED),
        Paragraph(
            f"Every run is trained for {epochs} epochs. Its history says when early stopping (patience "
            f"{stopping.patience}, change {stopping.min_delta:g}) would stop it: once watching val_loss, which "
            "includes the penalty, as Keras does by default; once watching the loss of the task alone. Seconds are "
            f"those epochs times the run's mean time of an epoch. The term is eq. 25, a sum over filters and channels. "
            f"{choices}"
        ),
        Heading("Figure 10: the masks"),
        Picture(
            "masks.png",
            plots.png(_masks(masks)),
            "Test images, their true masks, and the masks of the networks of the first seed after the last epoch. One "
            "network each: this is an illustration, not a comparison.",
            "A grid of images, true masks and predicted masks for each lambda.",
        ),
        Heading("Learning curves"),
        Picture(
            "curves.png",
            plots.png(_curves(table)),
            "Means over seeds. Left: the loss of the task. Right: the loss with the penalty, which early stopping "
            "watches by default.",
            "Validation loss by epoch for each lambda, without and with the penalty.",
        ),
    ]


def _paper_table() -> Table:
    rows = tuple(
        (
            f"{row['factor']:g}",
            str(row["epochs"]),
            f"{row['seconds']:.0f}",
            f"{row['seconds'] / row['epochs']:.0f}",
            f"{row['accuracy']:.4f}",
            f"{row['iou']:.4f}",
        )
        for row in meni("a-table3")["rows"]
    )
    return Table(
        "One run for each lambda, as the paper prints it",
        ("lambda", "epochs", "seconds", "seconds an epoch", "accuracy", "IoU"),
        rows,
        ("Seconds an epoch are computed here. The paper says that a seed was set; there is one run of each.",),
    )


def _own_table(table: Table3, watched: str) -> Table:
    measures = {
        "epochs": table.epochs(watched),
        "seconds": table.seconds(watched),
        "accuracy": table.reached(watched, "val_accuracy"),
        "IoU": table.reached(watched, METRIC),
    }
    head = ["lambda", "runs"]
    for name in measures:
        head += [name, f"{name} minus that of 0 (95 %)"]
    differences = {name: dict(zip(table.factors, table.against(m), strict=True)) for name, m in measures.items()}
    rows = []
    for factor in table.all_factors:
        row = [f"{factor:g}", str(len(table.runs(factor)))]
        for name, measure in measures.items():
            average = mean(table.values(factor, measure).values())
            row += [DASH if math.isnan(average) else f"{average:.4g}", interval(differences[name].get(factor))]
        rows.append(tuple(row))
    notes = ["Differences are paired by seed; each interval is a t interval of its own comparison."]
    unstopped = {factor: table.unstopped(watched, factor) for factor in table.all_factors}
    if any(unstopped.values()):
        counts = ", ".join(f"{n} of {len(table.runs(f))} at lambda {f:g}" for f, n in unstopped.items())
        notes.append(f"Not stopped within the trained epochs, and counted with all of them: {counts}.")
    if unfinished(table.records):
        notes.append(unfinished(table.records))
    return Table(f"Stopped on {WATCHED[watched]} ({watched})", tuple(head), tuple(rows), tuple(notes))


def _masks(columns: Sequence[tuple[str, Any]]) -> Any:
    from matplotlib.figure import Figure

    count = len(columns[0][1])
    height, width = columns[0][1].shape[1:3]
    figure = Figure(figsize=(1.8 * len(columns), 0.3 + 1.8 * count * height / width), layout="constrained")
    grid = figure.subplots(count, len(columns), squeeze=False)
    for j, (title, images) in enumerate(columns):
        grid[0][j].set_title(title, fontsize=9, parse_math=False)
        for i in range(count):
            grid[i][j].set_axis_off()
            image = np.asarray(images[i], dtype=float)
            grid[i][j].imshow(np.clip(image, 0, 1), cmap=None if image.ndim == 3 else "gray", vmin=0, vmax=1)
    return figure


def _curves(table: Table3) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, watched in zip(panels, reversed(WATCHED), strict=True):
        for factor in table.all_factors:
            curves = [record.history[watched] for record in table.runs(factor).values()]
            if curves:
                average = np.mean(curves, axis=0)
                epochs = range(1, len(average) + 1)
                panel.plot(epochs, average, label=f"lambda {factor:g}", color="black" if factor == 0 else None)
        panel.set_title(watched, fontsize=10)
        panel.set_yscale("log")
        panel.set_xlabel("epoch")
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", alpha=0.3)
    if panels[0].lines:
        panels[0].legend(fontsize=8, frameon=False)
    return figure


def conclusions(table: Table3) -> Iterator[str]:
    """One sentence for each claim."""
    yield from _of_the_paper()
    for name, metric in (("accuracy", "val_accuracy"), ("IoU", METRIC)):
        yield _compared(table, name, table.reached("val_task_loss", metric), lower_is_better=False)
    for watched in reversed(WATCHED):
        name = f"epochs, stopped on {WATCHED[watched]}{_limit(table, watched)}"
        yield _compared(table, name, table.epochs(watched), lower_is_better=True)
    if unfinished(table.records):
        yield unfinished(table.records)


def _limit(table: Table3, watched: str) -> str:
    """In brackets, how many runs early stopping does not stop; empty if none."""
    number = sum(table.unstopped(watched, factor) for factor in table.all_factors)
    runs = sum(len(table.runs(factor)) for factor in table.all_factors)
    if not number:
        return ""
    return f" ({number} of {runs} runs would have continued beyond the last epoch, and count as stopped there)"


def _compared(table: Table3, name: str, measure: Measure, lower_is_better: bool) -> str:
    """All values of lambda against the baseline, in one sentence."""
    parts = []
    for factor, result in zip(table.factors, table.against(measure), strict=True):
        if result is None:
            own, base = (mean(table.values(f, measure).values()) for f in (factor, 0.0))
            parts.append(f"lambda {factor:g}: {own:.4g} against {base:.4g}, too few seeds for an interval")
        else:
            word = result.conclusion(lower_is_better=lower_is_better)
            shown = {"better": "fewer", "worse": "more"}.get(word, word) if lower_is_better else word
            p = p_equals(p_value(result))
            parts.append(f"lambda {factor:g}: {shown}, {interval(result)}, n = {result.n}, p {p}")
    note = " (p adjusted by Holm; intervals are not)" if len(parts) > 1 else ""
    return f"These runs, {name}, minus lambda = 0 by seed{note}: {'; '.join(parts)}."


def _of_the_paper() -> Iterator[str]:
    rows = meni("a-table3")["rows"]
    base, *rest = rows
    gains = [row["accuracy"] - base["accuracy"] for row in rest]
    more, iou = sum(gain > 0 for gain in gains), sum(row["iou"] > base["iou"] for row in rest)
    yield (
        f'"Always greater accuracy, nearly always greater IoU": in the paper the accuracy is greater at {more} of '
        f"{len(rest)} values of lambda, by {min(gains):.4f} to {max(gains):.4f}, the IoU at {iou}. All are differences "
        f"from one and the same run. If all {len(rows)} runs were alike, it would be the lowest of them with "
        f"probability {1 / len(rows):.2f}. A single run has no interval."
    )
    fewer, faster = ([row for row in rest if row[name] < base[name]] for name in ("epochs", "seconds"))
    percent = 100 * (1 - min(row["seconds"] for row in rest) / base["seconds"])
    slower = sum(row["epochs"] > base["epochs"] for row in faster)
    pace = [row["seconds"] / row["epochs"] for row in rows]
    spread = 100 * float(np.std(pace, ddof=1) / np.mean(pace))
    yield (
        f'"About 10 % faster": in the paper {len(fewer)} of {len(rest)} values of lambda takes fewer epochs '
        f"({fewer[0]['epochs']}, not {base['epochs']}), and {len(faster)} take fewer seconds, by up to {percent:.0f} "
        f"%, {slower} of them with more epochs. An epoch of the same computation took {min(pace):.0f} to "
        f"{max(pace):.0f} seconds, with a standard deviation of {spread:.0f} %: the gain in seconds is within this "
        "variation."
    )
