"""The chores, each in a fresh environment: `nox -l` lists them."""

import pathlib
import re
import tarfile
import zipfile

import nox

BACKENDS = {"tensorflow": (), "jax": ("jax",), "torch": ("torch",)}

CORE_TOOLS = ("pytest", "pytest-xdist", "hypothesis", "mpmath")
CORE_TESTS = (
    "activation", "attach", "backend", "callbacks", "correlation", "every", "frozen", "functional", "layers", "loading",
    "losses", "models", "placement", "placement_graph", "profile", "profile_layers", "profile_measure",
    "sigmoid_entropy",
)  # fmt: skip
"""Files of tests/ that need Keras and a backend only; tests in them that need an extra are skipped."""
CORE_PASSED = 800
"""Fewer tests than these mean that the core was not tested."""

LOWEST_TESTS = (
    "events", "plots", "datasets", "callbacks", "models", "loading", "stats", "study_runs", "study_report",
    "tuning_tuner", "tuning_private_names", "keras_names", "landscape_runs", "landscape_samplers", "cli", "cli_train",
)  # fmt: skip
"""Files of tests/ that use every package that an extra brings; beside a test that trains with every term."""


def files(names):
    return [f"tests/test_{name}.py" for name in names]


@nox.session
@nox.parametrize("backend", list(BACKENDS))
def tests(session, backend):
    """The tests on one backend."""
    session.install("-e", f".[{','.join(('test', *BACKENDS[backend]))}]")
    blocked = "0" if backend == "tensorflow" else "1"
    session.run("pytest", *session.posargs, env={"KERAS_BACKEND": backend, "KERAS_ENTROPY_BLOCK_TENSORFLOW": blocked})


@nox.session
def lint(session):
    """Style, types and the direction of imports."""
    session.install("-e", ".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")


@nox.session
def docs(session):
    """The site; `nox -s docs -- serve` shows it."""
    session.install("-e", ".[docs]")
    session.run("mkdocs", *(session.posargs or ("build", "--strict")))


@nox.session
def benchmark(session):
    """The cost of a training step."""
    session.install("-e", ".[all]")
    session.run("python", "benchmarks/step_overhead.py", *session.posargs)


@nox.session(venv_backend="uv")
def core_jax(session):
    """The core on JAX, without TensorFlow and without any extra."""
    core(session, "jax", ".[jax]", smoke=False)  # `package` runs the smoke test on the same packages


@nox.session(venv_backend="venv")
def core_torch(session):
    """The core on torch, without TensorFlow and without any extra."""
    core(session, "torch", ".[torch]", *session.posargs)


def core(session, backend, *packages, smoke=True):
    environment = {"KERAS_BACKEND": backend}
    session.install(*packages)
    if smoke:
        session.run("python", "tests/core_smoke.py", env=environment)
    session.install(*CORE_TOOLS)
    output = session.run("pytest", "-q", *files(CORE_TESTS), env=environment, silent=True)
    session.log(output.splitlines()[-1])
    if int(re.search(r"(\d+) passed", output)[1]) < CORE_PASSED:
        session.error(f"Fewer than {CORE_PASSED} tests of the core were run.")


@nox.session(venv_backend="uv")
def lowest_tensorflow(session):
    """The lowest versions that pyproject.toml declares, on TensorFlow."""
    lowest(session, "tensorflow")


@nox.session(venv_backend="uv")
def lowest_jax(session):
    """The lowest versions that pyproject.toml declares, on JAX and without TensorFlow."""
    without_tensorflow = pathlib.Path(session.create_tmp()) / "overrides.txt"
    without_tensorflow.write_text("tensorflow; sys_platform == 'never'\n")
    lowest(session, "jax", "--extra", "jax", "--override", str(without_tensorflow))


def lowest(session, backend, *options):
    versions = pathlib.Path(session.create_tmp()) / "lowest.txt"
    versions.unlink(missing_ok=True)
    resolve = ("uv", "pip", "compile", "-q", "--resolution", "lowest-direct", "--extra", "test", "pyproject.toml")
    session.run(*resolve, *options, "-o", str(versions), external=True)
    session.install("-r", str(versions))
    session.install("--no-deps", "-e", ".")
    smoke = "tests/test_optional.py::TestCore::test_the_core_works_without_any_extra"
    session.run("pytest", "-q", "-m", "", smoke, env={"KERAS_BACKEND": backend})
    chosen = () if backend == "tensorflow" else ("-m", "not once and not slow and not processes and not browser")
    session.run("pytest", "-q", *chosen, *files(LOWEST_TESTS), env={"KERAS_BACKEND": backend})


@nox.session(venv_backend="uv")
def package(session):
    """Source distribution and wheel: what is in them, and that the installed wheel works."""
    folder = pathlib.Path(session.create_tmp()) / "dist"
    session.run("uv", "build", "-q", "--clear", "--out-dir", str(folder), external=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        names = wheel.namelist()
    with tarfile.open(next(folder.glob("*.tar.gz"))) as source:
        in_source = {name.split("/")[1] for name in source.getnames()}
    in_wheel = {name.split("/")[0].split("-")[0] for name in names}
    pages = {name for name in names if name.startswith("keras_entropy/profile/page/")}
    if {name.rpartition(".")[2] for name in pages} != {"html", "css", "js"}:
        session.error(f"The wheel should hold the page of a profile. Received: {sorted(pages)}")
    if in_wheel != {"keras_entropy", "keras_entropy_cli"}:
        session.error(f"The wheel should hold the package and its command. Received: {sorted(in_wheel)}")
    wanted = {"tests", "reproduction", "examples", "benchmarks", "docs", "conftest.py", "noxfile.py", "CITATION.cff"}
    missing = wanted - in_source
    if missing:
        session.error(f"The source distribution lacks {', '.join(sorted(missing))}. Received: {sorted(in_source)}")
    (wheel_file,) = folder.resolve().glob("*.whl")
    smoke, jax = pathlib.Path("tests", "core_smoke.py").resolve(), {"KERAS_BACKEND": "jax"}
    session.install(f"keras-entropy[jax] @ {wheel_file.as_uri()}")
    with session.chdir(session.create_tmp()):  # away from the checkout: what is imported comes from the wheel
        session.run("python", str(smoke), env=jax)
        session.install(f"keras-entropy[jax,cli] @ {wheel_file.as_uri()}", "twine")
        session.run("keras-entropy", "--version")
        session.run("keras-entropy", "profile", "cnn", env=jax)
        built = map(str, wheel_file.parent.glob("keras_entropy-*"))  # beside them uv writes a .gitignore
        session.run("twine", "check", "--strict", *built)
