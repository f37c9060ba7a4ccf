"""The chores, each in a fresh environment: `nox -l` lists them."""

import nox

BACKENDS = {"tensorflow": (), "jax": ("jax",), "torch": ("torch",)}


@nox.session
@nox.parametrize("backend", list(BACKENDS))
def tests(session, backend):
    session.install("-e", f".[{','.join(('test', *BACKENDS[backend]))}]")
    blocked = "0" if backend == "tensorflow" else "1"
    session.run("pytest", *session.posargs, env={"KERAS_BACKEND": backend, "KERAS_ENTROPY_BLOCK_TENSORFLOW": blocked})


@nox.session
def lint(session):
    session.install("-e", ".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")


@nox.session
def docs(session):
    session.install("-e", ".[docs]")
    session.run("mkdocs", *(session.posargs or ("build", "--strict")))


@nox.session
def benchmark(session):
    session.install("-e", ".")
    session.run("python", "benchmarks/step_overhead.py", *session.posargs)
