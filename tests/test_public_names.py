"""The programs beside the package use its public names: those that a page of docs/api shows."""

import ast
import importlib
import re

import pytest

from conftest import ROOT

pytestmark = pytest.mark.once

PAGES = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "api").glob("*.md"))
MODULES = {"keras_entropy", *re.findall(r"^::: (keras_entropy\.[a-z_.]+)$", PAGES, flags=re.MULTILINE)}
FOLDERS = ("reproduction", "benchmarks", "examples")
PARTS = {
    "benchmarks/landscape_accuracy.py",
    "benchmarks/landscape_gradient.py",
    "benchmarks/landscape_moves.py",
    "benchmarks/search_scaling.py",
}
"""Benchmarks of a part that has no public name. Names with an underscore are private to them too."""
PROGRAMS = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def public(module):
    """Names of a public module: `__all__`, or else what it defines."""
    found = importlib.import_module(module)
    own = [name for name, value in vars(found).items() if getattr(value, "__module__", None) == module]
    names = getattr(found, "__all__", [name for name in own if not name.startswith("_")])
    return {*names, *(name.rpartition(".")[2] for name in MODULES if name.rpartition(".")[0] == module)}


def private_names(code):
    """What a program uses of the package that is not public."""
    bound, found = {}, []  # modules of the package by the program's name for them
    for node in ast.walk(tree := ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("keras_entropy")]
            found += [name for name in names if name not in MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keras_entropy"):
            if node.module not in MODULES:
                found.append(node.module)
                continue
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if name in MODULES:
                    bound[alias.asname or alias.name] = name
                elif alias.name not in public(node.module):
                    found.append(name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.pop(node.id, None)  # a variable of the same name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in bound:
            module = bound[node.value.id]
            if node.attr not in public(module):
                found.append(f"{module}.{node.attr}")
    return sorted(set(found))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_program_uses_public_names(path):
    found = private_names(path.read_text(encoding="utf-8"))

    if path.relative_to(ROOT).as_posix() in PARTS:
        found = [name for name in found if "._" in name]
    assert found == []


@pytest.mark.parametrize(
    ("code", "private"),
    [
        ("import keras_entropy._files", ["keras_entropy._files"]),
        ("from keras_entropy import _checks", ["keras_entropy._checks"]),
        ("from keras_entropy_cli import app", ["keras_entropy_cli"]),
        ("def run():\n    from keras_entropy.runs.pool import environment", ["keras_entropy.runs.pool"]),
        ("from keras_entropy.study import document\ndocument.LONG", ["keras_entropy.study.document.LONG"]),
        ("from keras_entropy.study import Arm, document as d\nd.Table", []),
        ("import keras\nfrom keras_entropy import models\nmodels.names()", []),
    ],
)
def test_private_names_are_found(code, private):
    assert private_names(code) == private
