"""A Dense layer with two weight sets and the sigmoid entropy of its units as a term.

Sources:
    Mahi (2025): Optimizing a Model Using Entropy: A Novel Approach.
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
    "DualDense cannot be quantised, because w and G would be rounded one by one. Copy the kernel w + G to a "
    "keras.layers.Dense, and quantise that."
)


class _Decisions(EntropyRegularizer):
    """-factor * mean sigmoid entropy of logits, as an entropy regularizer, so that a FactorSchedule finds it."""

    unit = "bits per unit"

    def __init__(self, factor: float) -> None:
        super().__init__(factor, 0.0, "mean")

    def term(self, logits: Array, mask: Array | None) -> Array:
        """Compute the term; a mask has the first axes of the logits, and False for positions that do not count."""
        ops = keras.ops
        entropy = functional.sigmoid_entropy(logits)
        if mask is None:
            total, count = ops.sum(entropy), ops.cast(math.prod(ops.shape(entropy)), entropy.dtype)
        else:
            counts = ops.broadcast_to(expanded(mask, entropy), ops.shape(entropy))
            total = ops.sum(ops.where(counts, entropy, ops.zeros_like(entropy)))
            count = ops.sum(ops.cast(counts, entropy.dtype))
        mean = ops.divide_no_nan(total, count)  # 0 if no position counts
        return self._times_multiplier(ops.cast(-self.factor_beside(mean) * mean, keras.backend.floatx()))


def expanded(mask: Array, units: Array) -> Array:
    """Return a mask of positions as booleans, with axes added until it broadcasts to the units."""
    while len(mask.shape) < len(units.shape):
        mask = keras.ops.expand_dims(mask, axis=-1)
    return keras.ops.cast(mask, "bool")


@keras.saving.register_keras_serializable(package="keras_entropy")
class DualDense(keras.layers.Layer):
    """A Dense layer with two weight sets, z = x (w + G) + b, and the sigmoid entropy of z as a term (Mahi, 2025).

    Adds `decision_weight` * mean of `functional.sigmoid_entropy(z)` in bits to the loss, over samples, positions and
    units. The gradient is the same for both sets: dH/dw = dH/dG = -z D (1 - D) x / ln 2 with D = sigmoid(z), and
    dH/db without x. A positive weight drives each unit to the nearer of 0 and 1, whatever the labels; a negative weight
    keeps units undecided. (In a regularizer, a positive factor rewards entropy.) A `FactorSchedule` multiplies the
    weight. Call the layer on (batch, time, features) directly: `TimeDistributed` would add the term once per time step.

    The second weight set does not change what the layer can compute. Under gradient descent and under Adam, w - G never
    changes, and w + G moves like a single set with twice the learning rate; b moves like a single bias. (This does not
    hold with clipping by the global norm, decoupled weight decay as in AdamW, or steps that depend on the size of the
    weights as in Adafactor.) Regularizers act on w and on G, not on the sum: the other set can undo the effect of a
    regularizer on one set. L2 with factors u and v on the two sets acts, at a minimum, like L2 with u v / (u + v) on
    w + G.

    Args:
        units: Integer. Number of output units.
        activation: Activation that is applied to z; the term is computed from z in any case. Defaults to `"sigmoid"`.
        use_bias: Boolean. Whether the layer has a bias b. Defaults to True.
        kernel_initializer: Initializer of w. Defaults to `"glorot_uniform"`.
        dual_initializer: Initializer of G. Defaults to `"zeros"`.
        bias_initializer: Initializer of b. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of w alone. Defaults to None.
        dual_regularizer: Regularizer of G alone. Defaults to None.
        bias_regularizer: Regularizer of b. Defaults to None.
        activity_regularizer: Regularizer of the output. Defaults to None.
        kernel_constraint: Constraint of w. Defaults to None.
        dual_constraint: Constraint of G. Defaults to None.
        bias_constraint: Constraint of b. Defaults to None.
        decision_weight: Float. Weight of the term. Defaults to 0: no term and no cost.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Call arguments:
        * inputs: Tensor of shape (batch, ..., d), of a floating-point dtype. The output has shape (batch, ..., units).
        * mask: Mask of shape (batch, ...), which Keras passes on. Positions with False are left out of the mean.

    Attributes:
        kernel: w, of shape (d, units).
        dual_kernel: G, of shape (d, units).
        bias: b, of shape (units,), or None.
        decision_weight: Weight of the term. It can be set between two calls of `fit`; the next step of `fit` and
            `evaluate` is then traced again. A step that you compiled yourself keeps the weight it was traced with.

    Raises:
        TypeError, ValueError: If an argument is invalid, or if `decision_weight` is set while `fit` or `evaluate` is
            running. When called: if the inputs are integers, or their rank is below 2.
        NotImplementedError: By `enable_lora` and `quantize`.

    Examples:
        >>> import keras, numpy as np
        >>> from keras_entropy import DualDense
        >>> layer = DualDense(3, decision_weight=0.5)
        >>> _ = layer(np.zeros((2, 5)))
        >>> keras.ops.convert_to_numpy(layer.losses[0]).item()  # sigmoid(0) = 1/2 has 1 bit
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
        """Float. Weight of the term; 0 for no term."""
        return self._decision_weight

    @decision_weight.setter
    def decision_weight(self, value: float) -> None:
        value = _checks.float32("decision_weight", value)
        if _keras.is_inside_fit(self):
            raise ValueError(
                f"`decision_weight` of {self.name!r} should be set between two calls of `fit`. Received: a value while "
                "`fit` or `evaluate` is running, whose step is compiled. To change it by epoch, use FactorSchedule."
            )
        self._decision_weight = value
        if not value:
            self.entropy = None
        elif self.entropy is None:
            self.entropy = _Decisions(-value)
        else:
            self.entropy.factor = -value  # the multiplier that a schedule set stays
        for model in self._compiled_in:
            _keras.rebuild_step_functions(model)

    def build(self, input_shape: Shape) -> None:
        """Create w, G and b."""
        inputs = input_shape[-1]
        if inputs is None:
            raise ValueError(
                f"The last axis of the inputs of DualDense should have a known size. Received: shape {input_shape}. "
                "Set it in keras.Input."
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
        """Apply the layer, and add the term to the losses."""
        self._check_type(inputs)
        self._compiled_in.update(_keras.models_tracing(inputs))
        # Adding the weights costs one addition per step, whatever the batch size.
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
                f"The inputs of DualDense {self.name!r} should be of a floating-point dtype. Received: {dtype}. "
                "Cast them, and scale images to 0 to 1: x.astype('float32') / 255."
            )

    def compute_output_spec(self, inputs: Array, *args: Any, **kwargs: Any) -> Array:
        """Return the shape and dtype of the output; the dtype is the compute dtype of the layer."""
        self._check_type(inputs)
        return super().compute_output_spec(inputs, *args, **kwargs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return (batch, ..., units)."""
        return (*input_shape[:-1], self.units)

    def enable_lora(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise `NotImplementedError`: G is an addition to the kernel already."""
        raise NotImplementedError(
            "DualDense has no low-rank adapter, because G is already an addition to w, of full rank. To train G alone, "
            "set `layer.kernel.trainable = False`. For an adapter, copy the kernel w + G to a keras.layers.Dense."
        )

    def quantize(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise `NotImplementedError`: the two sets would be rounded one by one."""
        raise NotImplementedError(_NOT_QUANTISED)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
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
