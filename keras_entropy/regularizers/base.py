"""What all entropy regularizers share: strength, noise floor, reduction, the steps that they act on.

Sources:
    [A] Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks".
"""

from __future__ import annotations

from typing import Any

import keras

from keras_entropy import _backend, _checks, _steps
from keras_entropy._backend import Array

FORMS = ("log", "reciprocal")
REDUCTIONS = ("mean", "sum")


class EntropyRegularizer(keras.Regularizer):
    """Base of the package's regularizers: a factor, a noise floor, a reduction, the steps to act on.

    A positive `factor` rewards entropy, a negative one suppresses it. (Section 4.1 of [A] says the opposite
    of its own equations; the equations are followed.)

    Subclasses implement `penalty` and `log_magnitudes`.

    Args:
        factor: strength of the term, a finite number.
        epsilon: a noise floor in units of the kernel: it bounds the gradient by |factor| / (2 epsilon) for each
            singular value or corner.
        reduction: `"mean"` (per dimension or filter, so that one factor suits layers of any size) or `"sum"`.
        every: act on every k-th training step only, with k times the weight, and skip the work on the others.
            Steps are counted for each kernel, from the start of training in this process, by the reading of `losses`
            in `train_step`: a step of your own that reads them twice counts twice. In validation, and in a
            training loop without a `train_step`, the penalty is there each time, with weight 1.
    """

    unit: str
    """The unit of `measure`."""

    layer_arguments: tuple[str, ...] = ()
    """The constructor's arguments that describe the layer; `apply_entropy` takes them from it."""

    def __init__(self, factor: Any, epsilon: float, reduction: str, every: int = 1) -> None:
        self.factor = factor
        self.epsilon = _checks.non_negative("epsilon", epsilon)
        self.reduction = _checks.one_of("reduction", reduction, REDUCTIONS)
        self.every = _checks.positive_integer("every", every)
        self.multiplier: float | keras.Variable = 1.0

    def __call__(self, x: Array) -> Array:
        """The penalty of kernel `x`: a scalar of type floatx; NumPy arrays are computed on the host in float64."""
        kernel = _backend.as_float(x)
        self.check_kernel(tuple(kernel.shape))
        if _backend.is_host(kernel):
            return self._times_multiplier(self.penalty(kernel))
        return self._times_multiplier(_steps.on_every_kth_step(x, self.every, self._float_penalty, kernel, self))

    def _float_penalty(self, kernel: Array) -> Array:
        # Keras adds the penalty to a loss of type floatx, whatever the kernel's type; TensorFlow does not mix them.
        return keras.ops.cast(self.penalty(kernel), keras.backend.floatx())

    def _times_multiplier(self, penalty: Array) -> Array:
        if _backend.is_host(penalty):
            return penalty * float(keras.ops.convert_to_numpy(self.multiplier))
        return penalty * keras.ops.cast(self.multiplier, penalty.dtype)

    def check_kernel(self, shape: tuple[int, ...]) -> None:
        """Raise `ValueError` if a kernel of this shape is not one that the regularizer measures."""
        raise NotImplementedError

    def penalty(self, kernel: Array) -> Array:
        """The scalar penalty of `kernel`, without the multiplier of a schedule."""
        raise NotImplementedError

    def log_magnitudes(self, kernel: Array) -> Array:
        """The quantity that is rewarded, in nats, one value per dimension or filter."""
        raise NotImplementedError

    def measure(self, kernel: Array) -> Array:
        """The mean of `log_magnitudes`: a scalar in nats, per dimension or per filter."""
        values = self.log_magnitudes(_backend.as_float(kernel))
        return _backend.namespace(values).mean(values)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as the plain Python numbers that the user gave."""
        return {"factor": self.factor, "epsilon": self.epsilon, "reduction": self.reduction, "every": self.every}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


class TwoForms(EntropyRegularizer):
    """Base of the terms that the source gives in two forms.

    Args:
        factor: strength of the term.
        epsilon: in form `"log"` the noise floor; in form `"reciprocal"` the epsilon of [A, eq. 24, 25].
        reduction: `"mean"` or `"sum"` (the source's). The reciprocal of a determinant is one number: it has no mean.
        form: `"log"` or `"reciprocal"`.
        every: act on every k-th training step.
    """

    def __init__(self, factor: Any, epsilon: float, reduction: str, form: str, every: int) -> None:
        super().__init__(factor, epsilon, reduction, every)
        self.form = _checks.one_of("form", form, FORMS)
        if form == "reciprocal" and self.epsilon == 0:
            raise ValueError(_checks.message("epsilon", "positive where form='reciprocal'", epsilon))

    @property
    def floor(self) -> float:
        """The noise floor under the logarithm; the epsilon of the reciprocal form is none."""
        return self.epsilon if self.form == "log" else 0.0

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "form": self.form}
