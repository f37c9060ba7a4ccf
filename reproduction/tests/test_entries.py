"""What can be reproduced, and the papers' numbers."""

import importlib.util

import pytest

from reproduction import Settings, entry, names, paper_numbers

pytestmark = pytest.mark.once


@pytest.mark.parametrize("name", names())
def test_every_name_has_an_entry_with_a_claim(name):
    own = entry(name)

    assert own.name == name
    assert own.title
    assert own.claim.endswith(".")
    assert importlib.util.find_spec(f"reproduction.{own.module}") is not None


@pytest.mark.parametrize("name", sorted(path.stem for path in paper_numbers.FOLDER.glob("*.toml")))
def test_every_number_of_a_paper_has_a_source(name):
    blocks = paper_numbers._paper(name)

    assert blocks
    assert [place for place, block in blocks.items() if not block.get("source")] == []


def test_tables_of_the_papers_are_rectangular():
    tables = [paper_numbers.meni(name) for name in ("a-fig3", "a-fig4", "a-fig5", "a-fig6")]
    assert all(len(t["signs"]) == len(t["rows"]) for t in tables)
    assert all(len(row) == len(t["columns"]) for t in tables for row in t["signs"])
    table2 = paper_numbers.meni("a-table2")
    assert {len(row["accuracy"]) for row in table2["rows"]} == {len(table2["factors"])}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"scale": "huge"}, "`scale` should be 'small' or 'full'"),
        ({"seeds": 1}, "`seeds` should be at least 2, for an interval. Received: seeds=1"),
        ({"workers": 0}, "`workers` should be at least 1. Received: workers=0"),
    ],
)
def test_settings_are_checked(tmp_path, wrong, said):
    with pytest.raises(ValueError, match=said):
        Settings(output=tmp_path, **wrong)
