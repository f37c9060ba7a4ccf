"""Pages of headings, text, tables and pictures, as Markdown or as one self-contained HTML file."""

from __future__ import annotations

import base64
import dataclasses
import html
import re
from collections.abc import Callable, Sequence

from keras_entropy import _table
from keras_entropy._checks import printable
from keras_entropy.study.wording import DASH

__all__ = [
    "DASH",
    "Block",
    "Heading",
    "Items",
    "Paragraph",
    "Picture",
    "Table",
    "to_html",
    "to_markdown",
]

LONG = 44
"""Length in characters from which a cell is written in several lines."""


@dataclasses.dataclass(frozen=True)
class Heading:
    """The heading of a section.

    Attributes:
        text: String.
    """

    text: str


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """A paragraph.

    Attributes:
        text: String.
    """

    text: str


@dataclasses.dataclass(frozen=True)
class Items:
    """A list.

    Attributes:
        items: Tuple of strings.
    """

    items: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table. `print(table)` and a notebook show it.

    Attributes:
        caption: String. What the table shows.
        head: Tuple of strings. Names of the columns.
        rows: Tuple of tuples of strings. The cells.
        notes: Tuple of strings. Sentences below the table.
        words: Integer. Number of columns at the left that contain words; the others contain numbers.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    words: int = 1

    def to_markdown(self) -> str:
        """The table in Markdown."""
        return _markdown_table(self)

    def __str__(self) -> str:
        """The table in plain text."""
        table = _table.to_text(self.head, self.rows, self.head[self.words :])
        return "\n".join(map(printable, [self.caption, *table.splitlines(), *self.notes]))

    def _repr_html_(self) -> str:
        return _table.to_html(self.caption, self.head, self.rows, self.head[self.words :], self.notes)


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        name: String. Name of its file.
        png: Bytes of the PNG file.
        caption: String. What the figure shows.
        alt: String. Text that replaces the figure where it cannot be seen.
    """

    name: str
    png: bytes
    caption: str
    alt: str


Block = Heading | Paragraph | Items | Table | Picture


def to_markdown(title: str, blocks: Sequence[Block]) -> str:
    """The page in Markdown. The pictures are files beside it."""
    return "\n\n".join([f"# {escaped(title)}", *(_markdown(block) for block in blocks)]) + "\n"


def escaped(text: str) -> str:
    """The text with the escapes that make Markdown show it unchanged."""
    text = re.sub(r"([\\`*|<>\[\]~$&])", r"\\\1", _line(text))
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)  # an underscore within a word needs no escape
    return text.replace(r"\<", "&lt;").replace(r"\>", "&gt;")


def _started(text: str) -> str:
    """The same for the start of a line, which could also begin a heading, a rule or a list."""
    return re.sub(r"^(\d*)([#+=.)-])(?![\w.])", r"\1\\\2", escaped(text))


def _markdown(block: Block) -> str:
    match block:
        case Heading():
            return f"## {escaped(block.text)}"
        case Paragraph():
            return _started(block.text)
        case Items():
            return "\n".join(f"- {_started(item)}" for item in block.items)
        case Table():
            return block.to_markdown()
        case Picture():
            return f"![{escaped(block.alt)}]({block.name})\n\n{_started(block.caption)}"


def _markdown_table(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    rule = ["---" if i < table.words else "---:" for i in range(len(table.head))]
    rows = [line([escaped(cell) if len(cell) > 1 else cell for cell in map(_line, row)]) for row in table.rows]
    lines = [line([escaped(name) for name in table.head]), line(rule), *rows]
    notes = [_started(note) for note in table.notes]
    return "\n\n".join([f"**{escaped(table.caption)}**", "\n".join(lines), *notes])


def _line(text: str) -> str:
    """The text in one line, without control characters."""
    return printable(" ".join(text.split()))


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """The page in HTML 5, with the pictures in it. It has no scripts and loads nothing."""
    body = "\n".join(_html(block) for block in blocks)
    return _PAGE.format(title=_text(title), body=body, style=_STYLE)


def _text(text: str) -> str:
    return html.escape(_line(text))


def _html(block: Block) -> str:
    match block:
        case Heading():
            return f"<h2>{_text(block.text)}</h2>"
        case Paragraph():
            return f"<p>{_text(block.text)}</p>"
        case Items():
            return "<ul>\n" + "\n".join(f"<li>{_text(item)}</li>" for item in block.items) + "\n</ul>"
        case Table():
            return _html_table(block)
        case Picture():
            data = base64.b64encode(block.png).decode()
            image = f'<img src="data:image/png;base64,{data}" alt="{_text(block.alt)}">'
            return f"<figure>\n{image}\n<figcaption>{_text(block.caption)}</figcaption>\n</figure>"


def _html_table(table: Table) -> str:
    def line(cells: Sequence[str], cell: Callable[[int, str], str]) -> str:
        return "<tr>" + "".join(cell(i, text) for i, text in enumerate(cells)) + "</tr>"

    kind = ["" if i < table.words else ' class="number"' for i in range(len(table.head))]
    head = line(table.head, lambda i, text: f'<th scope="col"{kind[i]}>{_text(text)}</th>')
    rows = "\n".join(line(row, lambda i, text: f"<td{_kind(text, kind[i])}>{_text(text)}</td>") for row in table.rows)
    notes = "".join(f'\n<p class="note">{_text(note)}</p>' for note in table.notes)
    caption = _text(table.caption)
    return (
        f'<div class="table" role="region" tabindex="0" aria-label="{caption}">\n'
        f"<table>\n<caption>{caption}</caption>\n<thead>\n{head}\n</thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>{notes}"
    )


def _kind(text: str, kind: str) -> str:
    return ' class="long"' if len(text) > LONG else kind


_STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --page: #ffffff; --faint: #57606a; --line: #d0d7de; --row: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --page: #0d1117; --faint: #9aa4af; --line: #30363d; --row: #161b22; }
}
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem; color: var(--text); background: var(--page);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.25; }
h2 { font-size: 1.25rem; margin-top: 2.5rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
p, li { max-width: 48rem; }
.table { overflow-x: auto; margin-top: 1.25rem; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .25rem 0; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top;
  overflow-wrap: normal; }
td { white-space: nowrap; }
.long { white-space: normal; min-width: 20rem; overflow-wrap: anywhere; }
th { background: var(--row); vertical-align: bottom; }
.number { text-align: right; }
.note, figcaption { color: var(--faint); font-size: .875rem; max-width: 48rem; margin: .4rem 0; }
figure { margin: 1.5rem 0; }
img { display: block; max-width: 100%; height: auto; background: #ffffff; border: 1px solid var(--line); }
@media print {
  body { max-width: none; padding: 0; font-size: 9pt; }
  .table { overflow: visible; }
  table, .note, figcaption { font-size: 7pt; }
  th, td { padding: .15rem .3rem; white-space: normal; min-width: 0; }
  tr, figure { break-inside: avoid; }
  h2, caption { break-after: avoid; }
  thead { display: table-header-group; }
}
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""
