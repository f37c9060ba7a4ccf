"""What the pages on figures 1, 8 and 9 of source A show: how much of a profile's pattern random networks have too."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from keras_entropy import plots
from keras_entropy.profile import EntropyProfile, ProfileRecord
from keras_entropy.stats import Estimate, welch_t
from keras_entropy.study import result_tables
from keras_entropy.study.arm_groups import mean_of
from keras_entropy.study.document import DASH, Block, Heading, Picture, Table
from reproduction import single_run_table

PATTERNS = {
    "early": "mean of the first third of the layers minus that of the last",
    "pre-skip": "mean of the layers before skips minus that of the others",
    "ends": "mean of the first and last third of the layers minus that of the middle",
}


@dataclasses.dataclass(frozen=True)
class Case:
    """Networks of one architecture by one measure.

    Attributes:
        name: of the networks.
        measure: "corner" or "log_volume".
        trained: profiles of trained networks.
        twins: profiles of random ones.
        marked: the paths of the layers before skips.
    """

    name: str
    measure: str
    trained: tuple[EntropyProfile, ...]
    twins: tuple[EntropyProfile, ...]
    marked: frozenset[str] = frozenset()

    @functools.cached_property
    def paths(self) -> tuple[str, ...]:
        """The convolutions, in the order of the layers."""
        return tuple(record.path for record in convolved(self.twins[0]))

    def means(self, profiles: Sequence[EntropyProfile]) -> np.ndarray:
        """A row for each profile: the mean of the finite values of each convolution; NaN where there is none."""
        rows = []
        for profile in profiles:
            found = {record.path: finite(record) for record in convolved(profile)}
            rows.append([float(found[p].mean()) if len(found.get(p, ())) else np.nan for p in self.paths])
        return np.array(rows)

    def contrast(self, pattern: str, means: np.ndarray) -> float:
        """How far a pattern shows in the means of layers, in nats; NaN for an architecture without it."""
        third = max(1, len(means) // 3)
        first, last = np.arange(len(means)) < third, np.arange(len(means)) >= len(means) - third
        if pattern == "early":
            return float(np.nanmean(means[first]) - np.nanmean(means[last]))
        inside = np.array([path in self.marked for path in self.paths]) if pattern == "pre-skip" else first | last
        if inside.all() or not inside.any():
            return float("nan")
        return float(np.nanmean(means[inside]) - np.nanmean(means[~inside]))

    def contrasts(self, pattern: str, profiles: Sequence[EntropyProfile]) -> Estimate | None:
        """The pattern over networks."""
        return mean_of([self.contrast(pattern, row) for row in self.means(profiles)], 0.95) if profiles else None

    def beyond(self, pattern: str) -> Estimate | None:
        """The pattern that random networks do not have: that of trained networks minus that of the twins."""
        twins = [self.contrast(pattern, row) for row in self.means(self.twins)]
        trained = [self.contrast(pattern, row) for row in self.means(self.trained)] if self.trained else []
        if min(len(trained), len(twins)) > 1:
            return welch_t(trained, twins, 0.95)
        return mean_of([value - float(np.mean(twins)) for value in trained], 0.95)

    def alike(self) -> tuple[float, float] | None:
        """Spearman's correlation of the layers' means, trained and random, and its p."""
        if not self.trained:
            return None
        return _spearman(self.means(self.trained).mean(0), self.means(self.twins).mean(0))

    def trend(self, which: str) -> tuple[float, float] | None:
        """Spearman's correlation with depth of the trained or random means, or of their difference."""
        twins = self.means(self.twins).mean(0)
        if which == "random":
            return _spearman(np.arange(len(twins)), twins)
        if not self.trained:
            return None
        trained = self.means(self.trained).mean(0)
        return _spearman(np.arange(len(twins)), trained if which == "trained" else trained - twins)

    def outliers(self, profiles: Sequence[EntropyProfile]) -> float:
        """The share of values that a box plot draws as outliers."""
        records = [record for profile in profiles for record in convolved(profile)]
        total = sum(len(finite(record)) for record in records)
        return sum(record.outliers for record in records) / total if total else float("nan")


def convolved(profile: EntropyProfile) -> list[ProfileRecord]:
    """The records of convolutions."""
    return [record for record in profile.measured if record.kind.startswith("Conv")]


def finite(record: ProfileRecord) -> np.ndarray:
    """The values of a weight without those of dead filters."""
    values = np.asarray(record.values)
    found: np.ndarray = values[np.isfinite(values)]
    return found


def _spearman(a: np.ndarray, b: np.ndarray) -> tuple[float, float] | None:
    from scipy.stats import spearmanr

    there = np.isfinite(a) & np.isfinite(b)
    if there.sum() < 3:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant means
        found = spearmanr(a[there], b[there])
    return float(found.statistic), float(found.pvalue)


def blocks(cases: Sequence[Case], pattern: str) -> list[Block]:
    """The page."""
    page: list[Block] = []
    for number, case in enumerate(cases, start=1):
        first = case.trained[0] if case.trained else None
        panels = [("random, as initialised (seed 0)", convolved(case.twins[0]))]
        if first is not None:
            which = f"trained, the first of {len(case.trained)}" if len(case.trained) > 1 else "trained"
            panels.insert(0, (which, convolved(first)))
        panels = [(f"{case.name}, measure {case.measure}: {title}", records) for title, records in panels]
        kinds = "trained, and random below" if case.trained else "random: there are no trained weights of it here"
        page += [
            Heading(f"{case.name}, measure {case.measure}"),
            Picture(
                f"profile{number}.png",
                plots.png(plots.entropy_panels(panels)),
                f"Entropy change of each convolution ({kinds}): closed dots are means, boxes quartiles, open dots "
                "outliers.",
                f"Box plots of entropy change by layer of {case.name}.",
            ),
        ]
    page += [Heading("How much of it is the architecture"), _summary(cases, pattern)]
    return [*page, *(_layers(case) for case in cases)]


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
        rows.append(
            (
                case.name,
                case.measure,
                str(len(case.trained)),
                str(len(case.twins)),
                result_tables.interval(case.contrasts(pattern, case.trained)),
                result_tables.interval(case.contrasts(pattern, case.twins)),
                result_tables.interval(case.beyond(pattern)),
                _rho(case.alike()),
                *(_rho(case.trend(which)) for which in ("trained", "random", "difference")),
                f"{100 * case.outliers(case.trained):.1f} %" if case.trained else DASH,
                f"{100 * case.outliers(case.twins):.1f} %",
            )
        )
    notes = (
        f"Contrast: {PATTERNS[pattern]}, in nats, of the means of convolutions. Intervals are t intervals over "
        "networks; one network has none. Rho: Spearman's correlation over layers, with its p, which takes layers for "
        "independent.",
        "A random network is drawn by the initialisers of the architecture, whose weights are the smaller the more "
        "inputs and outputs a layer has: its profile is that of the widths of the layers.",
    )
    return Table("The pattern in trained and in random networks", head, tuple(rows), notes, 2)


def _layers(case: Case) -> Table:
    trained = case.means(case.trained).mean(0) if case.trained else None
    twins = case.means(case.twins)
    rows = []
    for i, path in enumerate(case.paths):
        row = [path, f"{twins[:, i].mean():+.3f}", f"{twins[:, i].std(ddof=1):.3f}" if len(twins) > 1 else DASH]
        if trained is not None:
            row = [path, f"{trained[i]:+.3f}", *row[1:], f"{trained[i] - twins[:, i].mean():+.3f}"]
        rows.append(tuple(row))
    head: tuple[str, ...] = ("layer", "random", "deviation of random networks")
    if trained is not None:
        head = ("layer", "trained", "random", "deviation of random networks", "trained minus random")
    return Table(f"Means by layer in nats: {case.name}, measure {case.measure}", head, tuple(rows))


def _rho(found: tuple[float, float] | None) -> str:
    return DASH if found is None else f"{found[0]:+.2f} (p {_p(found[1])})"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def verdicts(name: str, cases: Sequence[Case], pattern: str) -> Iterator[str]:
    """One sentence for each claim."""
    if name == "a-fig1":
        yield from _first_figure(cases)
    for case in cases:
        yield _pattern(case, pattern)
    for case in cases:
        if case.trained and case.measure == "corner":
            counts = f"{100 * case.outliers(case.trained):.1f} % of the values of trained networks"
            yield (
                f"Outliers in {case.name}, measure corner: {counts}, {100 * case.outliers(case.twins):.1f} % of those "
                "of random ones."
            )


def _first_figure(cases: Sequence[Case]) -> Iterator[str]:
    """What the paper says of the trained VGG-16 in numbers, against random networks drawn here."""
    case = next((c for c in cases if c.name == "vgg16" and c.measure == "corner"), None)
    if case is None:
        return
    twins = case.means(case.twins).mean(0)
    early, late = single_run_table.FIGURE1
    fall, own = early - late, twins[0] - twins[-1]
    yield (
        f"VGG-16 in the paper falls from {early:g} in the first layer to about {late:g}, by {fall:.1f} nats; random "
        f"networks of the architecture fall from {twins[0]:.2f} to {twins[-1]:.2f}, by {own:.2f}. Trained "
        f"minus random is {early - twins[0]:+.1f} in the first layer and {late - twins[-1]:+.1f} in the last (the "
        "paper prints these two numbers of one network)."
    )


def _pattern(case: Case, pattern: str) -> str:
    twins, beyond = case.contrasts(pattern, case.twins), case.beyond(pattern)
    trained, alike = case.contrasts(pattern, case.trained), case.alike()
    said = f"{case.name}, measure {case.measure}, {PATTERNS[pattern]}: "
    if twins is None or np.isnan(twins.estimate):
        return f"{said}the architecture has no such layers."
    random = f"random networks have {twins.estimate:+.2f} nats (n = {twins.n})"
    if trained is None or beyond is None:
        return f"{said}{random}; there are no trained weights here, so that what training adds was not tested."
    said += f"trained {trained.estimate:+.2f}, {random}"
    if np.isnan(beyond.low):
        return (
            f"{said}; one trained network, so that the difference of {beyond.estimate:+.2f} has no "
            f"interval{_also(alike)}."
        )
    shown = "more than random" if beyond.low > 0 else "less than random" if beyond.high < 0 else "no difference shown"
    return (
        f"{said}; {shown}: {beyond.estimate:+.2f} (95 % interval {beyond.low:+.2f} to {beyond.high:+.2f}, "
        f"Welch t, n = {trained.n} and {twins.n} networks){_also(alike)}."
    )


def _also(alike: tuple[float, float] | None) -> str:
    if alike is None:
        return ""
    return f"; the layers' means of trained and random networks have Spearman's rho {alike[0]:+.2f} (p {_p(alike[1])})"
