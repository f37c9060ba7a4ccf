"""The private names of KerasTuner: which ones the package uses, and that one file alone uses them."""

import ast
import importlib
from pathlib import Path

import keras_tuner
import pytest

import keras_entropy.tuning
from keras_entropy.tuning import _keras_tuner

pytestmark = pytest.mark.once

FOLDER = Path(keras_entropy.tuning.__file__).parent
FILE = Path(_keras_tuner.__file__)

MODULES = {
    "keras_tuner.src.engine.oracle": ["LOCKS", "THREADS"],
    "keras_tuner.src.engine.tuner_utils": ["TunerCallback", "convert_to_metrics_dict", "validate_trial_results"],
    "keras_tuner.src.tuners.gridsearch": ["LinkedList"],
}
OBJECTIVE = keras_tuner.Objective("val_task_loss", "min")
OBJECTS = {
    "Oracle": (
        lambda: keras_tuner.Oracle(OBJECTIVE),
        ["_get_trial_dir", "_project_dir", "_retry_queue", "_save_trial", "_seed_state"],
    ),
    "GridSearchOracle": (
        lambda: keras_tuner.oracles.GridSearchOracle(OBJECTIVE),
        ["_ordered_ids", "_populate_next"],
    ),
    "BayesianOptimizationOracle": (
        lambda: keras_tuner.oracles.BayesianOptimizationOracle(OBJECTIVE),
        ["_make_gpr", "_random_state", "gpr"],
    ),
    "HyperbandOracle": (
        lambda: keras_tuner.oracles.HyperbandOracle(OBJECTIVE),
        ["_get_num_brackets", "_get_num_rounds", "_get_size", "hyperband_iterations"],
    ),
    "Tuner": (
        lambda: keras_tuner.Tuner,
        ["_populate_initial_space", "_try_run_and_update_trial"],
    ),
    # Public, but not documented:
    "public names of an oracle": (
        lambda: keras_tuner.Oracle(OBJECTIVE),
        ["end_order", "max_trials", "ongoing_trials", "seed", "start_order", "trials", "tuner_ids"],
    ),
}


def test_keras_tuner_still_has_every_name_that_is_used(tmp_path):
    gone = []
    for module, names in MODULES.items():
        try:
            found = importlib.import_module(module)
        except ImportError:
            gone.append(module)
            continue
        gone += [f"{module}.{name}" for name in names if not hasattr(found, name)]
    for kind, (make, names) in OBJECTS.items():
        # A property is looked up on the class: that of the folder makes a folder.
        found = make()
        gone += [f"{kind}.{name}" for name in names if not (hasattr(type(found), name) or hasattr(found, name))]
    assert not gone, f"KerasTuner {keras_tuner.__version__} has no {', '.join(gone)}: change {FILE.name}"


def test_the_list_is_complete():
    listed = {name for _, names in OBJECTS.values() for name in names}
    used = private_names(FILE) - {"_keras_tuner"}
    assert used <= listed, f"Add {sorted(used - listed)} to the list of this test"
    assert {name for name in listed if name.startswith("_")} <= used, "The list has names that are not used any more"
    imported = modules(FILE)
    assert {name for name in imported if name.startswith("keras_tuner.src")} == set(MODULES)


def test_no_other_file_uses_a_private_name_of_keras_tuner():
    of_keras_tuner = {name for make, _ in OBJECTS.values() for name in dir(make()) if is_private(name)}
    of_keras_tuner |= {name for kind in (keras_tuner.HyperModel, keras_tuner.HyperParameters) for name in dir(kind())}
    of_keras_tuner = {name for name in of_keras_tuner if is_private(name)}
    assert {"_save_trial", "_retry_queue", "_populate_initial_space", "_exists"} <= of_keras_tuner
    found = []
    for path in sorted(FOLDER.rglob("*.py")):
        if path == FILE:
            continue
        found += [f"{path.name}: {module}" for module in modules(path) if module.startswith("keras_tuner.src")]
        found += [f"{path.name}: {name}" for name in sorted(private_names(path) & of_keras_tuner)]
    assert not found, f"Move to {FILE.name}: {', '.join(found)}"


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def private_names(path):
    """Private attributes that a file reads or sets, and private methods that its classes define."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.ClassDef):
            found |= {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
    return {name for name in found if is_private(name)}


def modules(path):
    """Modules that a file imports, or imports from."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{name.name}" for name in node.names} & set(MODULES) or {node.module}
    return found
