"""Whether low or high values of a metric are better."""

from __future__ import annotations

from keras_entropy import _checks

_LOWER = ("loss", "error", "mse", "mae", "rmse", "crossentropy", "divergence", "penalty")
_HIGHER = ("accuracy", "acc", "auc", "precision", "recall", "iou", "f1", "score", "r2", "similarity")


def direction(metric: str, lower_is_better: bool | None, argument: str = "lower_is_better") -> bool:
    """Whether lower values of a metric are better: as given, or as the name of the metric says.

    Args:
        metric: String. Name of the metric, such as `"val_accuracy"`.
        lower_is_better: Boolean, or None to read the direction from the name.
        argument: String. Name of the argument in error messages. Defaults to `"lower_is_better"`.

    Raises:
        TypeError: If `lower_is_better` is neither a boolean nor None.
        ValueError: If it is None and the name does not say the direction.
    """
    if lower_is_better is not None:
        if not isinstance(lower_is_better, bool):
            raise TypeError(_checks.message(argument, "True, False or None", lower_is_better))
        return lower_is_better
    words = str(metric).lower().split("_")
    says = [any(name in words or (len(name) > 3 and words[-1].endswith(name)) for name in n) for n in (_LOWER, _HIGHER)]
    if says[0] == says[1]:
        raise ValueError(
            f"The name {metric!r} does not say whether low or high values are better. Correct the name, or give "
            f"`{argument}`."
        )
    return says[0]
