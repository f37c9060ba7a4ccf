"""The notebooks of examples/: made from the scripts, small, and runnable."""

import runpy

import pytest

from conftest import ROOT

pytest.importorskip("nbclient", reason="notebooks are run with nbclient")
nbformat = pytest.importorskip("nbformat", reason="notebooks are made with nbformat")
pytestmark = pytest.mark.once

FOLDER = ROOT / "examples" / "notebooks"
MAKE = runpy.run_path(str(FOLDER / "make.py"))


def sources(notebook):
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


@pytest.mark.parametrize("name", MAKE["NOTEBOOKS"])
def test_a_notebook_is_made_of_its_script(name):
    """`python examples/notebooks/make.py` makes them again."""
    path = FOLDER / f"{name}.ipynb"
    kept = nbformat.read(path, 4)

    assert sources(kept) == sources(MAKE["notebook"](name))
    assert any(cell.outputs for cell in kept.cells if cell.cell_type == "code")
    assert path.stat().st_size < 300_000


def test_every_notebook_has_a_script():
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(MAKE["NOTEBOOKS"])


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("name", ["profile", "search"])  # the scripts of all are run as examples
def test_a_notebook_runs(name, tmp_path, monkeypatch, child_environment):
    for variable, value in child_environment.items():
        monkeypatch.setenv(variable, value)

    made = MAKE["executed"](MAKE["notebook"](name), tmp_path)

    assert any(cell.outputs for cell in made.cells if cell.cell_type == "code")
