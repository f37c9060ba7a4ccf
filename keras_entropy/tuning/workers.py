"""A search in several processes of this machine, a chief and its workers, which are restarted if they die."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from keras_tuner import errors
from keras_tuner.engine.trial import Trial

from keras_entropy import _files, _optional
from keras_entropy.study.folder import held
from keras_entropy.study.pool import environment, start
from keras_entropy.tuning import ledger
from keras_entropy.tuning.oracles import STATE, read_state
from keras_entropy.tuning.trial_errors import GIVEN_UP, ChiefLostError

LOGS = "workers"

_CHIEF = "chief"
_TRIES, _KILLS = 3, 10
_POLL = 0.2
_FATAL, _ALONE = 3, 4
"""Exit codes of a process: it raised an error that would repeat; it lost its chief."""


def run(
    arguments: Mapping[str, Any], fit: Mapping[str, Any], count: int, update: Callable[[list[Trial]], None]
) -> None:
    """Search with a chief and several workers, until no trial is left.

    A process that dies is restarted under its name and resumes its trial. A trial that kills its worker three times
    without finishing an epoch or a seed in between fails.

    Args:
        arguments: Arguments of `EntropyTuner` by name.
        fit: Arguments of `EntropyTuner.search` by name.
        count: Integer. Number of workers.
        update: Function that is called with the trials a few times per second.

    Raises:
        FatalRuntimeError: If a process raised an error, with its message, or died too often.
    """
    cloudpickle = _optional.require("cloudpickle", extra="search")
    folder = Path(arguments["directory"])
    (folder / LOGS).mkdir(parents=True, exist_ok=True)
    (folder / arguments["project_name"]).mkdir(exist_ok=True)
    with held(folder / arguments["project_name"]):
        _files.remove_partial(folder / LOGS)  # left by a killed search
    handle, name = tempfile.mkstemp(prefix=_files.PARTIAL, suffix=".pkl", dir=folder / LOGS)
    try:
        with os.fdopen(handle, "wb") as file:
            pickle.dump(sys.path, file)  # so that the workers find the user's modules
            cloudpickle.dump((dict(arguments), dict(fit)), file)
        _Team(folder, Path(name), count, arguments["project_name"], update).work()
    finally:
        Path(name).unlink(missing_ok=True)


def main(payload: str, parent: int) -> None:
    """Run one process of the team. Environment variables tell whether it is the chief."""
    start(parent)
    from keras_entropy.tuning.tuner import EntropyTuner

    with Path(payload).open("rb") as file:
        sys.path[:] = pickle.load(file)
        arguments, fit = pickle.load(file)
    try:
        EntropyTuner(**arguments).search(**fit)
    except ChiefLostError as error:
        sys.stderr.write(f"\n{error}\n")
        sys.exit(_ALONE)
    except (errors.FatalError, ValueError, TypeError, OSError, RuntimeError) as error:
        sys.stderr.write(f"\nError: {error}\n")
        sys.exit(_FATAL)


class _Team:
    """The processes of a search."""

    def __init__(
        self, folder: Path, payload: Path, count: int, project: str, update: Callable[[list[Trial]], None]
    ) -> None:
        self._folder, self._payload, self._update = folder, payload, update
        self._project = folder / project
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._shared = {
            **os.environ,
            **environment(),
            "KERASTUNER_ORACLE_IP": "127.0.0.1",
            "KERASTUNER_ORACLE_PORT": str(port),
        }
        self._shares = _shares(count)
        self._members: dict[str, subprocess.Popen[bytes]] = {}
        self._chiefs: dict[str, subprocess.Popen[bytes]] = {}
        """The chief of each worker, by the name of the worker."""
        self._deaths: Counter[tuple[str, str]] = Counter()

    def work(self) -> None:
        """Start all processes, restart those that die, and return when the chief has ended."""
        try:
            for name in (_CHIEF, *self._shares):
                self._begin(name)
            while self._members[_CHIEF].poll() != 0:
                for name, process in list(self._members.items()):
                    if process.poll() is not None:
                        self._ended(name, process.returncode)
                self._update(list(self._trials().values()))
                time.sleep(_POLL)
            for name in self._shares:
                self._members[name].wait(timeout=60)
        except subprocess.TimeoutExpired:
            pass  # stop a worker that hangs after the last trial
        finally:
            for process in self._members.values():
                process.kill()
                process.wait()

    def _begin(self, name: str) -> None:
        cores, gpu = self._shares.get(name, ([], ""))
        threads = {variable: str(max(1, len(cores))) for variable, value in environment().items() if value == "1"}
        own = {**self._shared, **threads, "KERASTUNER_TUNER_ID": name}
        if name == _CHIEF:
            own["CUDA_VISIBLE_DEVICES"] = ""
        elif gpu:
            own["CUDA_VISIBLE_DEVICES"] = gpu
        pin = f"import os; os.sched_setaffinity(0, {cores}); " if cores and hasattr(os, "sched_setaffinity") else ""
        code = f"{pin}from keras_entropy.tuning.workers import main; main({str(self._payload)!r}, {os.getpid()})"
        with (self._folder / LOGS / f"{name}.log").open("ab") as log:
            command = [sys.executable, "-c", code]
            self._members[name] = subprocess.Popen(
                command, env=own, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        self._chiefs[name] = self._members[_CHIEF]

    def _ended(self, name: str, code: int) -> None:
        if code == 0:
            return
        if code == _FATAL:
            log = (self._folder / LOGS / f"{name}.log").read_text(encoding="utf-8", errors="replace")
            raise errors.FatalRuntimeError(log.rsplit("Error: ", 1)[-1].strip())
        if code == _ALONE and self._chiefs[name].poll() is not None:  # the chief died, not the worker
            self._begin(name)
            return
        trial = self._ongoing().get(name)
        progress = str(self._state()["end_order"]) if trial is None else self._progress(trial)
        self._deaths[trial or name, progress] += 1
        deaths = self._deaths[trial or name, progress]
        killed = trial is None and code == -signal.SIGKILL  # killed from outside, before its first trial
        if deaths >= (_KILLS if killed else _TRIES):
            if trial is None:
                raise errors.FatalRuntimeError(
                    f"The process {name!r} died {deaths} times. Its output is in {self._folder / LOGS / f'{name}.log'}."
                )
            _files.write_text(
                self._project / f"trial_{trial}" / GIVEN_UP, f"The trial killed its worker {_TRIES} times.\n"
            )
        self._begin(name)

    def _progress(self, trial: str) -> str:
        """The files of a trial and their times, which change with each epoch and seed."""
        found = self._trials().get(trial)
        if found is None:
            return ""
        folder = self._project / ledger.FOLDER / ledger.key_of(found.hyperparameters.values)
        files = [path for path in sorted(folder.glob("seed_*")) if path.suffix != ".lock"]
        return str([(path.name, path.stat().st_mtime_ns) for path in files if path.exists()])

    def _state(self) -> dict[str, Any]:
        path = self._project / STATE
        return read_state(path) if path.exists() else {"trials": {}, "ongoing_trials": {}, "end_order": []}

    def _trials(self) -> dict[str, Trial]:
        return {name: Trial.from_state(trial) for name, trial in self._state()["trials"].items()}

    def _ongoing(self) -> dict[str, str]:
        return dict(self._state()["ongoing_trials"])


def _shares(count: int) -> dict[str, tuple[list[int], str]]:
    """Cores and GPU of each worker, by name."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = visible.split(",") if visible else [path.name[6:] for path in sorted(Path("/dev").glob("nvidia[0-9]*"))]
    found = {}
    for i in range(count):
        own = cores[i::count] or ([cores[i % len(cores)]] if cores else [])
        found[f"worker-{i}"] = own, gpus[i % len(gpus)] if gpus else ""
    return found
