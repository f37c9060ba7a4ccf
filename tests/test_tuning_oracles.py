"""The state of a search: whole at any moment, so that a killed search goes on as if it had not been killed."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import scipy.optimize
from tuning_cases import (
    TUNERS,
    Faults,
    Killed,
    arrays,
    hypermodel,
    minimize_nothing,
    search_nothing,
    train_nothing,
    tuner_options,
    values_of,
)

from keras_entropy import EntropyWarning, _files, _sealed
from keras_entropy.runs.records import RunRecords
from keras_entropy.tuning import EntropyTuner, project_folder, trial_run
from keras_entropy.tuning.oracles import SCHEMA

pytestmark = pytest.mark.once

KILLS = int(os.environ.get("KERAS_ENTROPY_KILLS", "12"))


@pytest.fixture(autouse=True)
def _without_training(monkeypatch):
    monkeypatch.setattr(trial_run, "train", trial_run.train)  # search_nothing sets them; both are put back
    monkeypatch.setattr(scipy.optimize, "minimize", minimize_nothing)
    monkeypatch.setattr(os, "fsync", lambda file: None)


@pytest.mark.parametrize("kind", TUNERS)
def test_a_search_that_is_opened_again_goes_on_with_the_same_values(kind, tmp_path):
    whole = values_of(search_nothing(kind, str(tmp_path / "whole")))
    trial_run.train = train_nothing(str(tmp_path / "log"))

    class Stopped(EntropyTuner):
        ended = 0

        def on_trial_end(self, trial):
            super().on_trial_end(trial)
            Stopped.ended += 1
            raise KeyboardInterrupt

    options = tuner_options(kind, str(tmp_path / "parts"), 12)
    while True:
        tuner = Stopped(**options)
        try:
            tuner.search(**arrays(), epochs=2, verbose=0)
        except KeyboardInterrupt:
            continue
        break
    assert Stopped.ended == len(whole)
    assert values_of(tuner) == whole
    assert len(set(map(str, whole))) == len(whole) >= 8


@pytest.mark.filterwarnings("ignore:.*differs from oracle.json")
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow if kind == "hyperband" else ()) for kind in TUNERS]
)
def test_a_kill_at_any_write_loses_nothing_and_trains_nothing_twice(kind, tmp_path, monkeypatch):
    whole = search_nothing(kind, tmp_path / "whole")
    faults = Faults(tmp_path / "killed")
    with monkeypatch.context() as patch:
        patch.setattr(_files, "replacing", faults)
        patch.setattr(RunRecords, "add", faults.adding())
        kills = 0
        while True:
            try:
                killed = search_nothing(kind, tmp_path / "killed")
                break
            except Killed:
                kills += 1
    assert values_of(killed) == values_of(whole)
    assert scores_of(killed) == scores_of(whole)
    assert {trial.status for trial in killed.oracle.trials.values()} == {"COMPLETED"}
    met = Counter((moment, path.name.split("_")[0]) for moment, path, _ in faults.met)
    runs = len((tmp_path / "whole.log").read_text().splitlines())
    trials = len(whole.oracle.trials)
    assert kills == sum(met.values())
    for moment in ("before", "middle", "after"):
        assert met[moment, "runs.jsonl"] == runs  # the record of each run
        assert met[moment, "trial.json"] == 2 * trials  # as each trial begins and ends
        assert met[moment, "oracle.json"] >= 2 * trials
        assert met[moment, "search.json"] == 1
    # Only a run whose record was not written is trained again.
    trained = len((tmp_path / "killed.log").read_text().splitlines())
    assert trained - runs == met["before", "runs.jsonl"] + met["middle", "runs.jsonl"]


FORKS = """
import os, random, signal, sys, time, warnings
sys.path.insert(0, {tests!r})
from tuning_cases import TUNERS, search_nothing
warnings.simplefilter("ignore")
draw = random.Random(0)
for kind in TUNERS:
    kills = searches = 0
    while kills < {kills}:
        while True:
            child = os.fork()
            if child == 0:
                sys.stdout = open(os.devnull, "w")
                search_nothing(kind, os.path.join({folder!r}, kind + str(searches)))
                os._exit(0)
            moment = time.monotonic() + (draw.uniform(0.01, 0.25) if kills < {kills} else 1e9)
            ended, status = 0, None
            while not ended and time.monotonic() < moment:
                ended, status = os.waitpid(child, os.WNOHANG)
                time.sleep(0.001)
            if ended:
                assert status == 0, status
                break
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            kills += 1
        searches += 1
    print(kills, searches)
"""


@pytest.mark.processes
def test_kill_9_at_random_moments_loses_nothing_and_trains_nothing_twice(tmp_path, child_environment):
    """Each kill hits some moment of reading, choosing, training or writing."""
    code = FORKS.format(tests=str(Path(__file__).parent), folder=str(tmp_path), kills=KILLS)
    printed = subprocess.run(
        [sys.executable, "-c", code], env=child_environment, capture_output=True, text=True, timeout=1200, check=False
    )
    assert printed.returncode == 0, printed.stderr[-3000:]
    for kind, line in zip(TUNERS, printed.stdout.splitlines(), strict=True):
        kills, searches = map(int, line.split())
        assert kills == KILLS
        whole = search_nothing(kind, tmp_path / f"{kind}_whole")
        once = len((tmp_path / f"{kind}_whole.log").read_text().splitlines())
        again = 0
        for number in range(searches):
            killed = EntropyTuner(**tuner_options(kind, tmp_path / f"{kind}{number}", 12))
            assert values_of(killed) == values_of(whole)
            assert scores_of(killed) == scores_of(whole)
            assert {trial.status for trial in killed.oracle.trials.values()} == {"COMPLETED"}
            again += len((tmp_path / f"{kind}{number}.log").read_text().splitlines()) - once
        print(f"{kind}: {kills} kills in {searches} searches of {len(values_of(whole))} trials, {again} trained again")
        assert again <= kills  # only what was not finished when a kill came


def scores_of(tuner):
    return [tuner.oracle.trials[name].score for name in tuner.oracle.start_order]


def test_a_torn_state_is_an_error_that_says_what_to_do(tmp_path):
    folder = str(tmp_path / "a")
    whole = values_of(search_nothing("random", folder))
    state = Path(folder, "search", "oracle.json")
    state.write_bytes(state.read_bytes()[:-200])
    with pytest.raises(ValueError, match="Delete it"):
        EntropyTuner(**tuner_options("random", folder, 12))
    state.unlink()
    Path(folder + ".log").unlink()
    assert values_of(search_nothing("random", folder)) == whole
    assert not Path(folder + ".log").exists()  # all was read


def test_an_edited_state_is_an_error(tmp_path):
    folder = str(tmp_path / "a")
    search_nothing("random", folder)
    state = Path(folder, "search", "oracle.json")
    state.write_text(state.read_text().replace("COMPLETED", "FAILED", 1))
    with pytest.raises(ValueError, match="checksum"):
        EntropyTuner(**tuner_options("random", folder, 12))


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state["trials"].update({"/../../../x": state["trials"].pop("00")}),
        lambda state: state["trials"]["00"].update(trial_id="../01"),
        lambda state: state["start_order"].append("../../x"),
        lambda state: state["trials"].update({"00": 3}),
        lambda state: state["trials"]["00"].pop("hyperparameters"),
        lambda state: state.pop("end_order"),
        lambda state: state.update(trials=[]),
    ],
)
def test_a_state_with_a_right_checksum_and_wrong_content_is_an_error(change, tmp_path):
    folder = tmp_path / "a"
    search_nothing("random", str(folder))
    path = folder / "search" / "oracle.json"
    state = json.loads(_sealed.read(path, SCHEMA)["state"])
    change(state)
    _sealed.write(path, SCHEMA, {"state": json.dumps(state)})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="oracle.json is not the state of a search: .*Delete it"):
        EntropyTuner(**tuner_options("random", str(folder), 12))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("content", ["", "{", '{"trial_id": "00"}'])
def test_a_damaged_trial_is_written_anew(content, tmp_path):
    folder = str(tmp_path / "a")
    search_nothing("random", folder)
    path = Path(folder, "search", "trial_03", "trial.json")
    before = path.read_text()
    path.write_text(content)
    if content:
        with pytest.warns(EntropyWarning, match="was edited, is corrupted"):
            search_nothing("random", folder)
    else:
        search_nothing("random", folder)
    assert path.read_text() == before


def test_zero_is_a_seed(tmp_path):
    found = []
    for name in "ab":
        trial_run.train = train_nothing()
        tuner = EntropyTuner(**tuner_options("random", str(tmp_path / name), 3) | {"seed": 0})
        tuner.search(**arrays(), epochs=1, verbose=0)
        found.append(values_of(tuner))
    assert found[0] == found[1]


def test_a_larger_number_of_trials_goes_on(tmp_path):
    folder = str(tmp_path / "a")
    few = values_of(search_nothing("random", folder, trials=12))
    more = values_of(search_nothing("random", folder, trials=15))
    assert more[:12] == few
    assert len(more) == 15


def test_another_search_in_the_folder_is_refused(tmp_path):
    folder = str(tmp_path / "a")
    search_nothing("random", folder)
    for change in ({"seeds": [0, 2]}, {"seed": 4}, {"hypermodel": hypermodel(factors=(1e-3, 1.0))}, {"tuner": "grid"}):
        before = Path(folder, "search", "oracle.json").read_bytes()
        with pytest.raises(ValueError, match="holds a search with other .*overwrite=True"):
            EntropyTuner(**tuner_options("random", folder, 12) | change).search(**arrays(), epochs=2, verbose=0)
        assert Path(folder, "search", "oracle.json").read_bytes() == before
    with pytest.raises(ValueError, match=r"other settings: fit \(epochs\)\. Restore"):
        EntropyTuner(**tuner_options("random", folder, 12)).search(**arrays(), epochs=3, verbose=0)


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds other files \(notes.txt\), and no search"):
        EntropyTuner(**tuner_options("random", str(tmp_path), 3) | {"overwrite": True})
    assert (tmp_path / "search" / "notes.txt").read_text() == "mine"


def test_overwrite_starts_anew(tmp_path):
    folder = str(tmp_path / "a")
    search_nothing("random", folder)
    tuner = EntropyTuner(**tuner_options("random", folder, 12) | {"overwrite": True})
    assert not tuner.oracle.trials
    assert not Path(folder, "search", "runs.jsonl").exists()


def test_two_programs_do_not_search_in_one_folder(tmp_path):
    folder = str(tmp_path / "a")
    Path(folder, "search").mkdir(parents=True)
    with (
        project_folder.results_of(Path(folder, "search")).locked(),
        pytest.raises(BlockingIOError, match="Another process"),
    ):
        search_nothing("random", folder)


def test_what_keras_tuner_reads_is_there(tmp_path):
    folder = str(tmp_path / "a")
    tuner = search_nothing("random", folder)
    record = json.loads(Path(folder, "search", "trial_00", "trial.json").read_text())
    metrics = record["metrics"]["metrics"]
    assert {"val_task_loss", "val_task_loss/seed_0/last", "val_task_loss/seed_1/best"} <= set(metrics)
    assert record["score"] == tuner.oracle.trials["00"].score


def test_a_disk_that_is_full_ends_the_search(tmp_path, monkeypatch):
    from keras_tuner.errors import FatalError

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunRecords, "add", full)
    with pytest.raises((OSError, FatalError), match="No space left"):
        search_nothing("random", str(tmp_path / "a"))
