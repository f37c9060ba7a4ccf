"""What figures 3 to 6 of source A show, from the records of autoencoders: tables, pictures and sentences."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from keras_entropy import plots
from keras_entropy.study import arm_groups, compare
from keras_entropy.study.arm_groups import plural
from keras_entropy.study.comparison import ArmResult, Comparison
from keras_entropy.study.document import DASH, Block, Heading, Paragraph, Picture, Table
from keras_entropy.study.records import RunRecord
from keras_entropy.study.result_tables import effort_table, interval
from keras_entropy.study.significance_tables import PairwiseTable, pairwise_table
from reproduction import published, width_curves
from reproduction.image_data import effort

NONE, RECIPROCAL, CONSTANT, LOG = "none", "eq. 24", "constant", "eq. 21"
STOPPED = {"val_loss": "all of the loss (as printed)", "val_task_loss": "the task alone"}
RIVALS = {"val_loss": (RECIPROCAL, CONSTANT), "val_task_loss": (RECIPROCAL, LOG)}
MSE, EPOCHS = "validation MSE", "stopping epoch"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Findings:
    """What the pages of a figure are written from.

    Attributes:
        name: of the figure.
        data: name of the data.
        records: by what early stopping watched.
        factors, widths, epsilon, epochs: of the protocol.
        warned: what the studies warned of.
        chosen: what the paper does not say, in a sentence.
    """

    name: str
    data: str
    records: Mapping[str, Sequence[RunRecord]]
    factors: Sequence[float]
    widths: Sequence[int]
    epsilon: float
    epochs: int
    warned: tuple[str, ...]
    chosen: str

    @property
    def metric(self) -> str:
        """Which number the figure shows."""
        return MSE if self.name in ("a-fig3", "a-fig5") else EPOCHS

    @property
    def width(self) -> int:
        """Of the table of signs: 180 where it was trained, else the largest one."""
        return 180 if 180 in self.widths else max(self.widths)

    def runs(self, monitor: str, *arms: str) -> list[RunRecord]:
        """The records as the figures need them: both metrics by name, lambda as an axis."""
        found = []
        for record in self.records[monitor]:
            if record.arm in arms:
                point = {"λ" if axis == "factor" else axis: value for axis, value in record.point.items()}
                history = {EPOCHS: [float(record.epochs)]}
                if "val_task_loss" in record.history:
                    history[MSE] = record.history["val_task_loss"]
                found.append(dataclasses.replace(record, point=point, history=history))
        return found

    def compared(self, monitor: str, metric: str, *arms: str) -> Comparison:
        """Arms against no term."""
        return compare(self.runs(monitor, NONE, *arms), metric, NONE, lower_is_better=True)


def blocks(found: Findings) -> tuple[Block, ...]:
    """The page of a figure."""
    warned = [Paragraph(f"What the study says beforehand: {text}") for text in dict.fromkeys(found.warned)]
    return (
        Heading("The figure, from these runs"),
        Paragraph(found.chosen),
        _picture(found),
        Paragraph(
            "The left panel is the paper's: early stopping watches the validation loss with the term in it. The right "
            "panel is the same training, stopped on the MSE alone. The constant is the number that eq. 24 is at the "
            "initial weights, without a gradient."
        ),
        *warned,
        Heading("Which difference is significant"),
        _signs(found),
        _printed(found),
        Heading("What the term does"),
        _identity(found),
        Heading("The corrected analysis"),
        *(_against(found, monitor) for monitor in STOPPED),
        effort_table(found.compared("val_task_loss", MSE, RECIPROCAL, LOG)),
        Paragraph(effort(record for records in found.records.values() for record in records)),
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
    """Each two lambdas by tests as in the paper: not paired, not adjusted; + where the row is higher."""
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
    still = sum(result is None or math.isnan(result.low) for result in table.results.values())
    notes = [
        "+: shown to be higher for the row than for the column; -: lower. Welch t tests at 0.01 each, not adjusted for "
        "their number, as in the paper."
    ]
    if still:
        notes.append(f"{still} of {len(table.results)} tests could not be made, mostly as neither sample varies.")
    notes += [f"{table.caption}."] if table.caption else []
    return Table(f"These runs: {found.metric} at width {found.width}", ("", *names), tuple(rows), tuple(notes))


def _printed(found: Findings) -> Table:
    names = ["λ = 0", *(f"λ = {factor:g}" for factor in published.FACTORS)]
    signs = published.SIGNS[found.name]
    rows = [(name, *row) for name, row in zip(names, signs, strict=True)]
    against, of = contradictions(signs)
    note = f"{against} of the {of} pairs that are printed twice have signs that contradict each other."
    width = published.SIGN_WIDTHS[found.name]
    notes = (note,) if against else ()
    return Table(f"The paper, at width {width}", ("", *names[: len(signs[0])]), tuple(rows), notes)


def contradictions(signs: Sequence[Sequence[str]]) -> tuple[int, int]:
    """How many pairs of a table of signs are not each other's opposite, and of how many."""
    opposite = {"+": "-", "-": "+", "": ""}
    pairs = [(signs[j][i], signs[i][j]) for i in range(len(signs[0])) for j in range(i)]
    return sum(a != opposite[b] for a, b in pairs), len(pairs)


@dataclasses.dataclass(frozen=True)
class Same:
    """How many runs end with the bits of their partners, and of how many."""

    same: int
    of: int

    def __add__(self, other: Same) -> Same:
        """Of both together."""
        return Same(self.same + other.same, self.of + other.of)

    def __str__(self) -> str:
        """In words."""
        return f"{self.same} of {self.of}"


def same_weights(found: Findings, monitor: str, rival: str, width: int, factor: float) -> Same:
    """Runs of eq. 24 that end with the bits of the run of another arm with the same seed."""
    weights: dict[tuple[str, int], str] = {}
    for record in found.records[monitor]:
        if record.ok and record.point["width"] == width and record.point.get("factor", factor) == factor:
            weights[record.arm, record.seed] = record.final_weights
    pairs = [(weights[arm, seed], weights.get((rival, seed))) for arm, seed in weights if arm == RECIPROCAL]
    there = [(own, other) for own, other in pairs if other is not None]
    return Same(sum(own == other for own, other in there), len(there))


def spacing(found: Findings, factor: float) -> float:
    """The least change of the loss that float32 shows where the term is a constant."""
    return float(np.spacing(np.float32(factor / found.epsilon)))


def _identity(found: Findings) -> Table:
    rows = []
    for factor in found.factors:
        cells = [f"{factor:g}", f"{factor / found.epsilon:g}", f"{spacing(found, factor):.2g}"]
        for monitor, rival in (("val_loss", CONSTANT), ("val_task_loss", NONE)):
            cells += [str(same_weights(found, monitor, rival, width, factor)) for width in found.widths]
        rows.append(tuple(cells))
    head = ["λ", "λ/ε", "float32 spacing there"]
    head += [f"as the constant, width {width}" for width in found.widths]
    head += [f"as none, width {width}" for width in found.widths]
    notes = (
        "Where the determinant is far below ε, eq. 24 is the constant λ/ε, and a validation loss changes by steps of "
        "the spacing of float32 there.",
        "As the constant: how many runs, stopped on all of the loss, end with the weights of the run with the "
        "constant, bit by bit. As none: stopped on the task alone, with those of the run without a term.",
    )
    return Table("Trained weights that are the same to the last bit", tuple(head), tuple(rows), notes)


def _against(found: Findings, monitor: str) -> Table:
    rows = []
    mse, epochs = (found.compared(monitor, metric, *RIVALS[monitor]) for metric in (MSE, EPOCHS))
    for one, other in zip(mse.rows, epochs.rows, strict=True):
        place = (str(one.shared["width"]), one.label, f"{len(one.values)} of {one.runs}")
        rows.append((*place, *(interval(e) for e in (one.mean, one.against, other.mean, other.against))))
    head = ("width", "arm", "n of runs", "MSE", "minus none", "epochs", "minus none")
    limit = f"Training ends after {found.epochs} epochs at the latest."
    note = f"Means with 95 % t intervals; differences are paired by seed. {limit}"
    failed = (f"{mse.caption}.",) if mse.caption else ()
    return Table(f"Stopped on {STOPPED[monitor]}", head, tuple(rows), (*failed, note), 2)


def verdicts(found: Findings) -> tuple[str, ...]:
    """One sentence for each claim."""
    own = _mse_verdicts(found) if found.metric == MSE else _epoch_verdicts(found)
    return (*own, *_cause(found), *_log(found), *_failed(found))


def _row(comparison: Comparison, arm: str, width: int, factor: float) -> ArmResult:
    return next(
        row
        for row in comparison.rows
        if row.arm == arm and row.shared["width"] == width and row.own.get("λ", factor) == factor
    )


def _mse_verdicts(found: Findings) -> list[str]:
    largest, width = max(found.factors), found.width
    sentences = []
    for monitor, words in STOPPED.items():
        compared = found.compared(monitor, MSE, RECIPROCAL)
        row, base = _row(compared, RECIPROCAL, width, largest), _row(compared, NONE, width, largest)
        means = f"{interval(base.mean)} without a term, {interval(row.mean)} with λ = {largest:g}"
        said = "no test" if row.against is None else row.against.sentence(row.label, NONE, lower_is_better=True)
        sentences.append(f"MSE at width {width}, stopped on {words}: {means}; {said}.")
    return sentences


def _epoch_verdicts(found: Findings) -> list[str]:
    width = found.width
    sentences = []
    for monitor, words in STOPPED.items():
        compared = found.compared(monitor, EPOCHS, RECIPROCAL)
        base = _row(compared, NONE, width, found.factors[0])
        parts = []
        for factor in found.factors:
            row = _row(compared, RECIPROCAL, width, factor)
            parts.append(f"{interval(row.mean)} for λ = {factor:g} (minus none {_minus(row)})")
        limit = sum(epochs >= found.epochs for epochs in base.epochs.values())
        ended = f" ({limit} of {len(base.epochs)} at the limit of {found.epochs})" if limit else ""
        start = f"Epochs at width {width}, stopped on {words}, n = {plural(len(base.values), 'seed')}: "
        sentences.append(f"{start}{interval(base.mean)} without a term{ended}, {', '.join(parts)}.")
    return sentences


def _minus(row: ArmResult) -> str:
    same = row.against is not None and math.isnan(row.against.low)
    return f"{interval(row.against)}{' in every seed' if same else ''}"


def _cause(found: Findings) -> list[str]:
    """Whether eq. 24 does anything besides stopping the training."""
    sentences = []
    for monitor, rival in (("val_loss", CONSTANT), ("val_task_loss", NONE)):
        counts = {}
        for width in found.widths:
            counts[width] = Same(0, 0)
            for factor in found.factors:
                counts[width] += same_weights(found, monitor, rival, width, factor)
        by_width = ", ".join(f"{count} at width {width}" for width, count in counts.items())
        other = "a constant number of its size" if rival == CONSTANT else "no term"
        sentences.append(
            f"Stopped on {STOPPED[monitor]}, eq. 24 ends with the weights of {other}, bit by bit, in {by_width}."
        )
    total = [width for width in found.widths if _inert(found, width)]
    if total:
        sentences.append(
            f"So at width {', '.join(map(str, total))} eq. 24 had no effect on any step of these runs. Where it ended "
            "one early, a constant without a gradient ended it at the same epoch: beside such a number, float32 does "
            "not show a smaller change of the loss than its spacing there."
        )
    return sentences


def _inert(found: Findings, width: int) -> bool:
    counts = [
        same_weights(found, monitor, rival, width, factor)
        for monitor, rival in (("val_loss", CONSTANT), ("val_task_loss", NONE))
        for factor in found.factors
    ]
    return all(count.of > 0 and count.same == count.of for count in counts)


def _log(found: Findings) -> list[str]:
    """Whether the logarithm, which has a gradient, lowers the MSE."""
    if not any(record.arm == LOG for record in found.records["val_task_loss"]):
        return []
    compared = found.compared("val_task_loss", MSE, LOG)
    return [
        f"The logarithm, stopped on the task alone, at width {row.shared['width']}: "
        f"{row.against.sentence(row.label, NONE, lower_is_better=True)}."
        for row in compared.rivals
        if row.shared["width"] == found.width and row.against is not None
    ]


def _failed(found: Findings) -> list[str]:
    runs = [record for records in found.records.values() for record in records]
    failed = arm_groups.unfinished(arm_groups.failures_of(runs), len(runs))
    return [f"{failed}."] if failed else [f"All {len(runs)} runs finished."]
