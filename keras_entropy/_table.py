"""Tables of results: plain text, HTML for a notebook, and a pandas data frame."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from keras_entropy import _checks, _optional

if TYPE_CHECKING:
    import pandas as pd


def to_text(head: Sequence[str], rows: Sequence[Sequence[object]], numbers: Collection[str] = ()) -> str:
    """Lay out a table in plain text.

    Args:
        head: Sequence of strings. Names of the columns.
        rows: Sequence of rows, each with one cell per column.
        numbers: Names of the columns that are aligned on the right. Defaults to none.

    Returns:
        A string with one line per row, without a newline at the end. Control characters are replaced by "?".

    Examples:
        >>> from keras_entropy import _table
        >>> print(_table.to_text(("layer", "mean"), [("conv1", "-0.51"), ("head", "0.02")], numbers=["mean"]))
        layer   mean
        conv1  -0.51
        head    0.02
    """
    cells = [[_checks.printable(str(cell)) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    align = [str.rjust if name in numbers else str.ljust for name in head]
    lines = ("  ".join(f(cell, width) for f, cell, width in zip(align, row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def decimals(value: float, digits: int = 3, sign: str = "") -> str:
    """Write a number with a fixed count of decimals, and a zero without a minus; `sign="+"` shows each sign.

    Examples:
        >>> from keras_entropy import _table
        >>> _table.decimals(-0.0004), _table.decimals(-0.0004, sign="+"), _table.decimals(-0.51, 2)
        ('0.000', '+0.000', '-0.51')
    """
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}"


def to_html(
    caption: str,
    head: Sequence[str],
    rows: Sequence[Sequence[object]],
    numbers: Collection[str] = (),
    notes: Sequence[str] = (),
) -> str:
    """Write a table in HTML, as `_repr_html_` of a result shows it in a notebook.

    Args:
        caption: String. Shown above the table.
        head: Sequence of strings. Names of the columns.
        rows: Sequence of rows, each with one cell per column.
        numbers: Names of the columns that are aligned on the right. Defaults to none.
        notes: Sequence of strings, shown as a list below the table. Defaults to none.

    Returns:
        A string of HTML. All text is escaped, and control characters are replaced by "?".
    """

    def cell(name: str, text: object, kind: str) -> str:
        align = "right" if name in numbers else "left"
        return f'<{kind} style="text-align: {align}">{_escaped(text)}</{kind}>'

    header = "".join(cell(name, name, "th") for name in head)
    body = "".join(
        f"<tr>{''.join(cell(name, text, 'td') for name, text in zip(head, row, strict=True))}</tr>" for row in rows
    )
    listed = "".join(f"<li>{_escaped(note)}</li>" for note in notes)
    return (
        f"<table><caption>{_escaped(caption)}</caption><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"
        f"{f'<ul>{listed}</ul>' if listed else ''}"
    )


def to_frame(kind: type[Any], records: Sequence[Any]) -> pd.DataFrame:
    """Make a pandas data frame from dataclass instances: one row each, one column per field of `kind`.

    Raises:
        ModuleNotFoundError: If pandas is not installed.
    """
    pandas = _optional.require("pandas", extra="study")
    names = [field.name for field in dataclasses.fields(kind)]
    return pandas.DataFrame([[getattr(record, name) for name in names] for record in records], columns=names)


def _escaped(text: object) -> str:
    return html.escape(_checks.printable(str(text)))
