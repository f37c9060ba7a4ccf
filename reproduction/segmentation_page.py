"""What the page on table 3 of source A shows: when training would stop, and what it has reached then."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from keras_entropy import plots
from keras_entropy.stats import MeanDifference, holm_adjusted, paired_t
from keras_entropy.study import arm_groups, result_tables
from keras_entropy.study.arm_groups import mean_of, quiet, text
from keras_entropy.study.document import Block, Heading, Paragraph, Picture, Table
from keras_entropy.study.records import RunRecord
from reproduction import single_run_table

BASELINE, TERM = "none", "pre-concat"
METRIC = "val_iou"
WATCHED = ("val_loss", "val_task_loss")


@dataclasses.dataclass(frozen=True)
class Stopping:
    """Early stopping, read off the history of a run that was trained on.

    Attributes:
        patience: epochs without improvement after which it stops.
        min_delta: smallest change that is an improvement.
    """

    patience: int
    min_delta: float

    def epoch(self, values: Sequence[float]) -> int:
        """The number of epochs after which `keras.callbacks.EarlyStopping` ends; all if it does not."""
        return self.end(values) or len(values)

    def end(self, values: Sequence[float]) -> int | None:
        """The same; None if it does not end."""
        best, waited = math.inf, 0
        for number, value in enumerate(values, start=1):
            waited += 1
            if value + self.min_delta < best:  # as Keras rounds it
                best, waited = value, 0
            elif waited >= self.patience and number > 1:
                return number
        return None


@dataclasses.dataclass(frozen=True)
class Tried:
    """The runs of table 3.

    Attributes:
        records: of them.
        stopping: when they would have ended.
        factors: the values of lambda above 0.
    """

    records: tuple[RunRecord, ...]
    stopping: Stopping
    factors: tuple[float, ...]

    def runs(self, factor: float) -> dict[int, RunRecord]:
        """The finished runs at a lambda, by seed."""
        return {r.seed: r for r in self.records if r.ok and r.point.get("factor", 0.0) == factor}

    def values(self, factor: float, measure: Callable[[RunRecord], float]) -> dict[int, float]:
        """A number of each finished run at a lambda, by seed."""
        found = {seed: measure(record) for seed, record in self.runs(factor).items()}
        return {seed: value for seed, value in found.items() if math.isfinite(value)}

    def epochs(self, watched: str) -> Callable[[RunRecord], float]:
        """How many epochs a run takes where early stopping watches a loss."""
        return lambda record: float(self.stopping.epoch(record.history[watched]))

    def seconds(self, watched: str) -> Callable[[RunRecord], float]:
        """How long these epochs take, at the mean time of an epoch of the run."""
        return lambda record: record.wall_seconds / record.epochs * self.stopping.epoch(record.history[watched])

    def reached(self, watched: str, metric: str) -> Callable[[RunRecord], float]:
        """The metric when early stopping ends."""
        return lambda record: record.history[metric][self.stopping.epoch(record.history[watched]) - 1]

    def unended(self, watched: str, factor: float) -> int:
        """How many finished runs at a lambda early stopping does not end."""
        runs = self.runs(factor).values()
        return sum(self.stopping.end(run.history[watched]) is None for run in runs)

    def against(self, measure: Callable[[RunRecord], float]) -> list[MeanDifference | None]:
        """Each lambda against none by seed, as one family."""
        base, found = self.values(0.0, measure), []
        for factor in self.factors:
            rival = self.values(factor, measure)
            seeds = sorted(rival.keys() & base.keys())
            with quiet():
                a, b = [rival[s] for s in seeds], [base[s] for s in seeds]
                found.append(paired_t(a, b) if len(seeds) > 1 else None)
        return list(holm_adjusted(found))

    @property
    def failed(self) -> str:
        """Which runs did not finish; empty if all did."""
        return arm_groups.counted(arm_groups.failures_of(self.records), len(self.records))


def blocks(tried: Tried, masks: Sequence[tuple[str, Any]], choices: str) -> list[Block]:
    """The page."""
    return [
        Heading("The paper's own table"),
        _printed_table(),
        Heading("Table 3 from these runs"),
        *(_own_table(tried, watched) for watched in WATCHED),
        Paragraph(
            f"Every run is trained for {max((r.epochs for r in tried.records), default=0)} epochs; where early "
            f"stopping (patience {tried.stopping.patience}, change {tried.stopping.min_delta:g}) ends is read off "
            "its history: once watching val_loss, which holds the penalty, as Keras does where nothing else is said; "
            "once watching the loss of the task alone. Seconds are those epochs times the run's mean time of an epoch. "
            f"The term is eq. 25, a sum over filters and channels. {choices}"
        ),
        Heading("Figure 10: the masks"),
        Picture(
            "masks.png",
            plots.png(_masks(masks)),
            "Test images, their true masks, and the masks of the networks of the first seed after the last epoch. One "
            "network each: this illustrates, and compares nothing.",
            "A grid of images, true masks and predicted masks for each lambda.",
        ),
        Heading("Learning curves"),
        Picture(
            "curves.png",
            plots.png(_curves(tried)),
            "Means over seeds. Left: the loss of the task; right: the loss with the penalty, which early stopping "
            "watches by default.",
            "Validation loss by epoch for each lambda, without and with the penalty.",
        ),
    ]


def _printed_table() -> Table:
    rows = tuple(
        (text(f), str(epochs), f"{seconds:.0f}", f"{seconds / epochs:.0f}", f"{accuracy:.4f}", f"{iou:.4f}")
        for f, epochs, seconds, accuracy, iou in single_run_table.TABLE3
    )
    return Table(
        "One run for each lambda, as the paper prints it",
        ("lambda", "epochs", "seconds", "seconds an epoch", "accuracy", "IoU"),
        rows,
        ("Seconds an epoch are computed here. The paper says that a seed was set; there is one run of each.",),
    )


def _own_table(tried: Tried, watched: str) -> Table:
    measures = {
        "epochs": tried.epochs(watched),
        "seconds": tried.seconds(watched),
        "accuracy": tried.reached(watched, "val_accuracy"),
        "IoU": tried.reached(watched, METRIC),
    }
    head = ["lambda", "runs"]
    for name in measures:
        head += [name, f"{name} minus that of 0 (95 %)"]
    differences = {name: dict(zip(tried.factors, tried.against(m), strict=True)) for name, m in measures.items()}
    rows = []
    for factor in (0.0, *tried.factors):
        row = [text(factor), str(len(tried.runs(factor)))]
        for name, measure in measures.items():
            mean = mean_of(list(tried.values(factor, measure).values()), 0.95)
            row += [
                "—" if mean is None else f"{mean.estimate:.4g}",
                result_tables.interval(differences[name].get(factor)),
            ]
        rows.append(tuple(row))
    notes = ["Differences are paired by seed, with t intervals of each alone."]
    unended = [(factor, tried.unended(watched, factor)) for factor in (0.0, *tried.factors)]
    if any(number for _, number in unended):
        counts = ", ".join(f"{n} of {len(tried.runs(f))} at lambda {text(f)}" for f, n in unended)
        notes.append(f"Not ended by early stopping within the epochs that were trained, which count: {counts}.")
    if tried.failed:
        notes.append(f"{tried.failed}.")
    kind = "with the penalty" if watched == "val_loss" else "of the task alone"
    return Table(f"Stopped by the loss {kind} ({watched})", tuple(head), tuple(rows), tuple(notes))


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


def _curves(tried: Tried) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, watched in zip(panels, reversed(WATCHED), strict=True):
        for factor in (0.0, *tried.factors):
            curves = [record.history[watched] for record in tried.runs(factor).values()]
            if curves:
                mean = np.mean(curves, axis=0)
                panel.plot(
                    range(1, len(mean) + 1), mean, label=f"lambda {factor:g}", color="black" if factor == 0 else None
                )
        panel.set_title(watched, fontsize=10)
        panel.set_yscale("log")
        panel.set_xlabel("epoch")
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", alpha=0.3)
    if panels[0].lines:
        panels[0].legend(fontsize=8, frameon=False)
    return figure


def verdicts(tried: Tried) -> Iterator[str]:
    """One sentence for each claim."""
    yield from _of_the_paper()
    for said, measure, lower in (
        ("accuracy", tried.reached("val_task_loss", "val_accuracy"), False),
        ("IoU", tried.reached("val_task_loss", METRIC), False),
        (
            f"epochs, stopped by the loss of the task{_limit(tried, 'val_task_loss')}",
            tried.epochs("val_task_loss"),
            True,
        ),
        (f"epochs, stopped by the loss with the penalty{_limit(tried, 'val_loss')}", tried.epochs("val_loss"), True),
    ):
        yield _summed(tried, said, measure, lower)
    if tried.failed:
        yield f"{tried.failed}."


def _limit(tried: Tried, watched: str) -> str:
    """How many runs would have gone on, in brackets; empty if none."""
    number = sum(tried.unended(watched, factor) for factor in (0.0, *tried.factors))
    runs = sum(len(tried.runs(factor)) for factor in (0.0, *tried.factors))
    return (
        f" ({number} of {runs} runs would have gone on beyond the last epoch, and count as ended there)"
        if number
        else ""
    )


def _summed(tried: Tried, said: str, measure: Callable[[RunRecord], float], lower: bool) -> str:
    """All values of lambda against none, in one sentence."""
    parts = []
    for factor, result in zip(tried.factors, tried.against(measure), strict=True):
        if result is None:
            mean = {f: mean_of(list(tried.values(f, measure).values()), 0.95) for f in (0.0, factor)}
            pair = [math.nan if m is None else m.estimate for m in (mean[factor], mean[0.0])]
            parts.append(f"lambda {text(factor)}: {pair[0]:.4g} against {pair[1]:.4g}, too few seeds for an interval")
        else:
            p = result_tables.p_value(result)
            word = result.verdict(lower_is_better=lower)
            shown = {"better": "fewer", "worse": "more"}.get(word, word) if lower else word
            parts.append(
                f"lambda {text(factor)}: {shown}, {result_tables.interval(result)}, n = {result.n}, p {_equals(p)}"
            )
    note = " (p adjusted by Holm; intervals are not)" if len(parts) > 1 else ""
    return f"These runs, {said}, minus lambda = 0 by seed{note}: {'; '.join(parts)}."


def _equals(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"


def _of_the_paper() -> Iterator[str]:
    base, *rest = single_run_table.TABLE3
    gains = [row[3] - base[3] for row in rest]
    more, iou, alike = sum(g > 0 for g in gains), sum(row[4] > base[4] for row in rest), len(rest) + 1
    yield (
        f'"Always greater accuracy, nearly always greater IoU": in the paper the accuracy is greater at {more} of '
        f"{len(rest)} values of lambda, by {min(gains):.4f} to {max(gains):.4f}, the IoU at {iou}. All are differences "
        f"from one and the same run, which is the lowest of {alike} alike ones with probability {1 / alike:.2f}; one "
        "run of each has no interval."
    )
    fewer, faster = ([row for row in rest if row[at] < base[at]] for at in (1, 2))
    percent = 100 * (1 - min(row[2] for row in rest) / base[2])
    slower = sum(row[1] > base[1] for row in faster)
    pace = [row[2] / row[1] for row in single_run_table.TABLE3]
    spread = 100 * float(np.std(pace, ddof=1) / np.mean(pace))
    yield (
        f'"About 10 % faster": in the paper {len(fewer)} of {len(rest)} values of lambda takes fewer epochs '
        f"({fewer[0][1]}, not {base[1]}), and {len(faster)} take fewer seconds, by up to {percent:.0f} %, {slower} of "
        f"them with more epochs. An epoch of the same computation took {min(pace):.0f} to {max(pace):.0f} seconds, "
        f"with a standard deviation of {spread:.0f} %: the gain in seconds is within what the machine's pace varied."
    )
