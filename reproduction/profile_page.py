"""Page of figures 1, 8 and 9 (Meni et al., 2023): how much of a profile's pattern random networks have too."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from keras_entropy import plots
from keras_entropy.profile import EntropyProfile, ProfileRecord
from keras_entropy.stats import Estimate, welch_t
from keras_entropy.study.document import DASH, Block, Heading, Picture, Table
from keras_entropy.study.wording import interval
from reproduction.estimates import compared, direction, mean, mean_interval, p_equals
from reproduction.paper_numbers import meni

PATTERNS = {
    "early": "mean of the first third of the layers minus that of the last",
    "pre-skip": "mean of the layers before skips minus that of the others",
    "ends": "mean of the first and last third of the layers minus that of the middle",
}


@dataclasses.dataclass(frozen=True)
class Case:
    """Profiles of networks of one architecture by one measure.

    Attributes:
        name: Name of the networks.
        measure: "corner" or "log_volume".
        trained: Profiles of trained networks.
        random: Profiles of randomly initialised networks.
        marked: Paths of the layers before skip connections.
    """

    name: str
    measure: str
    trained: tuple[EntropyProfile, ...]
    random: tuple[EntropyProfile, ...]
    marked: frozenset[str] = frozenset()

    @functools.cached_property
    def paths(self) -> tuple[str, ...]:
        """Paths of the convolutions, in the order of the layers."""
        return tuple(record.path for record in convolutions(self.random[0]))

    def means(self, profiles: Sequence[EntropyProfile]) -> np.ndarray:
        """Array of shape (profiles, layers): mean of the finite values of a convolution, NaN if there is none."""
        rows = []
        for profile in profiles:
            found = {record.path: finite(record) for record in convolutions(profile)}
            rows.append([float(found[p].mean()) if len(found.get(p, ())) else np.nan for p in self.paths])
        return np.array(rows)

    def contrast(self, pattern: str, means: np.ndarray) -> float:
        """Size of a pattern in the means of layers, in nats; NaN for an architecture without its layers."""
        third = max(1, len(means) // 3)
        first, last = np.arange(len(means)) < third, np.arange(len(means)) >= len(means) - third
        if pattern == "early":
            return float(np.nanmean(means[first]) - np.nanmean(means[last]))
        inside = np.array([path in self.marked for path in self.paths]) if pattern == "pre-skip" else first | last
        if inside.all() or not inside.any():
            return float("nan")
        return float(np.nanmean(means[inside]) - np.nanmean(means[~inside]))

    def contrasts(self, pattern: str, profiles: Sequence[EntropyProfile]) -> list[float]:
        """Size of a pattern in each profile."""
        return [self.contrast(pattern, row) for row in self.means(profiles)]

    def beyond(self, pattern: str) -> Estimate | None:
        """Size of a pattern in trained networks minus that in random networks; None without trained ones."""
        trained, random = self.contrasts(pattern, self.trained), self.contrasts(pattern, self.random)
        return compared(trained, random, welch_t) or mean_interval(value - mean(random) for value in trained)

    def alike(self) -> tuple[float, float] | None:
        """Spearman's correlation of the layers' means in trained and random networks, and its p."""
        if not self.trained:
            return None
        return _spearman(self.means(self.trained).mean(0), self.means(self.random).mean(0))

    def trend(self, which: str) -> tuple[float, float] | None:
        """Spearman's correlation with depth of the means: "trained", "random", or their "difference"."""
        random = self.means(self.random).mean(0)
        if which == "random":
            return _spearman(np.arange(len(random)), random)
        if not self.trained:
            return None
        trained = self.means(self.trained).mean(0)
        return _spearman(np.arange(len(random)), trained if which == "trained" else trained - random)

    def outliers(self, profiles: Sequence[EntropyProfile]) -> float:
        """Share of the values that a box plot draws as outliers."""
        records = [record for profile in profiles for record in convolutions(profile)]
        total = sum(len(finite(record)) for record in records)
        return sum(record.outliers for record in records) / total if total else float("nan")


def convolutions(profile: EntropyProfile) -> list[ProfileRecord]:
    """The records of convolutions."""
    return [record for record in profile.measured if record.kind.startswith("Conv")]


def finite(record: ProfileRecord) -> np.ndarray:
    """The finite values of a weight; dead filters have minus infinity."""
    values = np.asarray(record.values)
    found: np.ndarray = values[np.isfinite(values)]
    return found


def _spearman(a: np.ndarray, b: np.ndarray) -> tuple[float, float] | None:
    from scipy.stats import spearmanr

    there = np.isfinite(a) & np.isfinite(b)
    if there.sum() < 3:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant means have no correlation
        found = spearmanr(a[there], b[there])
    return float(found.statistic), float(found.pvalue)


def blocks(cases: Sequence[Case], pattern: str) -> list[Block]:
    """The blocks of the page."""
    page = [block for number, case in enumerate(cases, start=1) for block in _drawn(case, number)]
    page += [Heading("How much of it is the architecture"), _summary(cases, pattern)]
    return [*page, *(_layers(case) for case in cases)]


def _drawn(case: Case, number: int) -> list[Block]:
    panels = [("random, as initialised (seed 0)", convolutions(case.random[0]))]
    if case.trained:
        which = f"trained, the first of {len(case.trained)}" if len(case.trained) > 1 else "trained"
        panels.insert(0, (which, convolutions(case.trained[0])))
    panels = [(f"{case.name}, measure {case.measure}: {title}", records) for title, records in panels]
    kinds = "trained, and random below" if case.trained else "random: this machine has no trained weights of it"
    return [
        Heading(f"{case.name}, measure {case.measure}"),
        Picture(
            f"profile{number}.png",
            plots.png(plots.entropy_panels(panels)),
            f"Entropy change of each convolution ({kinds}): closed dots are means, boxes quartiles, open dots "
            "outliers.",
            f"Box plots of entropy change by layer of {case.name}.",
        ),
    ]


def _summary(cases: Sequence[Case], pattern: str) -> Table:
    head = (
        "network",
        "measure",
        "trained",
        "random",
        "contrast, trained (95 %)",
        "contrast, random (95 %)",
        "trained minus random (95 %)",
        "rho of trained with random",
        "rho with depth: trained",
        "random",
        "difference",
        "outliers, trained",
        "outliers, random",
    )
    rows = []
    for case in cases:
        trained, random = (mean_interval(case.contrasts(pattern, p)) for p in (case.trained, case.random))
        rows.append(
            (
                case.name,
                case.measure,
                str(len(case.trained)),
                str(len(case.random)),
                *map(interval, (trained, random, case.beyond(pattern))),
                _rho(case.alike()),
                *(_rho(case.trend(which)) for which in ("trained", "random", "difference")),
                f"{100 * case.outliers(case.trained):.1f} %" if case.trained else DASH,
                f"{100 * case.outliers(case.random):.1f} %",
            )
        )
    notes = (
        f"Contrast: {PATTERNS[pattern]}, in nats, of the means of convolutions. Intervals are t intervals over "
        "networks; one network has none. Rho: Spearman's correlation over layers, with its p, which assumes "
        "independent layers.",
        "The initialisers of the architecture give a layer smaller weights the more inputs and outputs it has, so the "
        "profile of a random network is that of the widths of its layers.",
    )
    return Table("The pattern in trained and in random networks", head, tuple(rows), notes, 2)


def _layers(case: Case) -> Table:
    trained = case.means(case.trained).mean(0) if case.trained else None
    random = case.means(case.random)
    rows = []
    for i, path in enumerate(case.paths):
        row = [path, f"{random[:, i].mean():+.3f}", f"{random[:, i].std(ddof=1):.3f}" if len(random) > 1 else DASH]
        if trained is not None:
            row = [path, f"{trained[i]:+.3f}", *row[1:], f"{trained[i] - random[:, i].mean():+.3f}"]
        rows.append(tuple(row))
    head: tuple[str, ...] = ("layer", "random", "deviation of random networks")
    if trained is not None:
        head = ("layer", "trained", "random", "deviation of random networks", "trained minus random")
    return Table(f"Means by layer in nats: {case.name}, measure {case.measure}", head, tuple(rows))


def _rho(found: tuple[float, float] | None) -> str:
    if found is None:
        return DASH
    rho, p = found
    return f"{rho:+.2f} (p {p_equals('< 0.001' if p < 0.001 else f'{p:.3f}')})"


def conclusions(name: str, cases: Sequence[Case], pattern: str) -> Iterator[str]:
    """One sentence for each claim."""
    if name == "a-fig1":
        yield from _vgg16(cases)
    for case in cases:
        yield _pattern(case, pattern)
    for case in cases:
        if case.trained and case.measure == "corner":
            counts = f"{100 * case.outliers(case.trained):.1f} % of the values of trained networks"
            yield (
                f"Outliers in {case.name}, measure corner: {counts}, {100 * case.outliers(case.random):.1f} % of those "
                "of random ones."
            )


def _vgg16(cases: Sequence[Case]) -> Iterator[str]:
    """The paper's numbers of the trained VGG-16 against random networks of these runs."""
    case = next((c for c in cases if c.name == "vgg16" and c.measure == "corner"), None)
    if case is None:
        return
    random, paper = case.means(case.random).mean(0), meni("a-fig1")
    early, late = paper["first_layer"], paper["late_layers"]
    yield (
        f"The paper's VGG-16 falls from {early:g} in the first layer to about {late:g}, by {early - late:.1f} nats; "
        f"random networks of the architecture fall from {random[0]:.2f} to {random[-1]:.2f}, by "
        f"{random[0] - random[-1]:.2f}. Trained minus random is {early - random[0]:+.1f} in the first layer and "
        f"{late - random[-1]:+.1f} in the last (the paper prints these two numbers of one network)."
    )


def _pattern(case: Case, pattern: str) -> str:
    random, beyond = mean_interval(case.contrasts(pattern, case.random)), case.beyond(pattern)
    said = f"{case.name}, measure {case.measure}, {PATTERNS[pattern]}: "
    if random is None or np.isnan(random.estimate):
        return f"{said}the architecture has no such layers."
    have = f"random networks have {random.estimate:+.2f} nats (n = {random.n})"
    if beyond is None:
        return f"{said}{have}; without trained weights, what training adds was not tested."
    trained, alike = case.contrasts(pattern, case.trained), case.alike()
    said += f"trained {mean(trained):+.2f}, {have}"
    also = "" if alike is None else f"; rho of the layers' means, trained with random: {_rho(alike)}"
    if np.isnan(beyond.low):
        return f"{said}; one trained network, so the difference of {beyond.estimate:+.2f} has no interval{also}."
    shown = {1: "more than random", -1: "less than random", 0: "no difference shown"}[direction(beyond)]
    return (
        f"{said}; {shown}: {beyond.estimate:+.2f} (95 % interval {beyond.low:+.2f} to {beyond.high:+.2f}, Welch t, "
        f"n = {len(trained)} and {random.n} networks){also}."
    )
