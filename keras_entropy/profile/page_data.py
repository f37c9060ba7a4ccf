"""The numbers of the page of a profile, as JSON: few digits, long lists thinned, cosines as bytes."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_entropy._checks import printable
from keras_entropy.profile.linear_map import HostArray
from keras_entropy.profile.measured_model import WeightDetail
from keras_entropy.profile.record import ProfileRecord

MOST_POINTS = 200
"""Points of a curve; of longer ones, so many evenly spaced ranks are drawn."""

MOST_OUTLIERS = 40
"""Outliers of a box that are drawn, the most extreme ones."""

Details = Mapping[str, WeightDetail]


def shape_text(shape: Sequence[int]) -> str:
    """A shape in words, such as "3 x 3 x 64"."""
    return " x ".join(map(str, shape)) or "scalar"


def layer_data(
    record: ProfileRecord, other: ProfileRecord | None, details: Sequence[Details], epochs: Sequence[float] | None
) -> dict[str, Any]:
    """The numbers of one weight.

    Args:
        record: `ProfileRecord`.
        other: `ProfileRecord` of the same weight in the profile beside it, or None.
        details: The details of the profile and of the one beside it, by path.
        epochs: Values by epoch, or None.
    """
    records = [record, other if other is not None and other.shape == record.shape else None]
    data: dict[str, Any] = {
        "name": printable(record.path),
        "kind": printable(record.kind),
        "shape": shape_text(record.shape),
        "unit": record.unit,
        "epochs": None if epochs is None else rounded(epochs),
    }
    for name, found, by_path in zip(("own", "random"), records, details, strict=True):
        if found is not None and found.skipped is None:
            data[name] = _numbers(found, by_path.get(record.path))
    return data


def _numbers(record: ProfileRecord, detail: WeightDetail | None) -> dict[str, Any]:
    values = np.sort(np.asarray(record.values, dtype=np.float64))[::-1]
    found: dict[str, Any] = {"mean": _number(record.mean), "values": curve(values), "box": box(values)}
    if detail is not None:
        found["spectrum"] = curve(detail.spectrum)
        if detail.norms.size:
            found["norms"] = curve(np.sort(detail.norms)[::-1])
        if detail.cosines.size:
            above = detail.cosines[np.triu_indices(len(detail.cosines), 1)]
            found["cosines"] = base64.b64encode(np.abs(above * 255).round().clip(0, 255).astype(np.uint8)).decode()
            found["outputs"] = detail.outputs.tolist()
            found["cosine"] = _number(float(np.abs(above).mean())) if above.size else None
    return found


def box(values: HostArray) -> dict[str, Any] | None:
    """The parts of a box plot: whiskers, quartiles and outliers of the finite values; how many are not finite."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    low, middle, high = np.percentile(finite, [25, 50, 75])
    reach = 1.5 * (high - low)
    inside = finite[(finite >= low - reach) & (finite <= high + reach)]
    outside = np.sort(finite[(finite < low - reach) | (finite > high + reach)])
    if len(outside) > MOST_OUTLIERS:
        outside = np.concatenate([outside[: MOST_OUTLIERS // 2], outside[-MOST_OUTLIERS // 2 :]])
    return {
        "ends": rounded([inside.min(), low, middle, high, inside.max()]),
        "outliers": rounded(outside),
        "infinite": int(values.size - finite.size),
    }


def curve(values: HostArray) -> dict[str, Any]:
    """Sorted values: how many there are, and some of them at evenly spaced ranks, the first and the last included."""
    n = len(values)
    ranks = np.unique(np.linspace(0, n - 1, min(n, MOST_POINTS)).round().astype(int)) if n else np.zeros(0, int)
    finite = values[np.isfinite(values)]
    quartiles = np.percentile(finite, [0, 25, 50, 75, 100]) if finite.size else [math.nan] * 5
    return {"n": n, "y": rounded(values[ranks]), "quartiles": rounded(quartiles)}


def rounded(values: Any) -> list[float | None]:
    """Numbers with four digits; None for those that are not finite."""
    return [_number(value) for value in values]


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")
