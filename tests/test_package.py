import doctest
import importlib
import pkgutil
import re
import runpy
import subprocess
import sys

import pytest
from modes import BACKEND
from source import JAX_ONLY

import keras_entropy
from conftest import BLOCKED, ROOT

CORE = (
    "_backend", "_checks", "_files", "_frozen", "_keras", "_optional", "_sealed", "_table", "callbacks", "functional",
    "layers", "losses", "models", "placement", "profile", "regularizers",
)  # fmt: skip


def run(code, environment, *arguments):
    if BLOCKED:
        code = "import sys; sys.modules['tensorflow'] = None\n" + code
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.processes
def test_importing_loads_the_core_and_nothing_that_keras_does_not(child_environment):
    code = (
        "import sys, keras\n"
        "before = set(sys.modules)\n"
        "import keras_entropy\n"
        "new = [name.split('.') for name in set(sys.modules) - before]\n"
        "print(*sorted({name[0] for name in new} - set(sys.stdlib_module_names)))\n"
        "print(*sorted({name[1] for name in new if name[0] == 'keras_entropy' and len(name) > 1}))"
    )

    packages, parts = run(code, child_environment).splitlines()[-2:]

    assert packages == "keras_entropy msgspec"
    assert parts.split() == sorted(CORE)


@pytest.mark.processes
def test_importing_registers_the_rival_of_a_search_so_that_its_best_model_loads(child_environment):
    name = "keras_entropy>SoftOrthogonality"
    code = f"import keras, keras_entropy; print(keras.saving.get_registered_object({name!r}).__name__)"

    assert run(code, child_environment).splitlines()[-1] == "SoftOrthogonality"


@pytest.mark.processes
def test_importing_adds_little_to_keras(child_environment):
    # A share of Keras's own time: the machine may be slow, or busy with something else.
    code = (
        "import time; start = time.process_time(); import keras; middle = time.process_time(); import keras_entropy; "
        "print((time.process_time() - middle) / (middle - start))"
    )

    assert any(float(run(code, child_environment).splitlines()[-1]) < 0.05 for _ in range(3))


@pytest.mark.processes
@pytest.mark.skipif(BACKEND == "tensorflow", reason="the backend is TensorFlow")
def test_training_watching_and_saving_do_not_load_tensorflow(child_environment, tmp_path):
    code = (
        "import sys, keras, numpy as np\n"
        "from keras_entropy import DenseEntropy, EntropyLogger, FactorSchedule\n"
        "model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_regularizer=DenseEntropy(0.1))])\n"
        "model.compile('sgd', 'mse')\n"
        "callbacks = [EntropyLogger(log_dir=sys.argv[1] + '/logs'), FactorSchedule(lambda epoch: 1.0)]\n"
        "model.fit(np.ones((8, 4)), np.ones((8, 3)), verbose=0, callbacks=callbacks)\n"
        "model.save(sys.argv[1] + '/model.keras')\n"
        "print(sys.modules.get('tensorflow') is None)"
    )

    assert run(code, child_environment, str(tmp_path)).splitlines()[-1] == "True"


ARGUMENTS = {
    "05_compare_honestly.py": ["--seeds", "1", "--epochs", "3"],
    "07_parameter_space_entropy.py": ["--sets", "2", "--moves", "5e6"],
    "08_sigmoid_entropy.py": ["--seeds", "2", "--tune-seeds", "1", "--epochs", "2"],
    "09_pretrain_without_labels.py": ["--seeds", "1", "--epochs", "2"],
    "10_unmix_sources.py": ["--epochs", "2"],
    "11_landscape_of_a_cnn.py": ["--moves", "2e5", "--networks", "1"],
}


QUICK = (
    "01_train",
    "04_profile",
    "docs/choosing",
    "docs/exact_entropy",
    "docs/landscape_networks",
    "docs/migration",
    "docs/sigmoid_entropy",
)
"""Examples and pages that train one small network at most."""
STARTS_PROCESSES = ("keras_entropy.study.study", "keras_entropy.tuning.search_pipeline")


def marked(names):
    return [pytest.param(name, marks=() if name.startswith(QUICK) else pytest.mark.slow) for name in sorted(names)]


AS_NOTEBOOK = "06_search_factor_and_placement.py"
"""Run by `test_a_notebook_runs`, which takes long enough once."""
EXAMPLES = [path.name for path in (ROOT / "examples").glob("*.py") if path.name != AS_NOTEBOOK]


@pytest.mark.parametrize("name", marked(EXAMPLES))
def test_examples_run_and_are_short(name, monkeypatch, tmp_path, capsys):
    pytest.importorskip("sklearn", reason="the digits need scikit-learn")
    path = ROOT / "examples" / name
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, *ARGUMENTS.get(name, [])])

    runpy.run_path(str(path), run_name="__main__")

    assert "nan" not in capsys.readouterr().out
    assert len(path.read_text().splitlines()) < 100


# README and quick start run in a notebook, below.
PAGES = {
    "docs/faq.md": "attached",
    "docs/migration.md": "term",
    "docs/guides/collapsed_layer.md": "profile",
    "docs/guides/attach_a_term.md": "schedule",
    "docs/guides/pretrain.md": "encoder",
    "docs/choosing.md": "placed",
    "docs/exact_entropy.md": "layer",
    "docs/correlated_noise.md": "unmixing",
    "docs/profile.md": "model",
    "docs/representations.md": "history",
    "docs/compare.md": "result",
    "docs/search.md": "result",
    "docs/landscape.md": "found",
    "docs/landscape_networks.md": "problem",
    "docs/sigmoid_entropy.md": "model",
}


SHORTER = {
    "docs/compare.md": {"seeds=range(5)": "seeds=range(2)", "epochs=5": "epochs=1"},
    "docs/landscape.md": {"moves=2e7": "moves=2e6"},
    "docs/search.md": {"max_trials=3, epochs=2, seeds=2": "max_trials=2, epochs=1, seeds=1"},
}
"""What is run in place of a page's words, where these take long: the numbers that come out are not looked at."""


def blocks_of(language, page="README.md"):
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def one_folder(tmp_path_factory):
    """A reader runs all pages in one folder, one after the other."""
    return tmp_path_factory.mktemp("pages")


@pytest.mark.filterwarnings("ignore:Saving and clone_model will drop")  # which a page shows
@pytest.mark.parametrize("page", marked(PAGES))
def test_the_python_of_the_pages_runs(page, monkeypatch, one_folder, capsys):
    pytest.importorskip("sklearn", reason="the digits need scikit-learn")
    monkeypatch.chdir(one_folder)
    scope = {"__name__": "__main__"}

    blocks = blocks_of("python", page)
    for words, shorter in SHORTER.get(page, {}).items():
        assert any(words in block for block in blocks)
        blocks = [block.replace(words, shorter) for block in blocks]
    for block in blocks:
        exec(compile(block, page, "exec"), scope)

    assert blocks
    assert PAGES[page] in scope


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.once
def test_the_readme_and_the_quick_start_run_in_a_notebook(tmp_path, monkeypatch, child_environment):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    for name, value in child_environment.items():
        monkeypatch.setenv(name, value)
    blocks = [*blocks_of("python"), *blocks_of("python", "docs/quick_start.md")]
    cells = [nbformat.v4.new_code_cell(block) for block in blocks]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.outputs if output.output_type == "stream"]
    assert any(re.search(r"entropy .*baseline .*paired t, n = 5\sseeds", output.text) for output in shown)  # of a study
    assert (tmp_path / "profile.html").exists()


def test_the_readme_names_the_two_commands():
    commands = "".join(blocks_of("sh"))

    assert "keras-entropy search" in commands
    assert "pytest" in commands


def test_no_file_is_long():
    """One idea each: a module that outgrows about 400 lines becomes a folder."""
    files = [path for folder in ("keras_entropy", "keras_entropy_cli") for path in (ROOT / folder).rglob("*.py")]
    lengths = {path.name: len(path.read_text().splitlines()) for path in files}

    assert {name: n for name, n in lengths.items() if n > 420} == {}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(module.name, marks=pytest.mark.processes if module.name in STARTS_PROCESSES else ())
        for module in pkgutil.walk_packages(keras_entropy.__path__, "keras_entropy.")
    ],
)
def test_examples_in_the_docstrings(name):
    adapter = name.removeprefix("keras_entropy._backend.").removesuffix("_adapter")
    if adapter in ("jax", "tensorflow", "torch") and adapter != BACKEND:
        pytest.skip("the adapter of another backend")
    if f"{name.replace('.', '/')}.py" in JAX_ONLY:
        pytest.importorskip("jax", reason="it is written in JAX")
    assert doctest.testmod(importlib.import_module(name)).failed == 0
