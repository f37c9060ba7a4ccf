"""The layer of two weight sets whose units can be made to decide.

Sources:
    [C] Bouarfa Mahi: "Optimizing a Model Using Entropy: A Novel Approach" (2025).
"""

from __future__ import annotations

import math
import weakref
from typing import Any, NoReturn

import keras

from keras_entropy import _checks, _keras, functional
from keras_entropy._backend import Array
from keras_entropy.regularizers import EntropyRegularizer

Shape = tuple[int | None, ...]

_NOT_QUANTISED = (
    "DualDense cannot be quantised: it computes with w + G, so w and G would be rounded one by one. Give "
    "keras.layers.Dense the kernel w + G, and quantise that."
)


class _Decisions(EntropyRegularizer):
    """Minus a factor times the mean `functional.sigmoid_entropy` of logits; a FactorSchedule finds it by its class."""

    unit = "bits per unit"

    def __init__(self, factor: float) -> None:
        super().__init__(factor, 0.0, "mean")

    def term(self, logits: Array, mask: Array | None) -> Array:
        """What is added to the loss; a mask has the first axes of the logits, and False where they do not count."""
        ops = keras.ops
        entropy = functional.sigmoid_entropy(logits)
        if mask is None:
            total, count = ops.sum(entropy), ops.cast(math.prod(ops.shape(entropy)), entropy.dtype)
        else:
            counts = ops.broadcast_to(expanded(mask, entropy), ops.shape(entropy))
            total = ops.sum(ops.where(counts, entropy, ops.zeros_like(entropy)))
            count = ops.sum(ops.cast(counts, entropy.dtype))
        mean = ops.divide_no_nan(total, count)  # 0 of a batch in which nothing counts
        return self._times_multiplier(ops.cast(-self.factor * mean, keras.backend.floatx()))


def expanded(mask: Array, units: Array) -> Array:
    """A mask of positions as booleans that broadcast to the units at them."""
    while len(mask.shape) < len(units.shape):
        mask = keras.ops.expand_dims(mask, axis=-1)
    return keras.ops.cast(mask, "bool")


@keras.saving.register_keras_serializable(package="keras_entropy")
class DualDense(keras.layers.Layer):
    """Dense with two weight sets that are added, z = x (w + G) + b, and the sigmoid entropy of z as a term [C].

    Adds `decision_weight` * mean of `functional.sigmoid_entropy(z)` in bits to the loss, over samples, positions and
    units. Its gradient is the same for both sets: dH/dw = dH/dG = -z D (1 - D) x / ln 2 with D = sigmoid(z), and
    dH/db without x. A positive factor drives each unit to 0 or 1, to the side on which it is; it knows no labels. A
    negative one keeps units undecided. (The factors of regularizers are the other way round: there a positive one
    rewards entropy.) A `FactorSchedule` steers it. Call the layer on (batch, time, features) itself: `TimeDistributed`
    adds the term once for each step of time.

    The second set adds nothing that the layer can compute. Under gradient descent w - G never changes and w + G moves
    as one set at twice the learning rate, and under Adam too; b moves once. (Not so with clipping by the global norm,
    decoupled weight decay as of AdamW, or steps that depend on the size of the weights as of Adafactor.) Regularizers
    act on w and on G, never on the sum. On one set alone the other evades them; L2 of u and of v on the two is L2 of
    u v / (u + v) on w + G at a minimum.

    Args:
        units: of the output.
        activation: what is applied to z. Defaults to `"sigmoid"`. The term is of z whatever it is.
        use_bias: whether there is b. Defaults to True.
        kernel_initializer: of w. Defaults to `"glorot_uniform"`.
        dual_initializer: of G. Defaults to `"zeros"`.
        bias_initializer: of b. Defaults to `"zeros"`.
        kernel_regularizer: of w alone.
        dual_regularizer: of G alone.
        bias_regularizer: of b.
        activity_regularizer: of the output.
        kernel_constraint: of w.
        dual_constraint: of G.
        bias_constraint: of b.
        decision_weight: a finite number. Defaults to 0: no term, and no cost. It can be set later, but not while `fit`
            is running: that is what `FactorSchedule` is for.
        **kwargs: of `keras.layers.Layer`, such as `name`.

    Call arguments:
        * inputs: (batch, ..., d), of a floating-point type. The output is (batch, ..., units).
        * mask: (batch, ...), as Keras passes it on; positions where it is False are left out of the mean.

    Attributes:
        kernel: w, (d, units).
        dual_kernel: G, (d, units).
        bias: (units,), or None.
        decision_weight: the next step of `fit` and `evaluate` is traced anew where it is set; a step that you compiled
            yourself keeps the factor that it was traced with.

    Raises:
        TypeError, ValueError: for bad arguments; when called, for inputs that are integers or of rank below 2; for a
            factor that is set while `fit` or `evaluate` is running.
        NotImplementedError: for `enable_lora` and `quantize`.

    Examples:
        >>> import keras, numpy as np
        >>> from keras_entropy import DualDense
        >>> layer = DualDense(3, decision_weight=0.5)
        >>> _ = layer(np.zeros((2, 5)))
        >>> keras.ops.convert_to_numpy(layer.losses[0]).item()  # a unit at sigmoid(0) = 1/2 has 1 bit
        0.5
    """

    def __init__(
        self,
        units: int,
        activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        dual_initializer: Any = "zeros",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        dual_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        dual_constraint: Any = None,
        bias_constraint: Any = None,
        decision_weight: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        if self.quantization_mode is not None:
            raise NotImplementedError(_NOT_QUANTISED)
        self.units = _checks.positive_integer("units", units)
        self.activation = keras.activations.get(activation)
        self.use_bias = _checks.flag("use_bias", use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.dual_initializer = keras.initializers.get(dual_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.dual_regularizer = keras.regularizers.get(dual_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.dual_constraint = keras.constraints.get(dual_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.entropy: _Decisions | None = None
        self._compiled_in: weakref.WeakSet[Any] = weakref.WeakSet()
        self.decision_weight = decision_weight
        self.input_spec = keras.InputSpec(min_ndim=2)
        self.supports_masking = True

    @property
    def decision_weight(self) -> float:
        """The factor of the term; 0 where there is none."""
        return self._decision_weight

    @decision_weight.setter
    def decision_weight(self, value: float) -> None:
        value = _checks.number("decision_weight", value)
        if _keras.is_inside_fit(self):
            raise ValueError(
                f"`decision_weight` of {self.name!r} should be set between two calls of `fit`, not by a callback while "
                "one is running: its step is compiled. To change a factor by epoch use FactorSchedule."
            )
        self._decision_weight = value
        if not value:
            self.entropy = None
        elif self.entropy is None:
            self.entropy = _Decisions(-value)
        else:
            self.entropy.factor = -value  # what a schedule left in the multiplier stays
        for model in self._compiled_in:
            _keras.rebuild_step_functions(model)

    def build(self, input_shape: Shape) -> None:
        """Make w, G and b for inputs of a shape."""
        inputs = input_shape[-1]
        if inputs is None:
            raise ValueError(
                f"The last axis of the inputs of DualDense should have a known size. Received: shape {input_shape}."
            )
        shape = (inputs, self.units)
        self.kernel = self.add_weight(
            name="kernel",
            shape=shape,
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.dual_kernel = self.add_weight(
            name="dual_kernel",
            shape=shape,
            initializer=self.dual_initializer,
            regularizer=self.dual_regularizer,
            constraint=self.dual_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.units,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        self.input_spec = keras.InputSpec(min_ndim=2, axes={-1: inputs})
        self.built = True

    def call(self, inputs: Array, mask: Array | None = None) -> Array:
        """The activation of z."""
        self._check_type(inputs)
        self._compiled_in.update(_keras.models_tracing(inputs))
        # One addition of the weights each step, whatever the batch.
        z = keras.ops.matmul(inputs, keras.ops.add(self.kernel, self.dual_kernel))
        if self.bias is not None:
            z = keras.ops.add(z, self.bias)
        if self.entropy is not None:
            self.add_loss(self.entropy.term(z, mask))
        return self.activation(z)

    def _check_type(self, inputs: Array) -> None:
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        if not keras.backend.is_float_dtype(dtype):
            raise TypeError(
                f"The inputs of DualDense {self.name!r} should be of a floating-point type. Received: {dtype}. "
                "Cast them, and scale images to about 1: x.astype('float32') / 255."
            )

    def compute_output_spec(self, inputs: Array, mask: Array | None = None) -> Array:
        """Of the output: its type is that of the layer's computations."""
        self._check_type(inputs)
        return super().compute_output_spec(inputs, mask=mask)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, ..., units)."""
        return (*input_shape[:-1], self.units)

    def enable_lora(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: with G, the layer has an addition to its kernel already."""
        raise NotImplementedError(
            "DualDense takes no low-rank adapter: G is already an addition to w, of full rank. To adapt it alone, set "
            "`layer.kernel.trainable = False`; for an adapter, give keras.layers.Dense the kernel w + G."
        )

    def quantize(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: what would be rounded is the sum of the two sets."""
        raise NotImplementedError(_NOT_QUANTISED)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        initializers, regularizers, constraints = keras.initializers, keras.regularizers, keras.constraints
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "dual_initializer": initializers.serialize(self.dual_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "dual_regularizer": regularizers.serialize(self.dual_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "activity_regularizer": regularizers.serialize(self.activity_regularizer),
            "kernel_constraint": constraints.serialize(self.kernel_constraint),
            "dual_constraint": constraints.serialize(self.dual_constraint),
            "bias_constraint": constraints.serialize(self.bias_constraint),
            "decision_weight": self.decision_weight,
        }
