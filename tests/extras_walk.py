"""Use what needs an extra, with the extra blocked: `python tests/extras_walk.py BLOCKED INCLUDED FOLDER`.

BLOCKED maps each extra to the modules that it brings, INCLUDED to itself and the extras that it includes, both as
Python text. `test_optional.py` starts this script. Each extra is blocked in a forked child, after Keras was imported.
"""

import ast
import contextlib
import importlib
import io
import os
import re
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCKED, INCLUDED, FOLDER = ast.literal_eval(sys.argv[1]), ast.literal_eval(sys.argv[2]), Path(sys.argv[3])
NAMES = [
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for file in sorted((ROOT / "keras_entropy").rglob("*.py"))
    if file.name != "__main__.py"
]
NEEDS_AN_EXTRA = {
    "keras_entropy.tuning": "search",
    "keras_entropy.landscape.kernels": "landscape",
    "keras_entropy.landscape.samplers.numba_sampler": "landscape",
}


def imported(name):
    """The module of that name; None for one of a backend that is not there."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in ("tensorflow", "jax", "torch"):
            raise
        return None


def block(*extras):
    """Make the packages of extras impossible to import."""
    for module in (module for extra in extras for module in BLOCKED[extra]):
        sys.modules[module] = None


def forget(package):
    """Let the next import of a package run its code again."""
    for name in [name for name in sys.modules if name == package or name.startswith(package + ".")]:
        del sys.modules[name]


def check(extra, use, call):
    """The call raises the one error, and the error names the extra."""
    message = "no error"
    try:
        call()
    except ModuleNotFoundError as error:
        message = str(error)
    check_message(extra, use, message)


def check_message(extra, use, message):
    named = re.search(
        r' needs \w+, which is not installed\. Install it with: pip install "keras-entropy\[(.+)\]"$', message
    )
    assert named is not None, f"{use} without {extra}: {message}"
    assert any(extra in INCLUDED[name] for name in named[1].split(",") if name in INCLUDED), f"{use}: {message}"


def check_command(extra, *arguments):
    """The command prints the one error in one line, without a traceback, and exits with code 2."""
    import keras_entropy_cli

    sys.argv = ["keras-entropy", *arguments]
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            keras_entropy_cli.main()
        code = 0
    except SystemExit as stopped:
        code = stopped.code
    lines = printed.getvalue().splitlines()
    assert not (FOLDER / "run").exists(), f"{arguments} without {extra}: the folder was written"
    assert code == 2, f"{arguments} without {extra}: exit code {code}: {lines}"
    assert len(lines) == 1, f"{arguments} without {extra}: {lines}"
    check_message(extra, arguments, lines[0])


def every_module_without_any_extra():
    """Every module imports and has its public names, except those that need an extra as a whole."""
    for name in NAMES:
        owner = next((package for package in NEEDS_AN_EXTRA if (name + ".").startswith(package + ".")), None)
        if owner:
            check(NEEDS_AN_EXTRA[owner], name, lambda name=name: importlib.import_module(name))
        else:
            module = imported(name)
            for public in getattr(module, "__all__", ()):
                getattr(module, public)


def network():
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", "mse")
    return model


def without_the_backend():
    message = "no error"
    try:
        importlib.import_module("keras_entropy")
    except ModuleNotFoundError as error:
        message = str(error)
    backend = os.environ["KERAS_BACKEND"]
    assert f'Keras needs {backend}, which is not installed. Install it with: pip install "keras-entropy' in message


def without_plot():
    import keras_entropy
    from keras_entropy import plots

    check("plot", "EntropyLogger(log_dir)", lambda: keras_entropy.EntropyLogger(log_dir=FOLDER / "logs"))
    check("plot", "EntropyProfile.plot", keras_entropy.entropy_profile(network()).plot)
    for name in ("entropy_boxes", "entropy_history", "entropy_panels"):
        check("plot", name, lambda name=name: getattr(plots, name)({} if name == "entropy_history" else []))
    check_command("plot", "profile", "cnn", "--plot", str(FOLDER / "cnn.png"))
    check_command("plot", "landscape", "--output", str(FOLDER / "run"))
    check_command("plot", "search", "--output", str(FOLDER / "run"))
    check_command("plot", "train", "--dataset", "spirals", "--model", "autoencoder", "--output", str(FOLDER / "run"))


def without_tensorboard():
    import keras_entropy
    from keras_entropy.events import EventWriter

    check("tensorboard", "EntropyLogger(log_dir)", lambda: keras_entropy.EntropyLogger(log_dir=FOLDER / "logs"))
    check("tensorboard", "EventWriter", lambda: EventWriter(FOLDER / "logs"))
    assert not (FOLDER / "logs").exists()
    arguments = ("--dataset", "spirals", "--model", "autoencoder", "--output", str(FOLDER / "run"))
    check_command("tensorboard", "train", *arguments)
    check_command("tensorboard", "search", "--output", str(FOLDER / "run"))


def without_data():
    from keras_entropy import datasets

    for split in ("train", "test"):
        (FOLDER / "photographs" / split / "class").mkdir(parents=True)
        (FOLDER / "photographs" / split / "class" / "a.png").write_bytes(b"")
    (FOLDER / "tfds" / "mnist" / "1.0.0").mkdir(parents=True)
    (FOLDER / "tfds" / "mnist" / "1.0.0" / "dataset_info.json").write_text("{}")
    check("data", "digits", datasets.digits)
    check("data", "image_folder", lambda: datasets.image_folder(FOLDER / "photographs"))
    check("data", "prepared", lambda: datasets.prepared("mnist", FOLDER / "tfds"))
    check_command("data", "train", "--output", str(FOLDER / "run"))
    check_command("data", "search", "--output", str(FOLDER / "run"))


def without_cli():
    for command in ("train", "profile", "study", "search", "landscape", "--help"):
        check_command("cli", command)


def without_study():
    import numpy as np

    import keras_entropy
    from keras_entropy import landscape
    from keras_entropy.study import Arm, Study

    x, y = np.ones((8, 4)), np.ones((8, 3))
    profile = keras_entropy.entropy_profile(network())
    study = {"arms": [Arm("none")], "seeds": [0], "data": (x, y, x, y), "epochs": 1}
    check("study", "EntropyProfile.to_frame", profile.to_frame)
    check("study", "ProfileComparison.to_frame", profile.compare(profile).to_frame)
    check("study", "Study", lambda: Study(network, output=FOLDER / "runs", **study).run())
    problems = [landscape.ball_problem(3)]
    check("study", "densities_of_states", lambda: landscape.densities_of_states(problems, "positive", progress=False))
    file = FOLDER / "study.toml"
    file.write_text('dataset = "spirals"\nmodel = "autoencoder"\nseeds = 2\nepochs = 1\n[[arms]]\nname = "none"\n')
    check_command("study", "study", str(file), "--output", str(FOLDER / "run"))


def without_search():
    forget("keras_entropy.tuning")
    check("search", "keras_entropy.tuning", lambda: importlib.import_module("keras_entropy.tuning"))
    check_command("search", "search", "--output", str(FOLDER / "run"))


def without_landscape():
    forget("keras_entropy.landscape")
    from keras_entropy import datasets, landscape

    problem = landscape.network_problem(1, 2, datasets.spirals(seed=0))
    check("landscape", "density_of_states", lambda: landscape.density_of_states(problem, moves=1000))
    check_command("landscape", "landscape", "--moves", "1e4", "--output", str(FOLDER / "run"))


def in_a_child(function, *extras):
    """Run a function in a forked process in which extras are blocked; True if it raised nothing."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    code = 1
    try:
        block(*extras)
        function()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def main():
    BLOCKED["backend"] = [os.environ["KERAS_BACKEND"]]
    walked = [in_a_child(without_the_backend, "backend")]
    del BLOCKED["backend"]

    import keras  # noqa: F401 (once, for all children)

    walked += [in_a_child(every_module_without_any_extra, *BLOCKED)]
    for name in NAMES:
        imported(name)
    for extra in BLOCKED:
        walked.append(in_a_child(globals()[f"without_{extra}"], extra))
    if not all(walked):
        raise SystemExit(1)
    sys.stdout.write("walked: " + ", ".join(BLOCKED) + "\n")


if __name__ == "__main__":
    main()
