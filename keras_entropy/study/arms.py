"""The arms of a study: what is done to the same model, data and seed."""

from __future__ import annotations

import functools
import numbers
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras

from keras_entropy import _checks
from keras_entropy.placement import apply_entropy
from keras_entropy.placement.resolution import Placement
from keras_entropy.runs.identity import identity
from keras_entropy.study import controls

OWN_AXES = ("factor", "placement")
"""Axes that an arm takes itself; the others are arguments of the build function."""


class Arm:
    """One way to train: a regularizer and where it goes, or another change, or arguments of the build function.

    Args:
        name: of the arm, in records and tables.
        placement: which layers the arm changes, as of `resolve_placement`: "first", "all", a glob, ...; or
            a dict of rules to regularizers, in place of `regularizer`.
        regularizer: a `keras.Regularizer`; or a function of a number that returns one, such as the class
            `DenseEntropy`, for an axis "factor" in `grid` or `tune`. None for no term.
        constant: True for the number that the regularizer has at the initial weights, without its gradient.
        initializer: draws the placed kernels anew: a Keras initializer or its name; or a number that they are
            multiplied with.
        inputs: "centred" or "standardised", by feature for points and by channel for images, with the statistics of
            the training inputs; or a function of the training inputs that returns a function of inputs.
        batch_normalization: True for batch normalisation between each placed layer and its activation.
        grid: axes of this arm alone, name to values; every combination is reported.
        tune: axes of this arm alone, of which the tuning seeds choose a combination. For an axis that the study has
            too, the values are added to the study's.
        **arguments: of the build function; an argument that is an axis of the study's `tune` is fixed by it.

    Raises:
        TypeError: for arguments of another kind.
        ValueError: for an axis without values, or one that nothing takes.

    Examples:
        >>> from keras_entropy import TotalCorrelation
        >>> from keras_entropy.study import Arm
        >>> Arm("decorrelated", "first", TotalCorrelation, tune={"factor": [1e-2, 1e-1]})
        Arm('decorrelated', placement='first', regularizer=TotalCorrelation, tune={'factor': [0.01, 0.1]})
    """

    def __init__(
        self,
        name: str,
        placement: Placement = "first",
        regularizer: Any = None,
        *,
        constant: bool = False,
        initializer: Any = None,
        inputs: str | Callable[..., Any] | None = None,
        batch_normalization: bool = False,
        grid: Mapping[str, Iterable[Any]] | None = None,
        tune: Mapping[str, Iterable[Any]] | None = None,
        **arguments: Any,
    ) -> None:
        if not isinstance(name, str) or not name.strip():
            raise TypeError(_checks.message("name", "a name that is not empty", name))
        if isinstance(regularizer, str | dict):
            regularizer = keras.regularizers.get(regularizer)
        if regularizer is not None and not callable(regularizer):
            raise TypeError(
                _checks.message("regularizer", "a keras.Regularizer or a function of a factor", regularizer)
            )
        _check_inputs(inputs)
        if isinstance(placement, keras.Regularizer):
            raise TypeError(f"Arm {name!r} has a regularizer as its placement: a placement comes before a regularizer.")
        if isinstance(placement, Mapping) and not (regularizer is None and initializer is None and not constant):
            raise TypeError(f"Arm {name!r} has a dict of placements to regularizers, which stands alone.")
        initializer = _initializer(initializer)
        for flag, value in (("constant", constant), ("batch_normalization", batch_normalization)):
            _checks.flag(flag, value)
        if constant and regularizer is None:
            raise ValueError(f"Arm {name!r} is to have the constant of a regularizer, but has no regularizer.")
        self.name = name
        self.placement = placement
        self.regularizer = regularizer
        self.constant = constant
        self.initializer = initializer
        self.inputs = inputs
        self.batch_normalization = batch_normalization
        self.grid = axes("grid", grid)
        self.tune = axes("tune", tune)
        self.arguments = arguments
        self._check_axes()

    def _check_axes(self) -> None:
        own = {**self.grid, **self.tune}
        for axis in sorted(own.keys() & self.arguments.keys()):
            raise ValueError(
                f"Arm {self.name!r} has {axis!r} both as an argument and as an axis. Leave one of them out."
            )
        for axis in sorted(self.grid.keys() & self.tune.keys()):
            raise ValueError(f"Arm {self.name!r} has {axis!r} both in `grid` and in `tune`. Leave one of them out.")
        if "factor" in own and not self.takes_factor:
            raise ValueError(
                f"Arm {self.name!r} has an axis 'factor', but its regularizer takes none. Give a function of it, "
                "such as the class DenseEntropy."
            )

    @property
    def takes_factor(self) -> bool:
        """Whether the regularizer is made from a factor."""
        return self.regularizer is not None and not isinstance(self.regularizer, keras.Regularizer)

    @property
    def has_term(self) -> bool:
        """Whether the arm adds anything to the loss."""
        return self.regularizer is not None or isinstance(self.placement, Mapping)

    def build(self, function: Callable[..., Any], values: Mapping[str, Any]) -> Any:
        """The compiled model without the arm's term.

        Args:
            function: the study's build function.
            values: of this run's axes.
        """
        model = function(**{name: v for name, v in values.items() if name not in OWN_AXES}, **self.arguments)
        if not isinstance(model, keras.Model) or not model.compiled:
            raise TypeError(_checks.message("build", "a function that returns a compiled keras.Model", model))
        if not model.built:
            raise ValueError("The model of `build` is not built. Give its first layer an input shape: keras.Input.")
        return model

    def change(self, model: Any, values: Mapping[str, Any], seed: int) -> Any:
        """The model with what the arm does to it."""
        placement = values.get("placement", self.placement)
        if self.batch_normalization:
            model = controls.batch_normalised(model, placement)
        if self.initializer is not None:
            controls.initialise(model, placement, self.initializer, seed)
        if self.regularizer is not None:
            regularizer = self.regularizer(values["factor"]) if self.takes_factor else self.regularizer
            controls.attach(model, placement, regularizer, self.constant)
        elif isinstance(placement, Mapping):
            apply_entropy(model, placement)
        return model

    def describe(self) -> dict[str, Any]:
        """What the arm is, as plain values: equal for equal arms, also in another process."""
        return {
            "name": self.name,
            "placement": identity(self.placement),
            "regularizer": identity(self.regularizer),
            "constant": self.constant,
            "initializer": identity(self.initializer),
            "inputs": identity(self.inputs),
            "batch_normalization": self.batch_normalization,
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


def control_arms(rival: Arm, orthogonality: bool = True) -> list[Arm]:
    """The control arms for an arm: what simpler explanations of its gain would do in its place.

    They are "constant" (the number that the rival's term has at the initial weights), "soft orthogonality"
    (Keras's `OrthogonalRegularizer`, between units), "L2", "orthogonal initialisation", "scaled initialisation" (twice
    the kernel), "centred inputs", "standardised inputs" and "batch normalisation". Each has the rival's placement,
    arguments and axes. The strengths of soft orthogonality and L2 are tuned, with 0 among them.

    Args:
        rival: the arm that is to be explained.
        orthogonality: False leaves soft orthogonality out, which Keras has for matrices only, not for convolutions.

    Returns:
        Arms for a `Study`, which tunes two of them: it needs `tune_seeds`.

    Raises:
        ValueError: for a rival without a regularizer.

    Examples:
        >>> from keras_entropy import DenseEntropy
        >>> from keras_entropy.study import Arm, control_arms
        >>> [arm.name for arm in control_arms(Arm("volume", "first", DenseEntropy(1e-3)))][:3]
        ['constant', 'soft orthogonality', 'L2']
    """
    if rival.regularizer is None:
        raise ValueError(f"Arm {rival.name!r} has no regularizer for which there could be controls.")
    place, arguments = rival.placement, dict(rival.arguments)
    grid, tune = ({axis: v for axis, v in own.items() if axis != "factor"} for own in (rival.grid, rival.tune))
    strengths = {**tune, "factor": [0.0, 1e-3, 1e-2, 1e-1]}
    weak = {**tune, "factor": [0.0, 1e-6, 1e-5, 1e-4]}
    same: dict[str, Any] = {"grid": grid, "tune": tune, **arguments}
    arms = [
        Arm("constant", place, rival.regularizer, constant=True, grid=rival.grid, tune=rival.tune, **arguments),
        Arm(
            "soft orthogonality",
            place,
            functools.partial(keras.regularizers.OrthogonalRegularizer, mode="columns"),
            grid=grid,
            tune=strengths,
            **arguments,
        ),
        Arm("L2", place, keras.regularizers.L2, grid=grid, tune=weak, **arguments),
        Arm("orthogonal initialisation", place, initializer="orthogonal", **same),
        Arm("scaled initialisation", place, initializer=2.0, **same),
        Arm("centred inputs", place, inputs="centred", **same),
        Arm("standardised inputs", place, inputs="standardised", **same),
        Arm("batch normalisation", place, batch_normalization=True, **same),
    ]
    return [arm for arm in arms if orthogonality or arm.name != "soft orthogonality"]


def axes(argument: str, given: Mapping[str, Iterable[Any]] | None) -> dict[str, list[Any]]:
    """Axes with lists of plain values."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(_checks.message(argument, "a dict of axes to values", given))
    found = {}
    for name, values in given.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise TypeError(_checks.message(f"{argument}[{name!r}]", "a list of values", values))
        plain = [value.item() if hasattr(value, "item") else value for value in values]
        if not plain:
            raise ValueError(_checks.message(f"{argument}[{name!r}]", "at least one value", values))
        for value in plain:
            if not isinstance(value, str | int | float | bool | None):
                raise TypeError(_checks.message(f"{argument}[{name!r}]", "numbers, strings, booleans or None", value))
        if len(set(map(repr, plain))) < len(plain):
            raise ValueError(_checks.message(f"{argument}[{name!r}]", "values without repetition", plain))
        found[str(name)] = plain
    return found


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
