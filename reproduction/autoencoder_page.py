"""Page of figures 3 to 6 (Meni et al., 2023), from the records of autoencoders."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from keras_entropy import plots
from keras_entropy.study import ArmResult, Comparison, PairwiseTable, RunRecord, compare, pairwise_table
from keras_entropy.study.document import DASH, Block, Heading, Paragraph, Picture, Table
from keras_entropy.study.wording import interval
from reproduction import width_curves
from reproduction.estimates import plural
from reproduction.paper_numbers import meni
from reproduction.study_runs import effort, finished

NONE, RECIPROCAL, CONSTANT, LOG = "none", "eq. 24", "constant", "eq. 21"
STOPPED = {"val_loss": "the whole loss (as in the paper)", "val_task_loss": "the task alone"}
RIVALS = {"val_loss": (RECIPROCAL, CONSTANT), "val_task_loss": (RECIPROCAL, LOG)}
INERT = {"val_loss": CONSTANT, "val_task_loss": NONE}
"""The arm that a term without an effect on the weights equals, by what early stopping watches."""
MSE, EPOCHS = "validation MSE", "stopping epoch"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Findings:
    """What the page of a figure is written from.

    Attributes:
        name: Name of the figure.
        data: Name of the data.
        records: Records of the runs, by what early stopping watched.
        factors: Values of lambda besides 0.
        widths: Latent widths.
        epsilon: Epsilon of eq. 24.
        epochs: Limit of epochs.
        warned: Warnings of the studies.
        choices: Sentence with the values that the paper does not say.
    """

    name: str
    data: str
    records: Mapping[str, Sequence[RunRecord]]
    factors: Sequence[float]
    widths: Sequence[int]
    epsilon: float
    epochs: int
    warned: tuple[str, ...]
    choices: str

    @property
    def metric(self) -> str:
        """The number that the figure shows."""
        return MSE if self.name in ("a-fig3", "a-fig5") else EPOCHS

    @property
    def width(self) -> int:
        """Width of the table of signs: 180 if it was trained, else the largest."""
        return 180 if 180 in self.widths else max(self.widths)

    @property
    def all_records(self) -> list[RunRecord]:
        """Records of all runs."""
        return [record for records in self.records.values() for record in records]

    def runs(self, monitor: str, *arms: str) -> list[RunRecord]:
        """Records of some arms, with both metrics in their history and lambda as an axis."""
        found = []
        for record in self.records[monitor]:
            if record.arm in arms:
                point = {"λ" if axis == "factor" else axis: value for axis, value in record.point.items()}
                history: dict[str, Sequence[float]] = {EPOCHS: [float(record.epochs)]}
                if "val_task_loss" in record.history:
                    history[MSE] = record.history["val_task_loss"]
                found.append(dataclasses.replace(record, point=point, history=history))
        return found

    def compared(self, monitor: str, metric: str, *arms: str) -> Comparison:
        """Some arms against the baseline."""
        return compare(self.runs(monitor, NONE, *arms), metric, NONE, lower_is_better=True)


def blocks(found: Findings) -> tuple[Block, ...]:
    """The blocks of the page."""
    warned = [Paragraph(f"Warning of the study: {text}") for text in dict.fromkeys(found.warned)]
    return (
        Heading("The figure, from these runs"),
        Paragraph(found.choices),
        _picture(found),
        Paragraph(
            "Left: as in the paper, early stopping watches the validation loss, which includes the term. Right: the "
            "same training, stopped on the MSE alone. The arm 'constant' adds the value of eq. 24 at the initial "
            "weights, a number without a gradient."
        ),
        *warned,
        Heading("Which differences are significant"),
        _signs(found),
        _paper_signs(found),
        Heading("What the term does"),
        _equal_weights(found),
        Heading("The corrected analysis"),
        *(_against(found, monitor) for monitor in STOPPED),
        found.compared("val_task_loss", MSE, RECIPROCAL, LOG).effort_table(),
        Paragraph(effort(found.all_records)),
    )


def _picture(found: Findings) -> Picture:
    title = f"Mean {found.metric} by latent width and lambda, with 95 % t intervals"
    panels = {
        f"stopped on {words}": found.compared(monitor, found.metric, *RIVALS[monitor])
        for monitor, words in STOPPED.items()
    }
    figure = width_curves.by_width(panels, title, found.metric, axis="width", own="λ")
    seeds = plural(len({record.seed for record in found.records["val_loss"]}), "seed")
    caption = f"{title}: autoencoders on {found.data}, {seeds}."
    return Picture(f"{found.name}.png", plots.png(figure), caption, caption)


def sign_table(found: Findings) -> PairwiseTable:
    """Tests of all pairs of lambdas as in the paper: unpaired and not adjusted. "+" says that the row is higher."""
    runs = [record for record in found.runs("val_loss", NONE, RECIPROCAL) if record.point["width"] == found.width]
    (table,) = pairwise_table(runs, found.metric, paired=False, adjust=None, lower_is_better=False)
    return table


def _signs(found: Findings) -> Table:
    table = sign_table(found)
    names = [name.replace("eq. 24 (λ=", "λ = ").replace(")", "").replace(NONE, "λ = 0") for name in table.names]
    rows = [
        (short, *(DASH if a == b else table.sign(a, b) for b in table.names))
        for short, a in zip(names, table.names, strict=True)
    ]
    impossible = sum(result is None or math.isnan(result.low) for result in table.results.values())
    notes = [
        "+: shown to be higher for the row than for the column; -: lower. Welch t tests at 0.01 each, not adjusted for "
        "their number, as in the paper."
    ]
    if impossible:
        notes.append(f"{impossible} of {len(table.results)} tests were impossible, mostly for lack of variation.")
    notes += [f"{table.caption}."] if table.caption else []
    return Table(f"These runs: {found.metric} at width {found.width}", ("", *names), tuple(rows), tuple(notes))


def _paper_signs(found: Findings) -> Table:
    paper = meni(found.name)
    rows, columns = ([f"λ = {factor:g}" for factor in paper[side]] for side in ("rows", "columns"))
    cells = [(name, *signs) for name, signs in zip(rows, paper["signs"], strict=True)]
    against, of = contradictions(paper["signs"])
    note = f"{against} of the {of} pairs that are printed twice have signs that contradict each other."
    return Table(
        f"The paper, at width {paper['width']}", ("", *columns), tuple(cells), (note,) if against else ()
    )  # fmt: skip


def contradictions(signs: Sequence[Sequence[str]]) -> tuple[int, int]:
    """How many pairs of a table of signs contradict their mirror image, and how many pairs there are."""
    opposite = {"+": "-", "-": "+", "": ""}
    pairs = [(signs[j][i], signs[i][j]) for i in range(len(signs[0])) for j in range(i)]
    return sum(a != opposite[b] for a, b in pairs), len(pairs)


@dataclasses.dataclass(frozen=True)
class Same:
    """How many runs end with the weights of their partners, bit by bit, and how many pairs there are."""

    same: int
    of: int

    def __add__(self, other: Same) -> Same:
        """The counts of both together."""
        return Same(self.same + other.same, self.of + other.of)

    def __str__(self) -> str:
        """The counts in words."""
        return f"{self.same} of {self.of}"


def same_weights(found: Findings, monitor: str, width: int, factor: float) -> Same:
    """Runs of eq. 24 that end with the weights of the inert arm (`INERT`) with the same seed."""
    weights: dict[tuple[str, int], str] = {}
    for record in found.records[monitor]:
        if record.ok and record.point["width"] == width and record.point.get("factor", factor) == factor:
            weights[record.arm, record.seed] = record.final_weights
    pairs = [(weights[arm, seed], weights.get((INERT[monitor], seed))) for arm, seed in weights if arm == RECIPROCAL]
    there = [(own, other) for own, other in pairs if other is not None]
    return Same(sum(own == other for own, other in there), len(there))


def spacing(found: Findings, factor: float) -> float:
    """The smallest change of the loss that float32 shows if the term has its largest value, factor / epsilon."""
    return float(np.spacing(np.float32(factor / found.epsilon)))


def _equal_weights(found: Findings) -> Table:
    rows = []
    for factor in found.factors:
        cells = [f"{factor:g}", f"{factor / found.epsilon:g}", f"{spacing(found, factor):.2g}"]
        for monitor in STOPPED:
            cells += [str(same_weights(found, monitor, width, factor)) for width in found.widths]
        rows.append(tuple(cells))
    head = ["λ", "λ/ε", "float32 spacing at λ/ε"]
    head += [f"equal to the constant, width {width}" for width in found.widths]
    head += [f"equal to none, width {width}" for width in found.widths]
    notes = (
        "If the determinant is far below ε, eq. 24 is the constant λ/ε, and a validation loss changes in steps of the "
        "spacing of float32 there.",
        "Equal to the constant: number of runs, stopped on the whole loss, that end with the weights of the run with "
        "the constant. Equal to none: number of runs, stopped on the task alone, that end with those of the run "
        "without a term.",
    )
    return Table("Trained weights that are bit-identical", tuple(head), tuple(rows), notes)


def _against(found: Findings, monitor: str) -> Table:
    rows = []
    mse, epochs = (found.compared(monitor, metric, *RIVALS[monitor]) for metric in (MSE, EPOCHS))
    for one, other in zip(mse.rows, epochs.rows, strict=True):
        place = (str(one.shared["width"]), one.label, f"{len(one.values)} of {one.runs}")
        rows.append((*place, *(interval(e) for e in (one.mean, one.difference, other.mean, other.difference))))
    head = ("width", "arm", "n of runs", "MSE", "minus none", "epochs", "minus none")
    limit = f"Training ends after at most {found.epochs} epochs."
    note = f"Means with 95 % t intervals; differences are paired by seed. {limit}"
    failed = (f"{mse.caption}.",) if mse.caption else ()
    return Table(f"Stopped on {STOPPED[monitor]}", head, tuple(rows), (*failed, note), 2)


def conclusions(found: Findings) -> tuple[str, ...]:
    """One sentence for each claim."""
    own = _mse_conclusions(found) if found.metric == MSE else _epoch_conclusions(found)
    return (*own, *_cause(found), *_log(found), finished(found.all_records))


def _row(comparison: Comparison, arm: str, width: int, factor: float) -> ArmResult:
    return next(
        row
        for row in comparison.rows
        if row.arm == arm and row.shared["width"] == width and row.own.get("λ", factor) == factor
    )


def _mse_conclusions(found: Findings) -> list[str]:
    largest, width = max(found.factors), found.width
    sentences = []
    for monitor, words in STOPPED.items():
        compared = found.compared(monitor, MSE, RECIPROCAL)
        row, base = _row(compared, RECIPROCAL, width, largest), _row(compared, NONE, width, largest)
        means = f"{interval(base.mean)} without a term, {interval(row.mean)} with λ = {largest:g}"
        said = "no test" if row.difference is None else row.difference.sentence(row.label, NONE, lower_is_better=True)
        sentences.append(f"MSE at width {width}, stopped on {words}: {means}; {said}.")
    return sentences


def _epoch_conclusions(found: Findings) -> list[str]:
    width = found.width
    sentences = []
    for monitor, words in STOPPED.items():
        compared = found.compared(monitor, EPOCHS, RECIPROCAL)
        base = _row(compared, NONE, width, found.factors[0])
        parts = []
        for factor in found.factors:
            row = _row(compared, RECIPROCAL, width, factor)
            constant = row.difference is not None and math.isnan(row.difference.low)
            minus = f"minus none {interval(row.difference)}{' in every seed' if constant else ''}"
            parts.append(f"{interval(row.mean)} for λ = {factor:g} ({minus})")
        limit = sum(epochs >= found.epochs for epochs in base.epochs.values())
        ended = f" ({limit} of {len(base.epochs)} at the limit of {found.epochs})" if limit else ""
        start = f"Epochs at width {width}, stopped on {words}, n = {plural(len(base.values), 'seed')}: "
        sentences.append(f"{start}{interval(base.mean)} without a term{ended}, {', '.join(parts)}.")
    return sentences


def _cause(found: Findings) -> list[str]:
    """Whether eq. 24 does anything besides stopping the training."""
    sentences = []
    for monitor, rival in INERT.items():
        counts = {}
        for width in found.widths:
            counts[width] = Same(0, 0)
            for factor in found.factors:
                counts[width] += same_weights(found, monitor, width, factor)
        by_width = ", ".join(f"{count} at width {width}" for width, count in counts.items())
        other = "a constant of its size" if rival == CONSTANT else "no term"
        sentences.append(
            f"Stopped on {STOPPED[monitor]}, runs with eq. 24 end with the weights of {other}, bit by bit: {by_width}."
        )
    total = [width for width in found.widths if _inert(found, width)]
    if total:
        sentences.append(
            f"So at width {', '.join(map(str, total))} eq. 24 had no effect on any step of these runs. When it stopped "
            "one early, a constant without a gradient stopped it at the same epoch: beside a number of that size, "
            "float32 does not show a change of the loss that is smaller than its spacing."
        )
    return sentences


def _inert(found: Findings, width: int) -> bool:
    counts = [same_weights(found, monitor, width, factor) for monitor in INERT for factor in found.factors]
    return all(count.of > 0 and count.same == count.of for count in counts)


def _log(found: Findings) -> list[str]:
    """Whether the logarithm, which has a gradient, lowers the MSE."""
    if not any(record.arm == LOG for record in found.records["val_task_loss"]):
        return []
    compared = found.compared("val_task_loss", MSE, LOG)
    return [
        f"The logarithm, stopped on the task alone, at width {row.shared['width']}: "
        f"{row.difference.sentence(row.label, NONE, lower_is_better=True)}."
        for row in compared.rivals
        if row.shared["width"] == found.width and row.difference is not None
    ]
