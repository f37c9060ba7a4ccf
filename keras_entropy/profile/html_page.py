"""The page of a profile: one HTML file with its style, script and numbers, which loads nothing."""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from keras_entropy import _table
from keras_entropy._checks import printable
from keras_entropy.profile import epoch_log, units
from keras_entropy.profile.constant_outputs import ConstantOutputs
from keras_entropy.profile.findings import ADVICE, COLLAPSED, FAR, Finding, heading, remarks
from keras_entropy.profile.measured_model import MOST_COSINES
from keras_entropy.profile.page_data import MOST_POINTS, Details, layer_data, rounded, shape_text
from keras_entropy.profile.record import ProfileRecord

MOST_ITEMS = 8
"""Findings of a kind that are shown at once; the others unfold."""

MINUS = "\u2212"

_MEASURES = {
    "log_volume": "the mean log of the singular values of each weight: how much a layer stretches (above 0) or shrinks "
    "(below 0) the volume of what passes it",
    "corner": "the log of the leading determinant of matrices and of the corner elements of filters",
    "total_correlation": "the total correlation of the outputs for white inputs: how much they repeat each other",
}

_HEAD = (
    ("#", "number wide", ""),
    ("weight", "", ""),
    ("layer", "wide", ""),
    ("shape", "wide", ""),
    ("mean", "number", ""),
    ("random", "number wide", ""),
    ("difference", "number", ""),
    ("stands out", "", "descending"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page:
    """What the page of a profile shows.

    Attributes:
        model: String. Name of the model.
        measure: String. Name of the measure.
        seed: Integer. Seed of the model's own weights, if they are drawn at random, or None.
        records: Sequence of `ProfileRecord`.
        details: Details by path; empty for a profile that was loaded.
        other: String. What the profile is compared with, such as "random copy (seed 0)"; empty if with nothing.
        other_is_random: Boolean. Whether that is a randomly initialised copy.
        others: Sequence of `ProfileRecord` of the other profile.
        other_details: Details of the other profile by path.
        findings: Sequence of `Finding`.
        constant: Sequence of `ConstantOutputs`; None if the model was not run on a sample.
        log: Values by epoch, from `epoch_log`; None without a log.
    """

    model: str
    measure: str
    seed: int | None
    records: Sequence[ProfileRecord]
    details: Details
    other: str
    other_is_random: bool
    others: Sequence[ProfileRecord]
    other_details: Details
    findings: Sequence[Finding]
    constant: Sequence[ConstantOutputs] | None = None
    log: Mapping[str, Sequence[float]] | None = None

    def html(self) -> str:
        """The page as text."""
        data = json.dumps(self._data(), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
        style, script = _part("page.css"), _part("page.js")
        weights = "" if self.seed is None else f", randomly initialised (seed {self.seed})"
        return _part("page.html").format(
            title=_text(f"Entropy profile of {self.model}{weights}"),
            style=style,
            script=script,
            style_hash=_hash(style),
            script_hash=_hash(script),
            lead=self._lead(),
            findings=self._findings(),
            overview=self._overview(),
            epochs="" if self.log is None else _EPOCHS,
            caption=_text(
                f"Mean of each weight in {self._unit()}, sorted as the arrow shows. Choose a name for details."
            ),
            head="".join(_header(*column, first=i == 0) for i, column in enumerate(_HEAD)),
            rows="\n".join(self._row(i, record) for i, record in enumerate(self.records)),
            notes=self._notes(),
            data=data,
        )

    def _unit(self) -> str:
        found = sorted({record.unit for record in self.records if record.unit})
        return " or ".join(found) or "nats"

    def _data(self) -> dict[str, Any]:
        others = {record.path: record for record in self.others}
        paths = [record.path for record in self.records]
        epochs = {} if self.log is None else epoch_log.of_weights(self.log, paths)
        said: dict[int | None, list[str]] = {}
        for finding in self.findings:
            said.setdefault(self._place(finding), []).append(
                printable(_with_minus(f"{finding.kind}: {finding.evidence}."))
            )
        layers = []
        for i, record in enumerate(self.records):
            details = (self.details, self.other_details)
            layer = layer_data(record, others.get(record.path), details, epochs.get(record.path))
            skipped = None if record.skipped is None else printable(record.skipped)
            layers.append({**layer, "skipped": skipped, "findings": said.get(i, [])})
        log = self.log or {}
        return {
            "layers": layers,
            "unit": self._unit(),
            "other": printable(self.other),
            # The singular values are the values of this measure.
            "curves": ["spectrum", "norms"] if self.measure == "log_volume" and self.details
            else ["values", "spectrum", "norms"],
            "first": self._first(),
            "losses": {name: rounded(log[name]) for name in epoch_log.LOSSES if name in log},
        }  # fmt: skip

    def _first(self) -> int:
        """The number of the weight whose details are shown first: measured, and with a finding if there is one."""
        measured = [i for i, record in enumerate(self.records) if record.skipped is None]
        with_finding = [place for place in map(self._place, self.findings) if place in measured]
        return next((i for i in (*with_finding, *measured) if i is not None), 0)

    def _lead(self) -> str:
        measured = [record for record in self.records if record.skipped is None]
        copy = self.other.replace("random copy", "a randomly initialised copy") if self.other_is_random else self.other
        beside = f", beside {copy}" if copy else ""
        return _text(
            f"Measure {self.measure}, in {self._unit()}: {_MEASURES[self.measure]}. {len(measured)} of "
            f"{len(self.records)} weights are measured{beside}."
        )

    def _not_measured(self) -> str:
        """The weights without a value, in the words of the command; first those of which training has made it so."""
        measurable = {record.path for record in self.others if record.skipped is None}
        found = sorted(
            ((i, record) for i, record in enumerate(self.records) if record.skipped is not None),
            key=lambda pair: not (pair[1].not_finite or pair[1].path in measurable),
        )
        items = [f"{_button(i, r.path)} ({_text(r.kind)}): {_text(r.skipped or '')}." for i, r in found]
        return f"<h3>Not measured ({len(items)})</h3>\n{_list(items)}" if items else ""

    def _findings(self) -> str:
        parts = [self._not_measured()]
        for kind, advice in ADVICE.items():
            own = [finding for finding in self.findings if finding.kind == kind]
            if not own:
                continue
            items = [f"{self._link(finding)}: {_text(_with_minus(finding.evidence))}." for finding in own]
            parts.append(
                f"<h3>{heading(kind).capitalize()} ({len(own)})</h3>\n{_list(items)}\n"
                f'<p class="advice">{_text(advice)}</p>'
            )
        sentences = remarks(
            self.findings, self.records, self.measure, self.others if self.other_is_random else None, self.constant
        )
        return "\n".join([*parts, *(f"<p>{_text(sentence)}</p>" for sentence in sentences)])

    def _place(self, finding: Finding) -> int | None:
        """The number of the weight of a finding: a layer has its first one; None for a layer without weights."""
        return self._places[finding.path]

    @functools.cached_property
    def _places(self) -> dict[str, int | None]:
        paths = {record.path: i for i, record in enumerate(self.records)}
        return {
            finding.path: paths.get(
                finding.path, next((i for path, i in paths.items() if path.startswith(f"{finding.path}/")), None)
            )
            for finding in self.findings
        }

    def _link(self, finding: Finding) -> str:
        i = self._place(finding)
        return _text(finding.path) if i is None else _button(i, finding.path)

    def _overview(self) -> str:
        own = (
            "One column per weight, from the input to the output. Thin box: quartiles of the values of a weight; line: "
            "median; dot: mean; circles: values more than 1.5 box lengths away; triangle at the foot: values of minus "
            "infinity."
        )
        if not self.other:
            return _text(f"{own} Choose a column to see its details.")
        see = "What to see: boxes that lie off their bands." if self.other_is_random else ""
        return _text(f"{own} Wide band: quartiles and mean of the {self.other}. {see} Choose a column for details.")

    def _row(self, i: int, record: ProfileRecord) -> str:
        other = next((o for o in self.others if o.path == record.path and o.shape == record.shape), None)
        difference = None
        if record.mean is not None and other is not None and other.mean is not None:
            difference = record.mean - other.mean
        kinds = [finding.kind for finding in self.findings if self._place(finding) == i]
        stands_out, order = (", ".join(kinds), len(kinds)) if record.skipped is None else ("not measured", 0.5)
        mark = ' class="mark"' if kinds else ""
        shape = shape_text(record.shape)
        return (
            f'<tr data-i="{i}">{_cell(str(i + 1), i + 1, "number wide")}'
            f'<th scope="row" data-v="{_text(record.path)}"><button type="button" aria-pressed="false">'
            f"{_text(record.path)}</button></th>"
            f"{_cell(record.kind, record.kind, 'wide')}{_cell(shape, shape, 'wide')}"
            f"{_number(record.mean)}{_number(None if other is None else other.mean, ' wide')}"
            f'{_number(difference, sign="+")}<td data-v="{order:g}"><span{mark}>{_text(stands_out)}</span></td></tr>'
        )

    def _notes(self) -> str:
        limits = (
            f"Collapsed: the log-volume lies {COLLAPSED:.2f} nats per dimension or more below the randomly initialised "
            "copy, with the size of the weights set aside; or dead, unread and duplicate units leave fewer than half "
            f"of its directions. Far from random: the means differ by {FAR:g} nat or more. Dead and unread: the norm "
            f"of the weights is below {units.DEAD:g} of the largest. "
            f"Duplicate: the absolute cosine of the weights is above {units.PARALLEL}. Constant outputs: an activation "
            "gives one value on all inputs of the sample, while what it is applied to varies. Scales of normalisations "
            "follow the variance of the data, and are not compared with the random copy; recurrent kernels are not "
            "searched for units."
        )
        thinned = (
            f"Curves of more than {MOST_POINTS} values show {MOST_POINTS} evenly spaced ranks, and matrices "
            f"{MOST_COSINES} evenly spaced outputs. Indices of outputs start at 0."
        )
        single = (
            "A weight of one value, such as the log-volume of a convolution with one input channel, has no quartiles: "
            "its box is a dash."
        )
        notes = [limits, single, thinned]
        if not self.details:
            notes.insert(
                0,
                "This profile was read from a file or copied, so the page shows neither the norms nor the redundancy "
                "of the outputs. With the model at hand, entropy_profile(model).to_html(path) shows all.",
            )
        return "\n".join(f'<p class="note">{_text(note)}</p>' for note in notes)


_EPOCHS = """
<section aria-labelledby="over">
<h2 id="over">Epochs</h2>
<figure>
<div id="epochs"></div>
<figcaption>Entropy of each weight in the log, by epoch; the chosen one stands out. What to see: curves that keep
falling while the loss no longer does.</figcaption>
</figure>
<figure><div id="losses"></div></figure>
</section>
"""


def _part(name: str) -> str:
    return resources.files("keras_entropy.profile").joinpath("page", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _text(text: str) -> str:
    return html.escape(printable(text))


def _with_minus(text: str) -> str:
    return re.sub(r"(?<![\w-])-(?=\d)", MINUS, text)


def _button(i: int, path: str) -> str:
    return f'<button type="button" class="link" data-layer="{i}">{_text(path)}</button>'


def _list(items: Sequence[str]) -> str:
    first, more = ("\n".join(f"<li>{item}</li>" for item in part) for part in (items[:MOST_ITEMS], items[MOST_ITEMS:]))
    left = f"<details><summary>{len(items) - MOST_ITEMS} more</summary><ul>{more}</ul></details>" if more else ""
    return f"<ul>{first}</ul>{left}"


def _header(name: str, classes: str, order: str, *, first: bool) -> str:
    sort = ' aria-sort="ascending"' if first else f' data-first="{order}"' if order else ""
    return f'<th scope="col" class="{classes}"{sort}><button type="button">{name}</button></th>'


def _cell(text: str, value: object, classes: str) -> str:
    return f'<td class="{classes}" data-v="{_text(str(value))}">{_text(text)}</td>'


def _number(value: float | None, classes: str = "", sign: str = "") -> str:
    """A cell; sorting takes infinities as the largest numbers there are, and leaves empty cells at the end."""
    if value is None or math.isnan(value):
        return f'<td class="number{classes}" data-v=""></td>'
    text = _table.decimals(value, sign=sign).replace("inf", "∞").replace("-", MINUS)
    return f'<td class="number{classes}" data-v="{min(max(value, -1e300), 1e300):.6g}">{text}</td>'
