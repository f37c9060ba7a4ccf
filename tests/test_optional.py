"""What needs an extra says so in one message, and the core needs none."""

import ast
import functools
import importlib.metadata
import re
import subprocess
import sys
import tomllib

import core_smoke
import pytest

import keras_entropy
from conftest import BLOCKED, ROOT
from keras_entropy import _optional

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PARTS = ("plot", "tensorboard", "data", "cli", "study", "search", "landscape")
BROUGHT_BY_KERAS = {"rich"}
OWN_CHECK = {"typer"}
"""Imported at the top of the files of keras_entropy_cli, whose `main` requires it first."""


def lines_of(extra):
    return [re.match(r"([\w-]+)(\[(.*)\])?", line).group(1, 3) for line in PROJECT["optional-dependencies"][extra]]


def parts_of(extra):
    """The extra itself and those that it includes."""
    included = [part for _, parts in lines_of(extra) if parts for part in parts.split(",")]
    return {extra}.union(*map(parts_of, included))


installed = functools.cache(importlib.metadata.packages_distributions)


@functools.cache
def modules(extra):
    """Names under which Python imports the packages that an extra lists itself."""
    names = {name.lower() for name, parts in lines_of(extra) if not parts}
    return {module for module, sources in installed().items() if names & {source.lower() for source in sources}}


def is_typing_block(node):
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports_and_requires(node, function=None, loops=None):
    """(line, package, extra, function) of each import that runs, extra being None, and of each `require`."""
    loops = dict(loops or {})
    if isinstance(node, ast.For) and isinstance(node.target, ast.Name) and isinstance(node.iter, ast.Tuple):
        loops[node.target.id] = [element.value for element in node.iter.elts if isinstance(element, ast.Constant)]
    for child in ast.iter_child_nodes(node):
        if is_typing_block(child):
            continue
        if isinstance(child, ast.Import):
            yield from ((child.lineno, alias.name.partition(".")[0], None, function) for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.level == 0:
            yield child.lineno, child.module.partition(".")[0], None, function
        elif isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute) and child.func.attr == "require":
            (module,), (extra,) = child.args, child.keywords
            names = [module.value] if isinstance(module, ast.Constant) else loops[module.id]
            yield from ((child.lineno, name.partition(".")[0], extra.value.value, function) for name in names)
        yield from imports_and_requires(child, child if isinstance(child, ast.FunctionDef) else function, loops)


def python_files():
    return [file for package in ("keras_entropy", "keras_entropy_cli") for file in (ROOT / package).rglob("*.py")]


@functools.cache
def found_in(file):
    return list(imports_and_requires(ast.parse(file.read_text(encoding="utf-8"))))


def required_by_its_package(file):
    """Packages that the `__init__.py` of a file's folder, or of one above it, requires when it is imported."""
    inits = [folder / "__init__.py" for folder in file.relative_to(ROOT).parents if folder.name]
    return {name for init in inits for _, name, extra, function in found_in(ROOT / init) if extra and function is None}


@pytest.mark.once
class TestRequire:
    def test_a_missing_package_is_an_error_that_names_the_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib", None)

        with pytest.raises(ModuleNotFoundError) as caught:
            _optional.require("matplotlib.figure", extra="plot")

        assert str(caught.value) == (
            "Drawing figures needs matplotlib, which is not installed. "
            'Install it with: pip install "keras-entropy[plot]"'
        )
        assert caught.value.name == "matplotlib"

    def test_returns_the_module(self):
        assert _optional.require("importlib.metadata", extra="landscape") is importlib.metadata

    @pytest.mark.parametrize(
        ("source", "error", "words"),
        [
            ("import no_such_dependency", ModuleNotFoundError, "No module named 'no_such_dependency'"),
            ("from math import no_such_name", ImportError, "cannot import name 'no_such_name'"),
            ("raise OSError('a shared library is broken')", OSError, "a shared library is broken"),
        ],
    )
    def test_a_broken_package_is_not_taken_for_a_missing_one(self, monkeypatch, tmp_path, source, error, words):
        (tmp_path / "loky.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "loky", raising=False)

        with pytest.raises(error, match=words) as caught:
            _optional.require("loky", extra="study")

        assert "keras-entropy[" not in str(caught.value)


@pytest.mark.once
class TestRequireBackend:
    @pytest.fixture
    def keras_that_raises(self, monkeypatch, tmp_path):
        def write(source):
            (tmp_path / "keras.py").write_text(source)
            monkeypatch.syspath_prepend(tmp_path)
            monkeypatch.delitem(sys.modules, "keras")

        return write

    def test_a_missing_backend_is_an_error_that_names_the_extra_and_the_other_backends(
        self, monkeypatch, keras_that_raises
    ):
        monkeypatch.setitem(sys.modules, "jax", None)
        monkeypatch.setattr(_optional, "BACKENDS", ("jax", "json", "csv", "no_such_backend"))
        monkeypatch.setenv("KERAS_BACKEND", "jax")
        keras_that_raises("import jax.numpy")

        with pytest.raises(ModuleNotFoundError) as caught:
            _optional.require_backend()

        assert str(caught.value) == (
            'Keras needs jax, which is not installed. Install it with: pip install "keras-entropy[jax]". '
            "Or set KERAS_BACKEND to a backend that is installed: json or csv."
        )

    @pytest.mark.parametrize("name", ["h5py", "json.broken"])
    def test_anything_else_is_an_error_of_keras(self, monkeypatch, keras_that_raises, name):
        monkeypatch.setattr(_optional, "BACKENDS", ("json",))  # which is installed
        monkeypatch.setenv("KERAS_BACKEND", "json")
        keras_that_raises(f"raise ModuleNotFoundError('broken', name={name!r})")

        with pytest.raises(ModuleNotFoundError, match="^broken$"):
            _optional.require_backend()


@pytest.mark.once
class TestSource:
    def test_the_extras_are_those_of_the_parts(self):
        assert set(PARTS) <= set(PROJECT["optional-dependencies"])
        assert {re.match(r"\w+", line)[0] for line in PROJECT["dependencies"]} == {"keras", "numpy", "scipy", "msgspec"}

    def test_every_file_that_imports_an_optional_package_requires_it(self):
        pytest.importorskip("keras_tuner", reason="the extra all is not installed")
        optional = set().union(*map(modules, (*PARTS, "dask"))) - BROUGHT_BY_KERAS
        assert {
            "matplotlib",
            "tensorboard",
            "sklearn",
            "PIL",
            "typer",
            "loky",
            "pandas",
            "keras_tuner",
            "distributed",
        } < optional
        bare = []
        for file in python_files():
            found = found_in(file)
            by_package = required_by_its_package(file) | (
                OWN_CHECK if file.parent.name == "keras_entropy_cli" else set()
            )
            required = {package for _, package, extra, _ in found if extra} | by_package
            bare += [
                f"{file.relative_to(ROOT)}:{line}: import {package}"
                for line, package, extra, _ in found
                if extra is None and package in optional - required
            ]

        assert bare == []

    def test_every_extra_that_is_named_brings_the_package(self):
        pytest.importorskip("keras_tuner", reason="the extra all is not installed")
        wrong = []
        for file in python_files():
            for line, package, extra, _ in found_in(file):
                parts = set().union(*map(parts_of, extra.split(","))) if extra else ()
                if extra and package not in set().union(*map(modules, parts)):
                    wrong.append(f"{file.relative_to(ROOT)}:{line}: {extra} does not bring {package}")

        assert wrong == []


class TestCore:
    @pytest.mark.slow
    def test_the_core_works_without_any_extra(self, tmp_path):
        core_smoke.run(tmp_path, show=lambda line: None)

    def test_the_script_uses_every_public_name(self):
        text = (ROOT / "tests" / "core_smoke.py").read_text(encoding="utf-8")

        unused = {name for name in keras_entropy.__all__ if f"entropy.{name}" not in text}

        assert unused == {"EntropyRegularizer", "EntropyWarning", "register_measurable"}


@pytest.mark.processes
class TestBlocked:
    def test_each_extra_is_named_by_what_needs_it_and_by_nothing_else(self, child_environment, tmp_path):
        pytest.importorskip("keras_tuner", reason="the extra all is not installed")
        blocked = {part: sorted(modules(part) - BROUGHT_BY_KERAS) for part in PARTS}
        included = {part: sorted(parts_of(part)) for part in PARTS}
        code = "import runpy, sys; sys.argv.pop(0); "
        code += "sys.modules['tensorflow'] = None; " if BLOCKED else ""
        code += "runpy.run_path(sys.argv[0], run_name='__main__')"
        script = str(ROOT / "tests" / "extras_walk.py")
        done = subprocess.run(
            [sys.executable, "-c", code, script, repr(blocked), repr(included), str(tmp_path)],
            env=child_environment,
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.splitlines()[-1] == "walked: " + ", ".join(PARTS)
