"""The page of what helps, and the README's part of it, say what the records say."""

import csv
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/what_helps.md").read_text(encoding="utf-8")
INTERVAL = re.compile(r"(-?\d+\.\d) % \((-?\d+\.\d) to (-?\d+\.\d)\)")

pytestmark = pytest.mark.once


def rows():
    with (ROOT / "docs/what_helps.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def percent(row):
    """Difference, low and high, in percent of the baseline's mean."""
    return [100 * float(row[name]) / float(row["mean_of_baseline"]) for name in ("difference", "low", "high")]


def cell(row):
    if row["conclusion"] == "the same runs":
        return row["conclusion"]
    conclusion = f" {row['conclusion']}" if row["conclusion"] in ("better", "worse") else ""
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(*percent(row)) + conclusion


def tables():
    """Each cell of the page's tables by task, arm and baseline."""
    found, tasks = {}, []
    for line in PAGE.splitlines():
        cells = [part.strip() for part in line.strip("|").split("|")] if line.startswith("|") else []
        if cells[:2] == ["arm", "against"]:
            tasks = cells[2:]
        elif not cells:
            tasks = []
        elif tasks and cells[0] != "---":
            found |= {(task, *cells[:2]): text for task, text in zip(tasks, cells[2:], strict=True) if text != "—"}
    return found


def test_the_tables_are_those_of_the_records():
    written = {}
    for row in rows():
        arm = f"{row['arm']} at {row['point']}" if row["point"] else row["arm"]
        written[row["task"], arm, row["against"]] = cell(row)
    assert len(written) > 200
    assert tables() == written


@pytest.mark.parametrize("text", [PAGE, (ROOT / "README.md").read_text(encoding="utf-8")], ids=["page", "README"])
def test_intervals_in_sentences_are_those_of_a_record(text):
    """In a sentence a smaller loss is a gain: signs and the order of the ends are free."""
    known = {tuple(sorted(f"{abs(value):.1f}" for value in percent(row))) for row in rows() if row["low"]}
    said = [tuple(part.lstrip("-") for part in match) for match in INTERVAL.findall(text)]
    assert said
    assert [match for match in said if tuple(sorted(match)) not in known] == []


def test_the_number_of_tests_is_that_of_the_records():
    """Two arms that chose the same values are the same runs: one test."""
    count = len({(row["mean"], row["mean_of_baseline"], row["p"]) for row in rows() if row["p"]})
    assert f"Holm's adjustment over {count} different tests" in " ".join(PAGE.split())
