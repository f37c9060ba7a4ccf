"""Damaged files of every kind: refused in one line, repaired with a warning, or read with the numbers that they had.

A case makes a folder, names a file in it, and says how to go on from the folder. KERAS_ENTROPY_FUZZ multiplies the
number of kinds of damage.
"""

import collections
import contextlib
import dataclasses
import io
import os
import shutil
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import pytest
import typer
from damage import damages
from landscape_cases import Killed, bits, kill_at_write, without_kernel
from quick import quick_training
from study_cases import build, data, write_study
from tuning_cases import arrays, hypermodel, minimize_nothing, plain, train_nothing, tuner_options

from keras_entropy import EntropyWarning, landscape, models
from keras_entropy.landscape import DensitiesOfStates, DensityOfStates, exact
from keras_entropy.profile import EntropyProfile, entropy_profile
from keras_entropy.runs import memory, training
from keras_entropy.runs.watch import Watch
from keras_entropy.study import Arm, Study, read_records, read_study, single_run
from keras_entropy.tuning import EntropyTuner, trial_run
from keras_entropy_cli import run_folder
from keras_entropy_cli.errors import user_errors
from keras_entropy_cli.run_arguments import Arguments

pytestmark = pytest.mark.once

TIMES = int(os.environ.get("KERAS_ENTROPY_FUZZ", "1"))


@dataclasses.dataclass
class Case:
    """A file, and how to go on from it.

    Attributes:
        make: Function of a folder that writes the file.
        path: Pattern of the file in the folder.
        use: Function of a folder that reads the file; returns what it found.
        count: Number of kinds of damage.
        part: Whether a file that lost some records gives the others: what is left of the records is what they were.
    """

    make: Callable[[Path], Any]
    path: str
    use: Callable[[Path], Any]
    count: int = 34
    part: bool = False


# A study without training


def train_quickly(job, task):
    values = [task.seed, len(task.arm), *task.values.values()]
    return task.record(history={"val_task_loss": [float(sum(values)) / (epoch + 1) for epoch in range(3)]})


def study(folder):
    return Study(build, [Arm("a"), Arm("bb")], [0, 1, 2], data=data, epochs=3, tune_seeds=[7], output=folder / "out")


def half_a_study(folder):
    resume_study(folder)
    runs = folder / "out" / "runs.jsonl"
    runs.write_bytes(b"".join(runs.read_bytes().splitlines(keepends=True)[:-2]))


def resume_study(folder):
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as executor:
        patch.setattr(single_run, "train", train_quickly)
        return said(study(folder).run(executor, progress=False).records)


def said(records):
    """What records say, but for the times, which a run that is trained again changes."""
    return [repr((record.slot, record.status, record.history, record.key)) for record in records]


def read_said(folder):
    return said(read_records(folder / "out"))


def reported(folder):
    """A report, and what its numbers come from."""
    result = read_study(folder / "out")
    result.report(folder / "report")
    return [*said(result.records), repr([(arm.name, arm.grid, arm.tune) for arm in result.plan.arms])]


# A search without training


def search(folder, trials=3):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial_run, "train", train_nothing())
        patch.setattr("scipy.optimize.minimize", minimize_nothing)
        tuner = EntropyTuner(**tuner_options("random", folder, trials))
        tuner.search(**arrays(), epochs=2, verbose=0)
    trials = [tuner.oracle.trials[name] for name in tuner.oracle.start_order]
    return [(trial.hyperparameters.values, trial.score, trial.metrics.get_config()) for trial in trials]


def go_on_searching(folder):
    return search(folder, trials=5)


# Training: a run of three epochs that was stopped after two


class Stop(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise Killed


def train_run(folder, observers=()):
    keras.utils.set_random_seed(0)
    model, watch, x = build(eager=True), Watch(), arrays()["x"]
    training.fit(
        model,
        {"x": x, "y": x, "validation_data": (x, x), "epochs": 3},
        0,
        watch,
        callbacks=[keras.callbacks.EarlyStopping("task_loss", mode="min", patience=9)],
        observers=observers,
        checkpoint=folder / "a.npz",
        key="a",
    )
    return watch.history, single_run.fingerprint(model)


def stopped_run(folder):
    with pytest.raises(Killed):
        train_run(folder, [Stop()])


ARGUMENTS = Arguments("digits", None, "autoencoder", "all", "DenseEntropy", 1e-3, 2, 32, 1e-3, 0)


def train_command(folder, epochs=2, resume=True):
    arguments = dataclasses.replace(ARGUMENTS, epochs=epochs)
    wish = {"overwrite": False, "resume": resume}
    with run_folder.opened(folder / "out", arguments, {"epochs"}, **wish) as run, nothing_printed():
        run.train()
    return run.history, single_run.fingerprint(run.model)


def ended_command(folder):
    train_command(folder, 1, resume=False)


def stopped_command(folder):
    with run_folder.opened(folder / "out", ARGUMENTS, set(), overwrite=False, resume=False) as run:
        run.arguments = dataclasses.replace(ARGUMENTS, epochs=1)
        run.fit(verbose=0)


# Trained weights of a trial


def weights(folder):
    tuner = EntropyTuner(hypermodel(), max_trials=1, seeds=[0], directory=folder)
    tuner.search(**arrays(), epochs=1, verbose=0)
    return tuner


def load_weights(folder):
    tuner = EntropyTuner(hypermodel(), max_trials=1, seeds=[0], directory=folder)
    model = plain()
    memory.build_optimizer(model)
    tuner.job((), {}).load_weights(model, tuner.records.all()[0])
    return [keras.ops.convert_to_numpy(value).tobytes() for value in [*model.variables, *model.optimizer.variables]]


# Measures and walks


def profiled(folder):
    entropy_profile(models.autoencoder((6,), 4)).save(folder / "p.json")


WALK = {"axes": "energy", "moves": 2e3, "edges": {"energy": exact.ball_edges(6, bins=4)}, "walkers": 8, "particles": 20}


def walk(folder, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_entropy.landscape.pipeline._SECONDS", -1.0)
        patch.setattr("keras_entropy.landscape.wang_landau._CHUNK", 50)
        options = WALK | {"backend": "numpy", "checkpoint": folder / "walk.state"} | options
        return landscape.density_of_states(landscape.ball_problem(6), **options)


def stopped_walk(folder):
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
        kill_at_write(patch, 2, "before")
        walk(folder)


def density(folder):
    walk(folder, checkpoint=None).save(folder / "d.json")


def walks(folder):
    problem = without_kernel(landscape.ball_problem(6))
    options = WALK | {"backend": "numpy", "folder": folder / "out", "progress": False}
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as here:
        patch.setattr("keras_entropy.landscape.pipeline._SECONDS", -1.0)
        patch.setattr("keras_entropy.landscape.wang_landau._CHUNK", 50)
        found = landscape.densities_of_states([problem], executor=here, **options)
    return f"{found}{found.walks['all'][0].entropy.tolist()}"


def stopped_walks(folder):
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
        kill_at_write(patch, 4, "before")
        walks(folder)


def loaded_walks(folder):
    found = DensitiesOfStates.load(folder / "out")
    return f"{found}{found.walks['all'][0].entropy.tolist()}"


SLOW = ("checkpoint of a run", "checkpoint.npz")

CASES = {
    "runs.jsonl, resumed": Case(half_a_study, "out/runs.jsonl", resume_study),
    "runs.jsonl, read": Case(half_a_study, "out/runs.jsonl", read_said, part=True),
    "runs.jsonl, reported": Case(
        lambda f: write_study(f / "out", widths=()), "out/runs.jsonl", reported, 12, part=True
    ),
    "study.json, resumed": Case(half_a_study, "out/study.json", resume_study),
    "study.json, reported": Case(lambda f: write_study(f / "out", widths=()), "out/study.json", reported, 20),
    "search.json": Case(search, "search/search.json", go_on_searching),
    "oracle.json": Case(search, "search/oracle.json", go_on_searching),
    "trial.json": Case(search, "search/trial_*/trial.json", go_on_searching),
    "runs.jsonl of a search": Case(search, "search/runs.jsonl", go_on_searching),
    "weights of a trial": Case(weights, "search/weights/*.weights.h5", load_weights),
    "checkpoint of a run": Case(stopped_run, "a.npz", train_run),
    "run.json": Case(ended_command, "out/run.json", train_command, 20),
    "model.keras": Case(ended_command, "out/model.keras", train_command, 20),
    "checkpoint.npz": Case(stopped_command, "out/checkpoint.npz", train_command, 20),
    "profile.json": Case(profiled, "p.json", lambda f: repr(EntropyProfile.load(f / "p.json"))),
    "density.json": Case(density, "d.json", lambda f: bits(DensityOfStates.load(f / "d.json"))),
    "walks.json, resumed": Case(walks, "out/walks.json", walks),
    "walks.json, read": Case(walks, "out/walks.json", loaded_walks),
    "record of a walk": Case(walks, "out/walks/*.json", walks),
    "checkpoint of a walk": Case(stopped_walks, "out/checkpoints/*.state", walks, 6),
    "walk.state": Case(stopped_walk, "walk.state", lambda f: bits(walk(f))),
}
"""Kinds of files."""


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with quick_training():
        yield


@contextlib.contextmanager
def nothing_printed():
    with contextlib.redirect_stdout(io.StringIO()):
        yield


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CASES])
def test_damage_is_refused_or_repaired_and_changes_no_number(name, tmp_path, capsys):
    case, tried = CASES[name], collections.Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (tmp_path / "good").mkdir()
        case.make(tmp_path / "good")
        expected = used(case, tmp_path / "good", lambda path: None)
    assert expected
    for kind, draw in damages(name, case.count * TIMES):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            end = ended(case, tmp_path / "good", kind, draw, expected, capsys)
        said = [str(one.message) for one in caught if one.category is EntropyWarning]
        assert all(text.isprintable() for text in said), said
        tried[end if end == "refused" or not said else "repaired"] += 1
    assert tried["refused"] + tried["repaired"] > case.count * TIMES / 2  # most damage is seen
    print(f"{name}: {dict(tried)}")


def used(case, good, damage):
    """Go on from a damaged copy of a folder."""
    work = good.with_name("work")
    shutil.copytree(good, work)
    try:
        damage(sorted(work.glob(case.path))[0])
        return case.use(work)
    finally:
        shutil.rmtree(work)


def ended(case, good, kind, draw, expected, capsys):
    """How a use of a damaged file ended."""

    def damage(path):
        path.write_bytes(kind(draw, path.read_bytes()))

    found = refusal = None
    capsys.readouterr()
    try:
        with user_errors():
            found = used(case, good, damage)
    except typer.Exit as end:
        refusal = end
    if refusal is None:
        left = [one for one in found if one not in expected] if case.part else found != expected
        assert not left, kind
        return "unaffected"
    printed = capsys.readouterr().err
    assert refusal.exit_code == 2
    assert isinstance(refusal.__cause__, ValueError | OSError), repr(refusal.__cause__)
    assert printed.startswith("Error: ")
    assert printed.count("\n") == 1
    assert str(refusal.__cause__).isprintable(), str(refusal.__cause__)
    return "refused"
