"""The entropy profile of a model as a result: it prints, compares, draws, saves and loads."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any, ClassVar

from keras_entropy import _checks, _files, _optional, _sealed, _table
from keras_entropy.profile.comparison import ProfileComparison, compare_records
from keras_entropy.profile.constant_outputs import ConstantOutputs
from keras_entropy.profile.epoch_log import epoch_log
from keras_entropy.profile.findings import Finding, conclusion, find
from keras_entropy.profile.html_page import Page
from keras_entropy.profile.measure import MEASURES
from keras_entropy.profile.measured_model import MeasuredModel, WeightDetail
from keras_entropy.profile.record import ProfileRecord

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SCHEMA = "keras-entropy/profile/3"

_HEAD = ("weight", "layer", "shape", "mean", "outliers", "unit")
_NUMBERS = ("mean", "outliers")


@dataclasses.dataclass(frozen=True, repr=False)
class EntropyProfile:
    """The change of entropy that each weight of a model makes. It prints as a table, in a notebook too.

    A profile from `entropy_profile` keeps the model for `to_html`. A copy, a pickle or a saved profile does not.

    Attributes:
        model: String. Name of the model.
        measure: String. `"corner"`, `"log_volume"` or `"total_correlation"`.
        randomize: Integer. Seed of the randomly initialised copy; None for the model's own weights.
        records: Tuple of `ProfileRecord`, one per weight, in the order of the layers.
        constant: Tuple of `ConstantOutputs`, one per layer with an activation; None if no sample was given.

    Examples:
        >>> import keras
        >>> from keras_entropy import entropy_profile
        >>> dense = keras.layers.Dense(4, kernel_initializer="identity", name="code")
        >>> print(entropy_profile(keras.Sequential([keras.Input((4,)), dense], name="net")))
        net, measure log_volume
        weight  layer  shape   mean  outliers  unit
        code    Dense  4 x 4  0.000         0  nats per dimension
        Nothing stands out: no dead outputs, no unread inputs, no duplicate outputs.
        Not looked for: collapsed layers, layers far from random (no random copy); constant outputs (no sample).
    """

    model: str
    measure: str
    randomize: int | None
    records: tuple[ProfileRecord, ...]
    constant: tuple[ConstantOutputs, ...] | None = None
    _measured_model: ClassVar[MeasuredModel | None] = None  # no field: it is neither compared nor copied nor saved

    @classmethod
    def of_model(
        cls,
        measured: MeasuredModel,
        model: str,
        measure: str,
        randomize: int | None,
        progress: bool = False,
        constant: tuple[ConstantOutputs, ...] | None = None,
    ) -> EntropyProfile:
        """Measure the weights of a model; see `entropy_profile`."""
        profile = cls(model, measure, randomize, measured.records(measure, progress), constant)
        profile.__dict__["_measured_model"] = measured
        return profile

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: a copy does not hold the model."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @property
    def measured(self) -> tuple[ProfileRecord, ...]:
        """Tuple of `ProfileRecord`. The weights that are measured."""
        return tuple(record for record in self.records if record.skipped is None)

    @property
    def title(self) -> str:
        """String. Name of the model, the measure, and the seed of random weights."""
        weights = "" if self.randomize is None else f", random weights (seed {self.randomize})"
        return f"{self.model}, measure {self.measure}{weights}"

    def __getitem__(self, path: str) -> ProfileRecord:
        """The record of a path; `KeyError` if there is none."""
        for record in self.records:
            if record.path == path:
                return record
        paths = ", ".join(record.path for record in self.records) or "none"
        raise KeyError(f"The profile has no weight {path!r}. Available: {paths}.")

    def compare(self, other: EntropyProfile) -> ProfileComparison:
        """Compare with a profile of the same architecture and measure, such as that of a randomly initialised copy.

        Args:
            other: The `EntropyProfile` to subtract.

        Returns:
            A `ProfileComparison`. It lists weights that only one profile measured with the reason.

        Raises:
            TypeError: If `other` is not an `EntropyProfile`.
            ValueError: If the measures differ, or no path is measured in both.

        Examples:
            >>> import keras
            >>> from keras_entropy import entropy_profile
            >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(16, 3, name="a")])
            >>> comparison = entropy_profile(model).compare(entropy_profile(model, randomize=0))
            >>> [difference.path for difference in comparison.differences]
            ['a']
        """
        self._check_comparable(other)
        beside = other if other.randomize is not None else None
        found, title = self.findings(beside), f"{self.title}; other: {other.title}"
        return compare_records(self.records, other.records, title, found, self._conclusion(beside))

    def findings(self, other: EntropyProfile | None = None) -> tuple[Finding, ...]:
        """List what stands out: dead outputs, inputs that are not read, duplicate outputs, and more beside `other`.

        With the `sample` of `entropy_profile`, outputs that are constant on it are found too.

        Args:
            other: The `EntropyProfile` of a randomly initialised copy, with the same measure. Beside it, collapsed
                layers (`"log_volume"`) and layers far from random are found too. Defaults to None.

        Returns:
            A tuple of `Finding`. Each has its evidence in words, and advice. The limits are in
            `keras_entropy.profile.findings` and `keras_entropy.profile.units`.

        Raises:
            TypeError, ValueError: If `other` is not a profile of a randomly initialised copy with this measure.

        Examples:
            >>> import keras
            >>> from keras_entropy import entropy_profile
            >>> dense = keras.layers.Dense(4, kernel_initializer="ones", name="code")
            >>> for finding in entropy_profile(keras.Sequential([keras.Input((8,)), dense])).findings():
            ...     print(finding.path, finding.kind, finding.evidence[:58])
            code duplicate outputs 3 of 4 outputs repeat an earlier one (index 1, 2, 3 as 0):
        """
        if other is not None:
            self._check_comparable(other)
            if other.randomize is None:
                raise ValueError(
                    "`other` should be the profile of a randomly initialised copy. Received: a profile of the weights "
                    f"of {other.model}. Make it with entropy_profile(model, {self.measure!r}, randomize=0)."
                )
        return find(self.records, self.measure, None if other is None else other.records, self.constant or ())

    def _check_comparable(self, other: EntropyProfile) -> None:
        if not isinstance(other, EntropyProfile):
            raise TypeError(_checks.message("other", "an EntropyProfile", other))
        if self.measure != other.measure:
            raise ValueError(
                f"The profiles should have the same measure. Received: {self.measure!r} and {other.measure!r}. "
                "Make both with the same `measure`."
            )

    def to_frame(self) -> pd.DataFrame:
        """Return a pandas data frame: one row per weight, one column per attribute of `ProfileRecord`.

        Raises:
            ModuleNotFoundError: If pandas is not installed.
        """
        return _table.to_frame(ProfileRecord, self.records).astype({"mean": float})

    def __repr__(self) -> str:
        skipped = len(self.records) - len(self.measured)
        return (
            f"<{type(self).__name__} of {_checks.printable(self.title)}: {len(self.measured)} weights measured, "
            f"{skipped} skipped>"
        )

    def __str__(self) -> str:
        """A table of the measured weights, the reasons for the others, and what stands out."""
        notes = [_checks.printable(note) for note in self._notes()]
        table = _table.to_text(_HEAD, self._rows(), _NUMBERS)
        return "\n".join([_checks.printable(self.title), table, *notes])

    def _repr_html_(self) -> str:
        return _table.to_html(self.title, _HEAD, self._rows(), _NUMBERS, self._notes())

    def _rows(self) -> list[tuple[object, ...]]:
        return [
            (r.path, r.kind, " x ".join(map(str, r.shape)), _table.decimals(r.mean), r.outliers, r.unit)
            for r in self.measured
            if r.mean is not None
        ]

    def _notes(self) -> list[str]:
        skipped = [f"{r.path} ({r.kind}) is not measured: {r.skipped}" for r in self.records if r.skipped is not None]
        return [*skipped, *self._conclusion(None)]

    def _conclusion(self, random: EntropyProfile | None) -> tuple[str, ...]:
        copy = None if random is None else random.records
        return tuple(conclusion(self.findings(random), self.records, self.measure, copy, self.constant))

    def plot(self, other: EntropyProfile | None = None, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw a box plot of the values of each weight (Meni et al., 2023, fig. 1, 8 and 9).

        The closed dot is the mean, the box shows the quartiles, open dots are outliers.

        Args:
            other: An `EntropyProfile` for a second panel, such as that of a randomly initialised copy. Defaults to
                None.
            path: Path of a file to write the figure to. Its suffix sets the format; without a suffix it is PNG.
                Defaults to None: no file.

        Returns:
            A matplotlib figure.

        Raises:
            ValueError: If matplotlib does not know the suffix.
            ModuleNotFoundError: If matplotlib is not installed.
        """
        from keras_entropy import plots

        _optional.require("matplotlib", extra="plot")
        if path is not None:
            plots.format_of(path)  # before the figure is drawn
        profiles = [self] if other is None else [self, other]
        figure = plots.entropy_panels([(profile.title, profile.measured) for profile in profiles])
        if path is not None:
            plots.save(figure, path)
        return figure

    def to_html(self, path: str | os.PathLike[str], other: EntropyProfile | None = None, history: Any = None) -> None:
        """Write one self-contained page: what stands out, box plots, a table to sort and search, and details.

        The details of a weight are its singular values, the norms of its outputs and the cosines between them. A
        profile without its model, such as one from `load`, has a page without norms and cosines.

        Args:
            path: Path of the file. Missing folders are created, an existing file is replaced.
            other: An `EntropyProfile` with the same measure to show beside this one. Defaults to None: a randomly
                initialised copy with seed 0, if this profile has its model and is not one of random weights.
            history: Values by epoch from a training with `EntropyLogger`: the `History` that `fit` returns, its
                `history`, or the path of a CSV file, such as `history.csv` of `keras-entropy train` or that of
                `keras.callbacks.CSVLogger`. Defaults to None.

        Raises:
            TypeError, ValueError: If `other` has another measure, `history` has no entry of a weight of this profile,
                or the weights of the model have changed since they were measured.
            FileNotFoundError: If there is no file `history`.

        Examples:
            >>> import keras, pathlib, tempfile
            >>> from keras_entropy import entropy_profile
            >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(16, 3, name="a")])
            >>> path = pathlib.Path(tempfile.mkdtemp()) / "profile.html"
            >>> entropy_profile(model).to_html(path)
            >>> path.read_text(encoding="utf-8")[:15]
            '<!DOCTYPE html>'
        """
        log = None if history is None else epoch_log(history)
        if other is None and self.randomize is None:
            other = self._random_copy()
        elif other is not None:
            self._check_comparable(other)
        beside = None if other is None or other.randomize is None else other
        page = Page(
            model=self.model,
            measure=self.measure,
            seed=self.randomize,
            records=self.records,
            details=self._details(),
            other="" if other is None else other._short_title,
            other_is_random=beside is not None,
            others=() if other is None else other.records,
            other_details={} if other is None else other._details(),
            findings=self.findings(beside),
            constant=self.constant,
            log=log,
        )
        _files.write_text(path, page.html())

    @property
    def _short_title(self) -> str:
        return self.model if self.randomize is None else f"random copy (seed {self.randomize})"

    def _random_copy(self, seed: int = 0) -> EntropyProfile | None:
        if self._measured_model is None:
            return None
        return EntropyProfile.of_model(self._measured_model.random_copy(seed), self.model, self.measure, seed)

    def _details(self) -> dict[str, WeightDetail]:
        if self._measured_model is None:
            return {}
        changed = self._measured_model.changed()
        if changed:
            raise ValueError(
                f"The weights of {self.model} have changed since this profile was made: "
                f"{_checks.printable(', '.join(changed[:3]))}{' and more' if len(changed) > 3 else ''}. Make a new "
                "one: entropy_profile(model).to_html(path)."
            )
        found = ((record.path, self._measured_model.detail(record, self.measure)) for record in self.records)
        return {path: detail for path, detail in found if detail is not None}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the profile to a JSON file, atomically. Values that are not finite become strings, such as "-inf".

        Args:
            path: Path of the file. Missing folders are created, an existing file is replaced.
        """
        records = [{**vars(r), "units": None if r.units is None else vars(r.units)} for r in self.records]
        constant = None if self.constant is None else [vars(found) for found in self.constant]
        fields = {**self.__getstate__(), "records": records, "constant": constant}
        _sealed.write(path, SCHEMA, fields)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> EntropyProfile:
        """Read a file that `save` wrote.

        Args:
            path: Path of the file.

        Returns:
            An `EntropyProfile`.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is not a profile, was damaged or edited, or has another version.
        """
        try:
            found = _sealed.read(path, SCHEMA)
            profile = _sealed.converted({n: _with_numbers(v) if n == "records" else v for n, v in found.items()}, cls)
            _checks.one_of("measure", profile.measure, MEASURES)
            for record in profile.records:
                if (record.skipped is None) == (record.mean is None or record.unit is None):
                    raise ValueError(f"{record.path!r} should have a mean and a unit, or a reason to be skipped")
            if len({record.path for record in profile.records}) < len(profile.records):
                raise ValueError("two records have the same path")
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"There is no profile {_checks.printable(path)}. Write one with EntropyProfile.save or `keras-entropy "
                "profile --json`."
            ) from error
        except ValueError as error:
            raise ValueError(
                f"{_checks.printable(path)} is not an entropy profile: {error}. Use a file from EntropyProfile.save. "
                f"{_sealed.EDITED}"
            ) from error
        return profile


def _with_numbers(records: Any) -> Any:
    """The records of a file with NaN and infinities, which strict JSON has as text, as numbers."""
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        return records
    texts = ("path", "kind", "unit", "skipped", "layout")
    return [{n: v if n in texts else _sealed.numbers(v) for n, v in record.items()} for record in records]
