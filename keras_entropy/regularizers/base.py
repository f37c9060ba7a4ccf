"""The base classes of the entropy regularizers: factor, noise floor, reduction, and the steps that they act on.

Sources:
    Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks" (2023).
"""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np

from keras_entropy import _backend, _checks, _keras
from keras_entropy._backend import Array
from keras_entropy.regularizers import held_weight, step_counter

FORMS = ("log", "reciprocal")
REDUCTIONS = ("mean", "sum")


class EntropyRegularizer(keras.Regularizer):
    """Base class of the entropy regularizers.

    On a layer of Keras the term acts on what the layer computes with the weight: on each head of an attention layer,
    each block of an `EinsumDense` and each gate of a recurrent layer by itself, and on the kernel merged with its
    low-rank adapters. On biases, scales, outputs and adapters of quantised kernels it raises an error.

    A positive `factor` rewards entropy, a negative one suppresses it. (The text of Meni et al., 2023, section 4.1, says
    the opposite of their equations. This package follows the equations.)

    Subclasses implement `check_kernel`, `penalty` and `log_magnitudes`.

    Args:
        factor: Float. Strength of the term.
        epsilon: Float, at least 0. Standard deviation of the assumed noise, in kernel units. It bounds the gradient by
            |factor| / (2 epsilon) per singular value or corner element.
        reduction: String. `"mean"` over dimensions or filters, so that one factor suits layers of any size, or
            `"sum"`.
        every: Integer k. The term acts on every k-th training step only, with k times the weight, and costs nothing on
            the others. Each kernel counts its steps from the start of training in this process. A step is counted
            when `train_step` reads `losses`: a custom `train_step` that reads them twice counts twice. In
            validation, and in a training loop without `train_step`, the term always acts, with weight 1. Defaults to 1.
    """

    unit: str
    """String. Unit of `measure`."""

    layer_arguments: tuple[str, ...] = ()
    """Tuple of strings. Arguments of the constructor that describe the layer; `apply_entropy` sets them."""

    def __init__(self, factor: Any, epsilon: float, reduction: str, every: int = 1) -> None:
        self.factor = factor
        self.epsilon = _checks.non_negative("epsilon", epsilon)
        self.reduction = _checks.one_of("reduction", reduction, REDUCTIONS)
        self.every = _checks.positive_integer("every", every)
        self.multiplier: float | keras.Variable = 1.0
        self._strength: _keras.StepState | None = None

    def __call__(self, x: Array) -> Array:
        """Compute the penalty of a kernel.

        Args:
            x: Kernel: a Keras variable or a tensor; or a NumPy array, for which the penalty is computed in float64.

        Returns:
            The penalty as a scalar of dtype floatx; of float64 for a NumPy array.

        Raises:
            TypeError: If Keras calls it on the outputs of a layer.
            ValueError: If it cannot measure the kernel, or the layer of the kernel has other arguments.
        """
        if _backend.is_host(x):
            kernel = _backend.as_float(x)
            self.check_kernel(tuple(kernel.shape))
            return self._times_multiplier(self.penalty(kernel))
        found = held_weight.weight_of(x, self)
        if found is None:
            kernel, penalty = _backend.as_float(x), self._float_penalty
            self.check_kernel(tuple(kernel.shape))
        else:
            weight, variable = found
            if weight.adapters and variable is weight.adapters[-1]:  # the first one stands for the merged kernel
                return keras.ops.zeros((), dtype=keras.backend.floatx())
            kernel = weight.tensor(x)
            for piece in weight.kernels(kernel):
                self.check_kernel(tuple(piece.shape))
            self.check_layer(weight.layer_arguments, weight.layer.name)
            penalty = functools.partial(self._float_penalty_of_weight, weight)
        return self._times_multiplier(step_counter.on_every_kth_step(x, self.every, penalty, kernel, self))

    def _float_penalty(self, kernel: Array) -> Array:
        # Keras adds the penalty to a loss of dtype floatx, and TensorFlow does not add tensors of different dtypes.
        return keras.ops.cast(self.penalty(kernel), keras.backend.floatx())

    def _float_penalty_of_weight(self, weight: held_weight.HeldWeight, kernel: Array) -> Array:
        return keras.ops.cast(self._joint_penalty(weight.kernels(kernel)), keras.backend.floatx())

    def _joint_penalty(self, kernels: list[Array]) -> Array:
        """The penalty of a weight that consists of several kernels: their mean or sum, as `reduction` says."""
        total = sum(self.penalty(kernel) for kernel in kernels)
        return total / len(kernels) if self.reduction == "mean" else total

    def host_penalty(self, kernels: list[Array]) -> float:
        """Compute the penalty of a weight from its kernels as NumPy arrays, in float64, as it is in the loss."""
        return float(self._times_multiplier(self._joint_penalty([np.asarray(k, "float64") for k in kernels])))

    def check_layer(self, arguments: dict[str, Any], name: str) -> None:
        """Raise `ValueError` if an argument that describes the layer differs from the layer's own.

        Args:
            arguments: Dict of the layer's layout, strides, dilation and groups.
            name: String. Name of the layer.
        """
        for argument in self.layer_arguments:
            given, own = getattr(self, argument), arguments.get(argument, getattr(self, argument))
            if _collapsed(given) != _collapsed(own):
                raise ValueError(
                    f"{type(self).__name__} on layer {name!r} should have {argument}={own!r}, as the layer. Received: "
                    f"{argument}={given!r}. Give {argument}={own!r}, or let apply_entropy attach the term."
                )

    def _times_multiplier(self, penalty: Array) -> Array:
        if _backend.is_host(penalty):
            return penalty * float(keras.ops.convert_to_numpy(self.multiplier))
        if self._strength is not None:  # contains the multiplier
            return penalty
        return penalty * keras.ops.cast(self.multiplier, penalty.dtype)

    def factor_beside(self, values: Array) -> Any:
        """Return the factor to multiply `values` by: a number; an array, if there is one factor per filter."""
        if _backend.is_host(values):
            return np.asarray(self.factor) if isinstance(self.factor, list) else self.factor
        if self._strength is not None:
            return keras.ops.cast(self._strength.state, values.dtype)
        if isinstance(self.factor, list):
            return keras.ops.convert_to_tensor(self.factor, dtype=values.dtype)
        return self.factor

    @property
    def is_shared(self) -> bool:
        """Whether compiled steps read the factor and the multiplier as a state, as `share` makes them."""
        return self._strength is not None

    def share(self, model: Any) -> None:
        """Let the steps of a model read the factor as a state, so that another factor needs no other steps."""
        if self._strength is None:
            self._strength = _keras.StepState(self._strength_value(), "entropy_strength")
        self._strength.attach(model)

    def set_strength(self, factor: float | list[float], multiplier: float) -> None:
        """Set the factor and the multiplier of a shared regularizer, without compiling anything."""
        assert self._strength is not None
        self.factor, self.multiplier = factor, multiplier
        self._strength.state.assign(self._strength_value())

    def _strength_value(self) -> Any:
        return np.asarray(self.factor, "float64") * float(keras.ops.convert_to_numpy(self.multiplier))

    def check_kernel(self, shape: tuple[int, ...]) -> None:
        """Raise `ValueError` if the regularizer cannot measure a kernel of this shape."""
        raise NotImplementedError

    def penalty(self, kernel: Array) -> Array:
        """Compute the penalty of `kernel` as a scalar, without the multiplier of a `FactorSchedule`."""
        raise NotImplementedError

    def log_magnitudes(self, kernel: Array) -> Array:
        """Compute the rewarded quantity in nats, one value per dimension, filter or output."""
        raise NotImplementedError

    def measure(self, kernel: Array) -> Array:
        """Compute the mean of `log_magnitudes` as a scalar in nats, as `unit` says."""
        values = self.log_magnitudes(_backend.as_float(kernel))
        return _backend.namespace(values).mean(values)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor, as the Python numbers that the user gave."""
        return {"factor": self.factor, "epsilon": self.epsilon, "reduction": self.reduction, "every": self.every}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


def _collapsed(value: Any) -> Any:
    """Sizes as one number if they are equal."""
    return value[0] if isinstance(value, list | tuple) and len(set(value)) == 1 else value


class TwoForms(EntropyRegularizer):
    """Base class of the terms that Meni et al. (2023) give in two forms.

    Args:
        factor: Float, or one per filter. Strength of the term.
        epsilon: Float. The noise floor in the form `"log"`; epsilon of Meni et al., 2023, eq. 24 and 25, in the form
            `"reciprocal"`.
        reduction: String. `"mean"`, or `"sum"` as in Meni et al. It has no effect on the reciprocal of a determinant.
        form: String. `"log"` or `"reciprocal"`.
        every: Integer. As in `EntropyRegularizer`.
    """

    def __init__(self, factor: Any, epsilon: float, reduction: str, form: str, every: int) -> None:
        super().__init__(factor, epsilon, reduction, every)
        self.form = _checks.one_of("form", form, FORMS)
        if form == "reciprocal" and self.epsilon == 0:
            raise ValueError(_checks.message("epsilon", "above 0 for form='reciprocal'", epsilon))

    @property
    def floor(self) -> float:
        """Float. The noise floor of the logarithm; 0 in the reciprocal form, whose epsilon is none."""
        return self.epsilon if self.form == "log" else 0.0

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "form": self.form}
