"""The arms of a study: variants of the training of one model on the same data and seeds."""

from __future__ import annotations

import functools
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras

from keras_entropy import _checks
from keras_entropy.placement.attachment import attach_for_a_run
from keras_entropy.placement.resolution import Placement, resolve_placement
from keras_entropy.profile.selection import refuse_layers
from keras_entropy.regularizers import SoftOrthogonality
from keras_entropy.runs import training
from keras_entropy.runs.identity import identity
from keras_entropy.study import controls
from keras_entropy.study.axes import OWN_AXES, checked_axes, merged


class Arm:
    """One way to train a model: a regularizer and its placement, another change, or arguments of the build function.

    Args:
        name: String. Name of the arm in records and tables.
        placement: The layers that the arm changes, as for `resolve_placement`: `"first"`, `"all"`, a pattern, ...; or a
            dict of placements to regularizers, in place of `regularizer`. It needs `regularizer`, `initializer`,
            `batch_normalization`, `inputs` or an axis "placement". Defaults to None, which means `"first"`.
        regularizer: A `keras.Regularizer`; or a function of a factor that returns one, such as the class
            `DenseEntropy`, for an axis "factor" in `grid` or `tune`. Defaults to None: no term.
        constant: Boolean. True adds the value of the regularizer at the initial weights, without its gradient. Defaults
            to False.
        initializer: A Keras initializer or its name, to draw the kernels of the placed layers; or a number to multiply
            them by. Defaults to None: the kernels of the build function.
        inputs: `"centred"` or `"standardised"`, by feature for points and by channel for images, with the statistics of
            the training inputs; or a function of the training inputs that returns a function of inputs. Defaults to
            None: the inputs as they are.
        batch_normalization: Boolean. True puts batch normalisation between each placed layer and its activation.
            Defaults to False.
        kernels_of: A regularizer, or a function of a factor that returns one. The placement then means kernels that it
            can act on: with a `DenseEntropy`, `"first"` is the first Dense layer also for an arm with L2. Defaults to
            None: kernels that `regularizer` can act on.
        grid: Dict of axes of this arm to their values. Every combination is compared.
        tune: Dict of axes of this arm to their values. The tuning seeds choose one combination. Values for an axis of
            the study are added to the study's.
        **arguments: Arguments of the build function. An argument that is an axis of the study's `tune` fixes that axis.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an axis has no values, or nothing uses it; or if a placement is given, and nothing uses it.

    Examples:
        >>> from keras_entropy import TotalCorrelation
        >>> from keras_entropy.study import Arm
        >>> Arm("decorrelated", "first", TotalCorrelation, tune={"factor": [1e-2, 1e-1]})
        Arm('decorrelated', placement='first', regularizer=TotalCorrelation, tune={'factor': [0.01, 0.1]})
    """

    def __init__(
        self,
        name: str,
        placement: Placement = None,
        regularizer: Any = None,
        *,
        constant: bool = False,
        initializer: Any = None,
        inputs: str | Callable[..., Any] | None = None,
        batch_normalization: bool = False,
        kernels_of: Any = None,
        grid: Mapping[str, Iterable[Any]] | None = None,
        tune: Mapping[str, Iterable[Any]] | None = None,
        **arguments: Any,
    ) -> None:
        if not isinstance(name, str) or not name.strip():
            raise TypeError(_checks.message("name", "a name that is not empty", name))
        if isinstance(placement, keras.Regularizer | type):
            raise TypeError(
                f"Arm {name!r}: `placement` is a regularizer. Give the placement first, then the regularizer."
            )
        refuse_layers(placement, "placement")
        if isinstance(regularizer, str | dict):
            regularizer = _regularizer(regularizer)
        if regularizer is not None and not callable(regularizer):
            raise TypeError(
                _checks.message("regularizer", "a keras.Regularizer or a function of a factor", regularizer)
            )
        if kernels_of is not None and (not callable(kernels_of) or isinstance(placement, Mapping)):
            expected = "a keras.Regularizer or a function of a factor, beside one placement and not a dict"
            raise TypeError(_checks.message("kernels_of", expected, kernels_of))
        _check_inputs(inputs)
        if isinstance(placement, Mapping) and not (regularizer is None and initializer is None and not constant):
            raise TypeError(
                f"Arm {name!r}: `placement` is a dict of placements to regularizers, which excludes `regularizer`, "
                "`initializer` and `constant`. Remove them, or give one placement."
            )
        initializer = _initializer(initializer)
        for flag, value in (("constant", constant), ("batch_normalization", batch_normalization)):
            _checks.flag(flag, value)
        if constant and regularizer is None:
            raise ValueError(f"Arm {name!r}: `constant=True` needs a regularizer. Received: regularizer=None.")
        self.name = name
        self.placement = "first" if placement is None else placement
        self.regularizer = regularizer
        self.constant = constant
        self.initializer = initializer
        self.inputs = inputs
        self.batch_normalization = batch_normalization
        self.kernels_of = kernels_of
        self.grid = checked_axes("grid", grid)
        self.tune = checked_axes("tune", tune)
        self.arguments = arguments
        self._check_axes()
        if placement is not None and not self._uses_placement:
            raise ValueError(
                f"Arm {name!r}: `placement` needs something to place. Received: placement={placement!r}, and no "
                "regularizer, so that the arm would train like a baseline. Give a regularizer, an initializer or "
                "`batch_normalization=True`, or leave `placement` out."
            )

    @property
    def _uses_placement(self) -> bool:
        if isinstance(self.placement, Mapping):
            return bool(self.placement)
        changes = (self.regularizer, self.initializer, self.inputs, self.batch_normalization or None)
        changed = any(change is not None for change in changes) or "placement" in {**self.grid, **self.tune}
        return changed or (isinstance(self.placement, str) and self.placement == "none")

    def _check_axes(self) -> None:
        own = {**self.grid, **self.tune}
        for axis in sorted(own.keys() & self.arguments.keys()):
            raise ValueError(f"Arm {self.name!r} has {axis!r} both as an argument and as an axis. Remove one of them.")
        for axis in sorted(self.grid.keys() & self.tune.keys()):
            raise ValueError(f"Arm {self.name!r} has {axis!r} both in `grid` and in `tune`. Remove one of them.")
        if "factor" in own and not self.takes_factor:
            raise ValueError(
                f"Arm {self.name!r} has an axis 'factor', but its regularizer takes no factor. Give a function of the "
                "factor, such as the class DenseEntropy."
            )

    @property
    def takes_factor(self) -> bool:
        """Whether `regularizer` is a function of a factor."""
        return self.regularizer is not None and not isinstance(self.regularizer, keras.Regularizer)

    @property
    def has_term(self) -> bool:
        """Whether the arm adds a term to the loss."""
        return self.regularizer is not None or isinstance(self.placement, Mapping)

    def own_axes(self, shared: Mapping[str, Sequence[Any]], own: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """The axes of this arm: those of the study that apply to it, with the values and axes of `own` added.

        So an arm's grid contains the baseline's grid, and no arm tries fewer values of a shared axis than another.

        Args:
            shared: The axes of the study.
            own: `self.grid` or `self.tune`.
        """
        applicable = {
            name: values
            for name, values in shared.items()
            if name not in self.arguments and (name != "factor" or self.takes_factor)
        }
        return merged(applicable, own)

    def build(self, function: Callable[..., Any], values: Mapping[str, Any]) -> Any:
        """Build the compiled model, without the changes of the arm.

        Args:
            function: The build function of the study.
            values: The values of this run's axes.
        """
        model = function(**{name: v for name, v in values.items() if name not in OWN_AXES}, **self.arguments)
        return training.checked_model(model)

    def change(self, model: Any, values: Mapping[str, Any], seed: int) -> Any:
        """Apply the changes of the arm to a model, and return it."""
        placement = values.get("placement", self.placement)
        if self.kernels_of is not None:
            other = self.kernels_of if isinstance(self.kernels_of, keras.Regularizer) else self.kernels_of(1.0)
            placement = [weight.path for weight in resolve_placement(model, placement, regularizer=other)] or "none"
        if self.batch_normalization:
            model = controls.batch_normalised(model, placement)
        if self.initializer is not None:
            controls.initialise(model, placement, self.initializer, seed)
        if self.regularizer is not None:
            regularizer = self.regularizer(values["factor"]) if self.takes_factor else self.regularizer
            controls.attach(model, placement, regularizer, self.constant)
        elif isinstance(placement, Mapping):
            attach_for_a_run(model, placement)
        return model

    def describe(self) -> dict[str, Any]:
        """The arm as plain values; equal for equal arms, also in another process."""
        return {
            "name": self.name,
            "placement": identity(self.placement) if self._uses_placement else None,
            "regularizer": identity(self.regularizer),
            "constant": self.constant,
            "initializer": identity(self.initializer),
            "inputs": identity(self.inputs),
            "batch_normalization": self.batch_normalization,
            **({} if self.kernels_of is None else {"kernels_of": identity(self.kernels_of)}),
            "arguments": {name: identity(value) for name, value in self.arguments.items()},
        }

    def __repr__(self) -> str:
        described = self.describe()
        shown = {name: described[name] for name in ("placement", "regularizer") if described[name] is not None}
        plain = {"constant": False, "initializer": None, "inputs": None, "batch_normalization": False}
        shown |= {name: described[name] for name, usual in plain.items() if described[name] != usual}
        shown |= {name: value for name, value in (("grid", self.grid), ("tune", self.tune)) if value}
        shown |= described["arguments"]
        parts = [repr(self.name)]
        for name, value in shown.items():
            parts.append(f"{name}={value if name == 'regularizer' else repr(value)}")
        return f"Arm({', '.join(parts)})"


def control_arms(rival: Arm) -> list[Arm]:
    """The control arms for an arm: simpler changes that may explain its gain.

    They are "constant" (the value of the term at the initial weights), "soft orthogonality" (Keras's
    `OrthogonalRegularizer` between units or filters), "L2", "orthogonal initialisation", "scaled initialisation" (the
    kernel times two), "centred inputs", "standardised inputs" and "batch normalisation". Each has the arguments and
    axes of the arm, and acts on the kernels that the term of the arm acts on. The factors of soft orthogonality and L2
    are tuned, and 0 is one of the values.

    Args:
        rival: `Arm`. The arm whose gain is to be explained.

    Returns:
        List of `Arm`, for a `Study` with `tune_seeds`.

    Raises:
        ValueError: If `rival` has no regularizer.

    Examples:
        >>> from keras_entropy import DenseEntropy
        >>> from keras_entropy.study import Arm, control_arms
        >>> [arm.name for arm in control_arms(Arm("volume", "first", DenseEntropy(1e-3)))][:3]
        ['constant', 'soft orthogonality', 'L2']
    """
    if rival.regularizer is None:
        raise ValueError(f"Arm {rival.name!r} has no regularizer. Control arms need an arm with a regularizer.")
    place, arguments = rival.placement, dict(rival.arguments)
    grid, tune = ({axis: v for axis, v in own.items() if axis != "factor"} for own in (rival.grid, rival.tune))
    kernels = rival.regularizer
    strengths = {**tune, "factor": [0.0, 1e-3, 1e-2, 1e-1]}
    weak = {**tune, "factor": [0.0, 1e-6, 1e-5, 1e-4]}
    same: dict[str, Any] = {"grid": grid, "tune": tune, **arguments}
    return [
        Arm("constant", place, rival.regularizer, constant=True, grid=rival.grid, tune=rival.tune, **arguments),
        Arm(
            "soft orthogonality",
            place,
            functools.partial(SoftOrthogonality, mode="columns"),
            kernels_of=kernels,
            grid=grid,
            tune=strengths,
            **arguments,
        ),
        Arm("L2", place, keras.regularizers.L2, kernels_of=kernels, grid=grid, tune=weak, **arguments),
        Arm("orthogonal initialisation", place, initializer="orthogonal", kernels_of=kernels, **same),
        Arm("scaled initialisation", place, initializer=2.0, kernels_of=kernels, **same),
        Arm("centred inputs", place, inputs="centred", **same),
        Arm("standardised inputs", place, inputs="standardised", **same),
        Arm("batch normalisation", place, batch_normalization=True, kernels_of=kernels, **same),
    ]


def _regularizer(given: str | dict[str, Any]) -> Any:
    """The regularizer that Keras knows by a name or a config."""
    try:
        return keras.regularizers.get(given)
    except ValueError as error:
        expected = "a keras.Regularizer, a function of a factor, or a name that Keras knows, such as 'l2'"
        remedy = "For a regularizer of keras_entropy give its class, such as ConvCornerEntropy, without quotes."
        raise ValueError(_checks.message("regularizer", expected, given, remedy)) from error


def _initializer(given: Any) -> Any:
    if isinstance(given, numbers.Real):
        return _checks.number("initializer", given)
    if given is not None:
        keras.initializers.get(given)
    return given


def _check_inputs(inputs: Any) -> None:
    if isinstance(inputs, str):
        _checks.one_of("inputs", inputs, controls.INPUTS)
    elif inputs is not None and not callable(inputs):
        raise TypeError(_checks.message("inputs", "'centred', 'standardised' or a function", inputs))
