"""What stands out in a profile, in words, with the numbers behind it and what one may do."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from keras_entropy import _checks, _table
from keras_entropy.profile.constant_outputs import ConstantOutputs
from keras_entropy.profile.linear_map import HostArray
from keras_entropy.profile.record import ProfileRecord
from keras_entropy.profile.units import PARALLEL

COLLAPSED = math.log(10)
"""Nats per dimension that the log-volume of a collapsed layer lies below that of the randomly initialised copy, with
the size of the weights set aside: the geometric mean of its singular values is a tenth, for the same root mean square.
Among the 26 layers of the trained SqueezeNet the largest loss is about one nat."""

FAR = 1.0
"""Nats of difference from the randomly initialised copy from which a layer is called far from random. Random copies of
SqueezeNet differ from each other by 0.05."""

SMALL = math.log(1 / 20)
"""Log of a singular value, relative to the largest, from which a dead, unread or duplicate unit can explain it. Two
outputs of one size whose cosine is 0.999 leave 0.022."""

VANISHED = math.log(1e-6)
"""Log of a singular value, relative to the largest, that has vanished: float32 sums do not show such a direction."""

MOST_INDICES = 8
"""Units that a sentence names; it counts the others."""

MOST_LAYERS = 6
"""Layers of a kind that `print` shows; it counts the others."""

ADVICE = {
    "collapsed": (
        "Few directions of the input pass such a layer. If the task needs more, try a smaller learning rate, less "
        "weight decay, or an entropy term on the layer. If validation is as good, the layer can be narrower."
    ),
    "dead outputs": (
        "A dead output is constant. It can be removed together with the weights that read it, or initialised again. "
        "Scales that start at zero, as in some residual branches, are meant to be zero before training."
    ),
    "constant outputs": (
        "These outputs never changed on the sample, as those of a ReLU whose input is always negative. They pass no "
        "information and often no gradient. A larger sample makes sure of it. A smaller learning rate or a leaky "
        "activation can prevent it."
    ),
    "unread inputs": (
        "Nothing of these inputs reaches the outputs of the layer. Constant inputs may be left out of the data; units "
        "of the layer before that nothing else reads can be removed."
    ),
    "duplicate outputs": (
        "Outputs with parallel weights differ in size and bias alone. Those of one sign can be merged, or initialised "
        "again; a TotalCorrelation term keeps outputs apart. If all outputs of a layer are equal, it was initialised "
        "with a constant: use a random initializer."
    ),
    "far from random": (
        "This describes the effect of training and of the initializer; it is not a fault. Part of it can be the size "
        "of the weights alone, which a normalisation or the next layer may undo."
    ),
}
"""What one may do, by kind of finding, in the order in which they are shown."""

HEADINGS = {"collapsed": "collapsed layers", "far from random": "layers far from random"}
"""The plural of a kind, if it is another word."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that stands out in a weight of a profile.

    Attributes:
        kind: String. `"collapsed"`, `"dead outputs"`, `"constant outputs"`, `"unread inputs"`, `"duplicate outputs"` or
            `"far from random"`.
        path: String. Path of the weight, or of the layer for constant outputs.
        evidence: String. The numbers, in words.
    """

    kind: str
    path: str
    evidence: str

    @property
    def advice(self) -> str:
        """String. What one may do."""
        return ADVICE[self.kind]

    def __str__(self) -> str:
        """The path and the evidence, in one line."""
        return _checks.printable(f"{self.path}: {self.evidence}")


def find(
    records: Sequence[ProfileRecord],
    measure: str,
    random: Sequence[ProfileRecord] | None = None,
    constant: Sequence[ConstantOutputs] = (),
) -> tuple[Finding, ...]:
    """List what stands out in the records of a profile.

    Args:
        records: Sequence of `ProfileRecord`.
        measure: String. Their measure.
        random: Sequence of `ProfileRecord` of a randomly initialised copy, in the same measure. Defaults to None:
            collapsed layers, and layers far from random, are not looked for.
        constant: Sequence of `ConstantOutputs`. Defaults to none.

    Returns:
        A tuple of `Finding`, by kind, in the order of the layers.
    """
    others = _by_path(random or ())
    found = [
        finding
        for record in records
        if record.skipped is None
        for finding in (*_of_units(record), *_beside_random(record, others, measure))
    ]
    found += [Finding("constant outputs", layer.path, _of_constant(layer)) for layer in constant if layer.constant]
    return tuple(sorted(found, key=lambda finding: [*ADVICE].index(finding.kind)))


def in_words(findings: Sequence[Finding]) -> list[str]:
    """Lines of text: each kind with its layers, and what one may do."""
    lines = []
    for kind, advice in ADVICE.items():
        own = [finding for finding in findings if finding.kind == kind]
        if own:
            left = [f"  and {len(own) - MOST_LAYERS} more"] if len(own) > MOST_LAYERS else []
            lines += [
                f"{heading(kind)} ({len(own)}):",
                *(f"  {finding}" for finding in own[:MOST_LAYERS]),
                *left,
                f"  {advice}",
            ]
    return lines


def conclusion(
    findings: Sequence[Finding],
    records: Sequence[ProfileRecord],
    measure: str,
    random: Sequence[ProfileRecord] | None,
    constant: Sequence[ConstantOutputs] | None,
) -> list[str]:
    """Lines of text: what stands out, what does not, and what was not looked for; arguments as in `find`."""
    return [*in_words(findings), *remarks(findings, records, measure, random, constant)]


def heading(kind: str) -> str:
    """What several findings of a kind are called."""
    return HEADINGS.get(kind, kind)


def remarks(
    findings: Sequence[Finding],
    records: Sequence[ProfileRecord],
    measure: str,
    random: Sequence[ProfileRecord] | None,
    constant: Sequence[ConstantOutputs] | None,
) -> list[str]:
    """Sentences on what was not found, and on what was not looked for; arguments as in `find`."""
    there = {finding.kind for finding in findings}
    gaps = [gap for gap in _gaps(records, measure, random, constant) if gap.paths or not there & set(gap.kinds)]
    unseen = {kind for gap in gaps if not gap.paths for kind in gap.kinds}
    absent = [heading(kind) for kind in ADVICE if kind not in unseen | there]
    if constant and "constant outputs" in absent:
        seen = "the layer" if len(constant) == 1 else f"the {len(constant)} layers"
        absent[absent.index("constant outputs")] = f"constant outputs in {seen} whose activation was seen"
    sentences = []
    if absent:
        something = there or any(record.not_finite for record in records)
        begin = "Nothing else was found" if something else "Nothing stands out"
        sentences.append(f"{begin}: no {', no '.join(absent)}.")
    return [*sentences, f"Not looked for: {'; '.join(map(str, gaps))}."] if gaps else sentences


@dataclasses.dataclass(frozen=True)
class _Gap:
    """Kinds of findings that were not looked for: in some weights, or in the whole model if no paths are given."""

    kinds: tuple[str, ...]
    why: str
    paths: tuple[str, ...] = ()

    def __str__(self) -> str:
        more = f" and {len(self.paths) - 2} more" if len(self.paths) > 2 else ""
        where = f" in {', '.join(self.paths[:2])}{more}" if self.paths else ""
        return f"{', '.join(map(heading, self.kinds))}{where} ({self.why})"


def _gaps(
    records: Sequence[ProfileRecord],
    measure: str,
    random: Sequence[ProfileRecord] | None,
    constant: Sequence[ConstantOutputs] | None,
) -> Iterator[_Gap]:
    measured = [record for record in records if record.skipped is None]
    in_units, beside = ("dead outputs", "unread inputs", "duplicate outputs"), ("collapsed", "far from random")

    def of(kinds: tuple[str, ...], why: str, those: Sequence[ProfileRecord], among: Sequence[ProfileRecord]) -> _Gap:
        return _Gap(kinds, why, () if len(those) == len(among) else tuple(record.path for record in those))

    if measured:
        without = [record for record in measured if record.units is None]
        if without:
            yield of(in_units, "a unit has a part in each gate or piece", without, measured)
        few = [record for record in measured if record.units is not None and not record.units.searched]
        if few:
            yield of(("duplicate outputs",), "too few inputs or too many outputs", few, measured)
    else:
        yield _Gap((*in_units, *beside), "nothing is measured")
    if measured and random is None:
        yield _Gap(beside, "no random copy")
    elif measured and random is not None:
        others = _by_path(random)
        kernels = [record for record in measured if record.layout != "scale"]
        alone = [record for record in kernels if _drawn(record, others, measure) is None]
        if alone or not kernels:
            yield of(beside, "the random copy has no volume to compare with", alone, kernels)
        if measure != "log_volume":
            yield _Gap(("collapsed",), "the measure is not log_volume")
    if not constant:
        yield _Gap(("constant outputs",), "no sample" if constant is None else "no outputs of an activation were seen")


def _by_path(records: Iterable[ProfileRecord]) -> dict[str, ProfileRecord]:
    return {record.path: record for record in records if record.skipped is None}


def _drawn(record: ProfileRecord, others: Mapping[str, ProfileRecord], measure: str) -> HostArray | None:
    """The values of the random copy of a weight; None if there are none, or an initializer gives no volume."""
    other = others.get(record.path)
    if other is None or other.shape != record.shape:
        return None
    drawn, _ = _without_units(other, measure)
    return drawn if len(drawn) and math.isfinite(drawn.mean()) else None


def _of_constant(layer: ConstantOutputs) -> str:
    change = "changes" if len(layer.constant) == 1 else "change"
    return (
        f"{len(layer.constant)} of {layer.outputs} outputs never {change} on the sample of {layer.rows} rows (index "
        f"{_indices(layer.constant)})"
    )


def _of_units(record: ProfileRecord) -> Iterator[Finding]:
    units = record.units
    if units is None:
        return
    if units.dead:
        said = f"{_share(units.dead, units.outputs, 'output')} no weights (index {_indices(units.dead)})"
        yield Finding("dead outputs", record.path, said)
    if units.unread and len(units.dead) < units.outputs:
        said = f"{_share(units.unread, units.inputs, 'input')} no weights (index {_indices(units.unread)})"
        yield Finding("unread inputs", record.path, said)
    if units.duplicates:
        pairs = [_listed(group) for group in units.duplicates[:3]]
        more = f"; {len(units.duplicates) - 3} more such groups" if len(units.duplicates) > 3 else ""
        signs = f", {units.opposite} of them with the opposite sign" if units.opposite else ""
        repeat = "repeats" if units.repeated == 1 else "repeat"
        said = (
            f"{units.repeated} of {units.outputs} outputs {repeat} an earlier one (index {'; '.join(pairs)}{more}): "
            f"the cosine of their weights is above {PARALLEL} in absolute value{signs}"
        )
        yield Finding("duplicate outputs", record.path, said)


def _beside_random(record: ProfileRecord, others: Mapping[str, ProfileRecord], measure: str) -> Iterator[Finding]:
    """A scale is not compared: that of a batch normalisation follows the variance of what it normalises."""
    drawn = _drawn(record, others, measure)
    if drawn is None or record.layout == "scale":
        return
    values, explained = _without_units(record, measure)
    if measure == "log_volume" and explained > len(values):
        said = f"{_kinds(record)} units leave {len(values)} of {len(values) + explained} directions"
        yield Finding("collapsed", record.path, said)
        return
    if not len(values):
        return
    mean = float(values.mean())
    difference = mean - float(drawn.mean())
    without = f", without the {explained} that {_kinds(record)} units explain" if explained else ""
    lost = _shape(drawn) - _shape(values) if measure == "log_volume" else 0.0
    if lost >= COLLAPSED:
        zeros, gone = (int((values <= limit).sum()) for limit in (-math.inf, values.max() + VANISHED))
        if zeros:
            said = f"{zeros} of {len(values)} singular values{without} are 0"
        else:
            vanished = f"; {gone} of {len(values)} singular values are below a millionth of the largest" if gone else ""
            said = (
                f"log-volume {_table.decimals(mean, 2)} {record.unit}{without}, {-difference:.2f} below the randomly "
                "initialised copy; "
                f"{lost:.2f} below it with the size of the weights set aside{vanished}"
            )
        yield Finding("collapsed", record.path, said)
    elif mean == -math.inf:
        zeros = int((values == -math.inf).sum())
        yield Finding("far from random", record.path, f"{zeros} of {len(values)} values are minus infinity{without}")
    elif math.isfinite(difference) and abs(difference) >= FAR:
        place = "above" if difference > 0 else "below"
        amount = f"{_table.decimals(mean, 2)} {record.unit}{without}, {abs(difference):.2f} {place}"
        said = f"{amount} the randomly initialised copy"
        yield Finding("far from random", record.path, said)


def _without_units(record: ProfileRecord, measure: str) -> tuple[HostArray, int]:
    """The values, largest first, without small ones that dead, unread or duplicate units explain, and their number."""
    values, units = np.sort(np.asarray(record.values))[::-1], record.units
    if units is None or measure == "total_correlation" or not len(values):
        return values, 0
    small = int((values <= values[0] + SMALL).sum())
    explained = min(small, len(values) - units.left(len(values)))
    return values[: len(values) - explained], explained


def _kinds(record: ProfileRecord) -> str:
    units = record.units
    assert units is not None
    there = {"dead": units.dead, "unread": units.unread, "duplicate": units.duplicates}
    *first, last = [kind for kind, found in there.items() if found]
    return f"{', '.join(first)} and {last}" if first else last


def _shape(values: HostArray) -> float:
    """Log of the geometric mean of singular values, relative to their root mean square."""
    largest = float(values.max())
    if not math.isfinite(largest):
        return -math.inf
    return float(values.mean() - largest - 0.5 * np.log(np.exp(2 * (values - largest)).mean()))


def _share(found: Sequence[int], total: int, noun: str) -> str:
    return f"{len(found)} of {total} {noun}s {'has' if len(found) == 1 else 'have'}"


def _indices(found: Sequence[int]) -> str:
    more = f" and {len(found) - MOST_INDICES} more" if len(found) > MOST_INDICES else ""
    return f"{', '.join(map(str, found[:MOST_INDICES]))}{more}"


def _listed(group: Iterable[int]) -> str:
    first, *others = group
    return f"{_indices(others)} as {first}"
