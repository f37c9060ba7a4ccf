"""The checks of Keras's own test suite pass on every layer, loss and regularizer of this package."""

import keras
import pytest
from keras.src.testing import TestCase  # Keras has no public name for it

import keras_entropy
from keras_entropy import (
    ActivationEntropy,
    ConvCornerEntropy,
    ConvEntropy,
    CorrelatedRegressor,
    DenseEntropy,
    DualDense,
    EntropyActivation,
    EntropyRegularizer,
    RepresentationEntropy,
    SemiSupervisedCrossentropy,
    SigmoidEntropy,
    SoftmaxEntropy,
    SumRegularizer,
    TotalCorrelation,
    ViewEntropy,
)

LAYERS = {
    "DualDense": (DualDense, {"units": 3, "decision_weight": 0.5}, 3),
    "DualDense without its term": (DualDense, {"units": 3}, 3),
    "EntropyActivation": (EntropyActivation, {"activation": "tanh", "factor": 0.5}, 5),
    "EntropyActivation with axis": (
        EntropyActivation,
        {"activation": "gelu", "factor": -0.5, "epsilon": 1e-3, "reduction": "sum", "axis": 1},
        5,
    ),
    "RepresentationEntropy": (RepresentationEntropy, {"factor": 0.5}, 5),
    "RepresentationEntropy with momentum": (RepresentationEntropy, {"factor": 0.5, "momentum": 0.9, "pool": None}, 5),
}
OTHERS = [
    SigmoidEntropy(),
    SigmoidEntropy(from_logits=False, name="mine", reduction="sum"),
    SoftmaxEntropy(),
    ViewEntropy(),
    SemiSupervisedCrossentropy(unlabelled_weight=0.5),
    DenseEntropy(0.5, form="reciprocal", block="leading", every=2),
    ConvEntropy(0.5, grid=4, layout="transpose", strides=(2, 1)),
    ConvCornerEntropy([0.5, -0.5], 1e-2, reduction="sum"),
    TotalCorrelation(0.5),
    ActivationEntropy(activation="tanh", factor=0.5),
    SumRegularizer([DenseEntropy(0.5), "l2"]),
]


def test_the_tables_are_complete():
    kinds = (keras.Layer, keras.losses.Loss, keras.Regularizer)
    public = {getattr(keras_entropy, name) for name in keras_entropy.__all__}
    classes = {found for found in public if isinstance(found, type) and issubclass(found, kinds)}

    tested = {kind for kind, _, _ in LAYERS.values()} | {type(instance) for instance in OTHERS}
    assert tested == classes - {EntropyRegularizer, CorrelatedRegressor}  # a base class, and a model around a network


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning")  # Keras's check fits a generator
@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights:UserWarning")
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    """Weights, losses, shapes and dtypes, eager, symbolic, built and trained; mixed precision; config; masks."""
    kind, arguments, units = LAYERS[name]
    shape = (2, 4, 5)

    TestCase().run_layer_test(
        kind,
        init_kwargs=arguments,
        input_shape=shape,
        expected_output_shape=(*shape[:-1], units),
        expected_num_losses=0 if "without" in name else 1,
        expected_num_seed_generators=0,
        supports_masking=True,
    )


@pytest.mark.parametrize("instance", OTHERS, ids=lambda instance: type(instance).__name__)
def test_losses_and_regularizers(instance):
    """Two round trips, through the config and through JSON, with the same attributes."""
    TestCase().run_class_serialization_test(instance)
