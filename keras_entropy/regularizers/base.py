"""The base classes of the entropy regularizers: factor, noise floor, reduction, and the steps that they act on.

Sources:
    Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks" (2023).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_entropy import _backend, _checks, _keras
from keras_entropy._backend import Array
from keras_entropy.regularizers import step_counter

FORMS = ("log", "reciprocal")
REDUCTIONS = ("mean", "sum")


class EntropyRegularizer(keras.Regularizer):
    """Base class of the entropy regularizers.

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
        """
        kernel = _backend.as_float(x)
        self.check_kernel(tuple(kernel.shape))
        if _backend.is_host(kernel):
            return self._times_multiplier(self.penalty(kernel))
        return self._times_multiplier(step_counter.on_every_kth_step(x, self.every, self._float_penalty, kernel, self))

    def _float_penalty(self, kernel: Array) -> Array:
        # Keras adds the penalty to a loss of dtype floatx, and TensorFlow does not add tensors of different dtypes.
        return keras.ops.cast(self.penalty(kernel), keras.backend.floatx())

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
