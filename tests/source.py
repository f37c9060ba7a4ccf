"""The source of the package as syntax trees, for tests of what its files may use."""

import ast
import functools

from conftest import ROOT

JAX_ONLY = {
    "keras_entropy/landscape/samplers/hamiltonian.py",
    "keras_entropy/landscape/samplers/jax_sampler.py",
}
"""Files that are imported on JAX alone."""


@functools.cache
def trees():
    """Syntax trees of the package and its command, by path from the root of the repository."""
    files = [path for name in ("keras_entropy", "keras_entropy_cli") for path in sorted((ROOT / name).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in files}


def imported(tree):
    """Full names of the modules and objects that a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_private(name):
    """Whether a name begins with one underscore."""
    return name.startswith("_") and not name.startswith("__")


def private_attributes(tree):
    """(expression of the owner, name, line) of each private attribute that a file reads, also by `getattr`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            yield ast.unparse(node.value), node.attr, node.lineno
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "setattr", "delattr"):
            name = node.args[1]
            first = name.values[0] if isinstance(name, ast.JoinedStr) else name
            if isinstance(first, ast.Constant) and is_private(first.value):
                yield ast.unparse(node.args[0]), ast.unparse(name).strip("'f"), node.lineno


def defined(tree):
    """Names that a file defines: functions, classes, variables and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
