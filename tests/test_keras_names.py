"""Private and undocumented names of Keras: each one still exists, and only `_keras.py` uses them."""

import ast
import importlib
import inspect

import keras
import numpy as np
import pytest
from modes import BACKEND
from source import defined, imported, private_attributes, trees

HOME = "keras_entropy/_keras.py"
L = keras.layers

MODULES = {
    "keras.src.applications.convnext": "`LayerScale`, a layer of ConvNeXt whose weights are measured",
    "keras.src.backend.common.global_state": "`get_global_attribute` and `set_global_attribute`: counters of names",
    "keras.src.backend.get_keras_mask": "the mask of an output, which losses respect",
    "keras.src.backend.get_stateless_scope": "the values of variables in a step on JAX",
    "keras.src.backend.in_stateless_scope": "whether variables have their values from a step on JAX",
    "keras.src.layers.rnn.conv_lstm": "`ConvLSTMCell`, whose gates are measured",
    "keras.src.losses.loss.scale_loss_for_distribution": "the scale of an added loss on several devices",
    "keras.src.losses.loss.unscale_loss_for_distribution": "the loss of the task on several devices",
    "keras.src.models.functional.Functional": "the class of models whose graph is known",
    "keras.src.random.seed_generator": "`python_random`: the generator of the seeds of layers",
}
"""What `_keras.py` imports from `keras.src`, and what for."""

ATTRIBUTES = {
    "CallbackList.callbacks": "the siblings of a callback",
    "CSVLogger.keys": "the columns, which it fixes in its first epoch",
    "CompileLoss.call": "the loss without penalties, once a step on every backend",
    "Dense._get_regularization_losses": "the frame in which regularizers are called",
    "Dense._inbound_nodes": "the calls of a layer",
    "Dense._kernel": "the kernel without low-rank adapters",
    "Dense._layers": "the sublayers of a layer",
    "Dense._non_trainable_variables": "the weights of a layer without those of its sublayers",
    "Dense._seed_generators": "the one list of states that each compiled step reads and writes and no file keeps",
    "Dense._trainable_variables": "the weights of a layer without those of its sublayers",
    "Functional._nodes_by_depth": "the calls of a graph in their order",
    "GroupedQueryAttention._key_dense": "a projection",
    "GroupedQueryAttention._output_dense": "a projection",
    "GroupedQueryAttention._query_dense": "a projection",
    "GroupedQueryAttention._value_dense": "a projection",
    "KerasTensor._keras_history": "the call that made a tensor",
    "Mean.total": "a variable of a metric, to ask for its value",
    "MultiHeadAttention._key_dense": "a projection",
    "MultiHeadAttention._output_dense": "a projection",
    "MultiHeadAttention._query_dense": "a projection",
    "MultiHeadAttention._value_dense": "a projection",
    "Sequential._compile_loss": "where the loss without penalties is computed",
    "Sequential._functional": "the graph of a sequential model",
    "Sequential._metrics": "where a metric of a callback is added",
    "Sequential._seed_generators": "as of a layer",
    "Sequential.make_test_function": "to trace the test step anew",
    "Sequential.make_train_function": "to trace the training step anew",
    "Sequential.test_function": "the compiled test step, to be traced anew",
    "Sequential.test_step": "the frame of a test step",
    "Sequential.train_function": "the compiled training step, to be traced anew",
    "Sequential.train_step": "the frame of a training step",
    "StatelessScope.state_mapping": "the variable of a value in a step on JAX",
    "Variable._value": "whether a variable has a value of its own",
    "Variable.regularizer": "the regularizer that training reads, which `placement` sets",
}
"""Private and undocumented attributes, by the class of an object that has them, and what for."""

# Read by an f-string, for layers that have them.
OPTIONAL = {"_{name}", "_{name}_dense"}
# Of tensors that Keras's sigmoid or softmax made, on TensorFlow and torch.
OF_ACTIVATIONS = {"_keras_logits"}


def objects():
    """Objects of Keras that have the attributes."""
    inputs = keras.Input((4, 4))
    attention, grouped = L.MultiHeadAttention(1, 2), L.GroupQueryAttention(2, 2, 1)
    outputs = grouped(attention(inputs, inputs), inputs)
    model = keras.Sequential([keras.Input((4,)), L.Dense(2)])
    model.compile("sgd", "mse", metrics=["mae"])
    x = np.ones((2, 4), np.float32)
    model.train_on_batch(x, x[:, :2])
    found = [keras.Model(inputs, outputs), outputs, attention, grouped, model, model.layers[0], keras.metrics.Mean()]
    found += [model._compile_loss, keras.callbacks.CallbackList(), keras.StatelessScope()]
    found += [keras.callbacks.CSVLogger("history.csv")]
    return {type(one).__name__: one for one in found} | {"Variable": model.variables[0]}


def test_private_names_exist():
    gone = []
    for name in MODULES:
        module, _, attribute = name.rpartition(".")
        try:
            getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError):
            gone.append(name)
    found = objects()
    gone += [name for name in ATTRIBUTES if not hasattr(found[name.partition(".")[0]], name.partition(".")[2])]

    assert gone == []


@pytest.mark.skipif(BACKEND == "jax", reason="a tensor of JAX has no attributes")
@pytest.mark.parametrize("name", OF_ACTIVATIONS)
def test_activations_leave_their_logits(name):
    assert hasattr(keras.activations.sigmoid(keras.ops.ones((1, 2))), name)


def test_frames_have_the_variables_that_are_looked_for():
    losses = inspect.unwrap(L.Layer._get_regularization_losses).__code__

    assert "self" in losses.co_varnames
    assert "_get_regularization_losses" in inspect.getsource(L.Layer.losses.fget)


def test_the_lists_are_complete():
    """Both lists name what `_keras.py` uses, and nothing else."""
    own = set(defined(trees()[HOME]))
    used = {name for _, name, _ in private_attributes(trees()[HOME]) if name not in own}
    listed = {name.partition(".")[2] for name in ATTRIBUTES}
    of_projections = {f"_{name}_dense" for name in ("query", "key", "value", "output")}

    assert {name for name in imported(trees()[HOME]) if name.startswith("keras.src")} == set(MODULES)
    assert used - listed == OPTIONAL | OF_ACTIVATIONS
    private = {name for name in listed if name.startswith("_")}
    assert private - used == of_projections | {"_kernel", "_get_regularization_losses"}


ALLOWED = {
    "_replace",  # of a named tuple
    "_exit",  # of os
    "_max_workers",  # of an executor of concurrent.futures
}
KERAS_TUNER = "keras_entropy/tuning/"  # its own test lists the private names of KerasTuner


def test_no_other_file_uses_private_names():
    """A private attribute of another object is defined in the same file, one of `self` in the package."""
    package = {name for tree in trees().values() for name in defined(tree)}
    found = []
    for path, tree in trees().items():
        if path == HOME:
            continue
        found += [f"{path}: {name}" for name in imported(tree) if name.startswith("keras.src")]
        own = set(defined(tree)) | ALLOWED
        for owner, name, line in private_attributes(tree):
            known = package if owner in ("self", "cls", "super()") else own
            if name not in known and not path.startswith(KERAS_TUNER):
                found.append(f"{path}:{line}: {owner}.{name}")

    assert found == []


def test_no_other_file_looks_at_frames():
    names = {"currentframe", "_getframe", "f_back", "f_code", "f_locals"}
    used = {path: {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)} for path, tree in trees().items()}

    assert [path for path, found in used.items() if path != HOME and found & names] == []
