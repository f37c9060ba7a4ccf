"""Make the notebooks of this folder from the example scripts, and run them.

    python examples/notebooks/make.py [NAME ...]

A notebook has the docstring of its script as text, the imports, each function, and the body of `main` with the options
at their defaults or as given below. KERAS_BACKEND chooses the backend that the outputs come from.
"""

import ast
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent
SHOW = "from IPython.display import Image\n\nImage(arguments.{})"
NOTEBOOKS = {
    "profile": ("04_profile_and_place.py", {}, SHOW.format("figure")),
    "search": (
        "06_search_factor_and_placement.py",
        {"max_trials": 3, "epochs": 4, "seeds": 1, "holdout_seeds": 3},
        "result",
    ),
    "pretraining": ("09_pretrain_without_labels.py", {"seeds": 1, "epochs": 5}, None),
}
"""Script, options that differ from their defaults so that the notebook runs in about a minute, and a last cell."""


def notebook(name):
    """The notebook without outputs."""
    script, options, last = NOTEBOOKS[name]
    code = (FOLDER.parent / script).read_text(encoding="utf-8")
    tree = ast.parse(code)
    parts = [node for node in tree.body[1:] if not isinstance(node, ast.If)]  # without the docstring and the guard
    imports = [node for node in parts if isinstance(node, ast.Import | ast.ImportFrom)]
    main = next(node for node in parts if isinstance(node, ast.FunctionDef) and node.name == "main")
    others = [node for node in parts if node not in imports and node is not main]
    cells = ["\n".join(_source(code, node) for node in imports if not _imports(node, "argparse"))]
    cells += [_source(code, node) for node in others]
    cells += [_arguments(main, options), *_blocks(code, main)]
    cells += [last] if last else []
    text = f"{ast.get_docstring(tree)}\n\nMade from `examples/{script}` by `python examples/notebooks/make.py {name}`."
    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell(text), *(nbformat.v4.new_code_cell(cell) for cell in cells)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    for number, cell in enumerate(made.cells):
        cell["id"] = f"cell-{number}"  # the same in each run
    return made


def executed(made, folder, timeout=600):
    """Run a notebook in a folder; outputs keep what a reader needs."""
    NotebookClient(
        made, timeout=timeout, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    for cell in made.cells:
        cell.metadata.clear()  # times
        if cell.cell_type == "code":  # stderr has lines of the backend about this machine, and the progress
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    made.metadata.pop("language_info", None)
    return made


def _source(code, node):
    return "\n".join(code.splitlines()[node.lineno - 1 : node.end_lineno])


def _imports(node, name):
    return isinstance(node, ast.Import) and node.names[0].name == name


def _arguments(main, options):
    """The options of the script, as a namespace."""
    values = {}
    for node in ast.walk(main):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "parser.add_argument":
            name = node.args[0].value.lstrip("-").replace("-", "_")
            default = next((word.value for word in node.keywords if word.arg == "default"), ast.Constant(None))
            values[name] = ast.unparse(default)
    unknown = set(options) - set(values)
    if unknown:
        raise ValueError(f"`options` should name options of the script. Received: {sorted(unknown)}")
    values |= {name: repr(value) for name, value in options.items()}
    lines = "".join(f"    {name}={value},\n" for name, value in values.items())
    return f"from types import SimpleNamespace\n\narguments = SimpleNamespace(\n{lines})"


def _blocks(code, main):
    """The body of `main` after the options, one cell for each paragraph."""
    parsed = next(n for n, node in enumerate(main.body) if "parse_args" in ast.unparse(node))
    lines = code.splitlines()[main.body[parsed].end_lineno : main.end_lineno]
    return "\n".join(line[4:] for line in lines).strip("\n").split("\n\n")


def main():
    import tempfile

    for name in sys.argv[1:] or NOTEBOOKS:
        with tempfile.TemporaryDirectory() as folder:
            made = executed(notebook(name), folder)
        path = FOLDER / f"{name}.ipynb"
        nbformat.write(made, path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
