"""What is shown of runs: a table on a terminal and in a notebook, lines elsewhere, and the time left."""

import importlib.machinery
import io
import sys
import time
import types

import pytest
from rich.console import Console

from keras_entropy.runs import epochs, progress
from keras_entropy.runs.progress import Progress

pytestmark = pytest.mark.once


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def rows(shown):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(shown.table())
    lines = console.export_text().splitlines()
    return lines[0].strip(), [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]


def test_the_table_counts_runs_and_time(clock):
    shown = Progress(["[bold]a", "b"], show=False)
    shown.begin("Comparing", {"[bold]a": 4}, [("b", True)])
    assert rows(shown)[0] == "Comparing (time left unknown)"
    clock[0] += 30
    shown.ended("[bold]a", True)
    shown.ended("[bold]a", False, note="best 0.5")

    assert shown.seconds_left == pytest.approx(30)
    assert rows(shown) == ("Comparing (0:30 left, best 0.5)", [["[bold]a", "1", "1", "2"], ["b", "1", "0", "0"]])


def test_the_time_left_is_right_where_a_run_takes_minutes(clock):
    """Two at a time: they end in pairs."""
    shown = Progress(["a"], show=False)
    shown.begin("Searching", {"a": 12})
    for pair in range(1, 4):
        clock[0] += 200
        shown.ended("a", True)
        shown.ended("a", True)
        assert shown.seconds_left == pytest.approx(200 * (6 - pair))


def test_a_pipe_gets_a_line_for_each_run(capsys, clock):
    with Progress(["none", "volume"], show=True) as shown:
        shown.begin("Comparing", {"none": 1, "volume": 1}, [("none", True)])
        clock[0] += 70
        shown.ended("none", True, "arm none, seed 1")
        clock[0] += 70
        shown.ended("volume", False, "arm volume, seed 1", "best loss 0.1")

    assert capsys.readouterr().err.splitlines() == [
        "Comparing: 1 of 3 runs, time left unknown",
        "Comparing: arm none, seed 1, 2 of 3 runs, 1:10 left",
        "Comparing: arm volume, seed 1, failed, 3 of 3 runs, 0:00 left, best loss 0.1",
    ]


def test_a_pipe_is_not_silent_for_long(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_SILENCE", 0.5)
    with Progress(["trials"], show=True, noun="trial") as shown:
        shown.begin("Searching", {"trials": 2})
        epochs.reported_in().write_text("[3, 10]")
        epochs.file_of_a_worker().write_text("[7, 10]")
        time.sleep(2.5)

    assert (
        "Searching: 0 of 2 trials, time left unknown, 2 runs, epochs 3 and 7 of 10"
        in capsys.readouterr().err.splitlines()
    )


def test_a_terminal_gets_a_live_table(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Progress(["a"], show=True) as shown:
        shown.begin("Comparing", {"a": 1})
        epochs.reported_in().write_text("[3, 10]")
        time.sleep(1.5)  # the table reads it when it refreshes
        assert "epoch 3 of 10" in capsys.readouterr().err
        shown.ended("a", True)
    assert "Comparing (0:00 left" in capsys.readouterr().err


class Output:
    """In place of a widget of a notebook."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def clear_output(self, wait):
        pass


@pytest.mark.parametrize("widgets", [True, False])
def test_a_notebook_gets_a_live_table_with_ipywidgets_and_lines_without(widgets, capsys, monkeypatch):
    shows = []
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", lambda segments, text: shows.append(text))
    for name, value in (("ipywidgets", {"Output": Output}), ("IPython.display", {"display": print})):
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        vars(module).update(value)
        monkeypatch.setitem(sys.modules, name, module if widgets else None)
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    with Progress(["a"], show=True) as shown:
        shown.begin("Comparing", {"a": 1})
        shown.ended("a", True)

    if widgets:
        assert "0:00" in "".join(shows)
    else:
        assert "Comparing: a, 1 of 1 runs, 0:00 left" in capsys.readouterr().err


def test_nothing_is_shown_if_not_asked(capsys):
    with Progress(["a"], show=False) as shown:
        shown.begin("Comparing", {"a": 1})
        shown.ended("a", True)
    assert capsys.readouterr().err == ""
