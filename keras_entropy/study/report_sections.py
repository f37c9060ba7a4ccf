"""The sections of the report on a study."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from keras_entropy import plots
from keras_entropy.runs.records import RunRecord, canonical
from keras_entropy.study import arm_groups, figures, wording
from keras_entropy.study.axes import OWN_AXES
from keras_entropy.study.document import Block, Heading, Items, Paragraph, Picture, Table
from keras_entropy.study.results import Comparison
from keras_entropy.study.significance_tables import PairwiseTable
from keras_entropy.study.study_plan import Axes, PlannedArm, StudyPlan
from keras_entropy.study.wording import DASH, is_number, plural, point_text, value_text

MOST_FAILURES, MOST_TABLES, MOST_SENTENCES, MOST_NAMES = 50, 12, 8, 6
_ALWAYS = ("placement", "regularizer")


def conclusion(plan: StudyPlan, records: Sequence[RunRecord], comparison: Comparison | None) -> list[Block]:
    """What the study shows, in words: all comparisons together, then one sentence each, if they are few."""
    if comparison is None or not comparison.rivals:
        return []
    said: dict[str, list[str]] = {}
    for row in comparison.rivals:
        name = f"{row.label} ({point_text(row.shared)})" if row.shared else row.label
        said.setdefault(comparison.conclusion(row) or "not possible", []).append(name)
        if row.equivalence is not None and row.equivalence.equivalent:
            said.setdefault("equivalent", []).append(name)
    base, metric = comparison.baseline, comparison.metric_text
    parts = [
        f"{start}: {_some(said[key])}."
        for key, start in (
            ("better", f"Shown to be better than {base} in {metric}"),
            ("worse", f"Shown to be worse than {base} in {metric}"),
            ("no difference shown", f"No difference from {base} shown in {metric}"),
            ("equivalent", f"Shown to be equivalent to {base} within {comparison.margin}"),
            ("not possible", f"Not compared with {base}"),
        )
        if key in said
    ]
    if _is_incomplete(plan, arm_groups.latest(records, "report")):
        parts.insert(0, "Preliminary, because the study is not complete.")
    sentences = comparison.sentences()
    blocks: list[Block] = [Heading("Conclusion"), Paragraph(" ".join(parts))]
    if len(sentences) <= MOST_SENTENCES:
        return [*blocks, Items(tuple(f"{sentence}." for sentence in sentences))]
    return [*blocks, Paragraph(f"All {len(sentences)} comparisons stand in words below the figures.")]


def _is_incomplete(plan: StudyPlan, runs: Sequence[RunRecord]) -> bool:
    return plan.planned and len(runs) < sum(plan.runs(arm, "report") for arm in plan.arms)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return "; ".join(names[:MOST_NAMES]) + more


def summary(plan: StudyPlan, records: Sequence[RunRecord], comparison: Comparison | None) -> list[Block]:
    """How many runs there are, and how many comparisons show a difference."""
    runs = arm_groups.latest(records, "report")
    failed = wording.left_out(arm_groups.failure_counts(runs), len(runs))
    items = [f"{_run_count(plan, runs, 'report')}{f'; {failed}' if failed else ''}."]
    if _is_incomplete(plan, runs):
        items.append(
            "The study is not complete: all numbers may change. The p-values are valid once all planned runs are there."
        )
    if comparison is None:
        missing = f"the baseline, {plan.baseline}, has no run" if runs else "no run has ended that is compared"
        items.append(f"Nothing can be compared yet: {missing}.")
        return [Items(tuple(items))]
    conclusions = Counter(comparison.conclusion(row) or "not possible" for row in comparison.rivals)
    order = ("better", "worse", "no difference shown", "not possible")
    counts = ", ".join(f"{conclusions[conclusion]} {conclusion}" for conclusion in order if conclusions[conclusion])
    items.append(
        f"Comparisons with {comparison.baseline}, {comparison.metric_text}: {len(comparison.rivals)}"
        f"{f' ({counts})' if counts else ', because no other arm has runs'}."
    )
    if len({canonical(row.shared) for row in comparison.rivals}) > 1:
        items.append("p-values are adjusted for the number of arms at each grid point, not for the number of points.")
    if comparison.metric.startswith("val") and ((plan.monitor or "").startswith("val") or comparison.tuning_runs):
        users = ["early stopping"] * (plan.monitor is not None) + ["the choice of values"] * bool(
            comparison.tuning_runs
        )
        items.append(
            f"{comparison.metric} is measured on validation data, which {' and '.join(users)} may have used: it does "
            "not estimate the metric on new data."
        )
    return [Items(tuple(items))]


def setup(plan: StudyPlan, records: Sequence[RunRecord]) -> list[Block]:
    """What was run: seeds, settings, environments and arms."""
    blocks: list[Block] = [Heading("What was run")]
    if not plan.planned:
        blocks.append(Paragraph("The folder has no study.json: arms, points and seeds are those of the records."))
    items = []
    if plan.seeds:
        items.append(f"{plural(len(plan.seeds), 'seed')}: {_listed(plan.seeds)}.")
    if plan.tune_seeds:
        items.append(f"{plural(len(plan.tune_seeds), 'tuning seed')}: {_listed(plan.tune_seeds)}.")
    if plan.epochs is not None:
        batches = "" if plan.batch_size is None else f", batches of {plan.batch_size}"
        items.append(f"At most {plural(plan.epochs, 'epoch')}{batches}.")
    if plan.monitor is not None:
        patience = "" if plan.patience is None else f" with a patience of {plural(plan.patience, 'epoch')}"
        items.append(f"Early stopping on {plan.monitor}{patience}.")
    elif plan.planned:
        items.append("No early stopping.")
    items += _environments(records)
    blocks += [Items(tuple(items))] if items else []
    if plan.arms:
        blocks.append(_arms(plan))
    return blocks


def _environments(records: Sequence[RunRecord]) -> list[str]:
    current = [r for role in ("report", "tune") for r in arm_groups.latest(records, role) if r.ok]
    versions = Counter(_environment(record) for record in current)
    versions.pop("", None)
    items = []
    if len(versions) > 1:
        items.append(f"The runs come from {len(versions)} environments, whose numbers may differ:")
    items += [f"{plural(n, 'finished run')} with {name}." for name, n in versions.items()]
    return items


def _arms(plan: StudyPlan) -> Table:
    names = dict.fromkeys(name for arm in plan.arms for name in arm.settings)
    texts = {name: {_setting(arm.settings.get(name)) for arm in plan.arms} for name in names}
    # Settings that all arms have in common are not shown.
    shown = [name for name, found in texts.items() if len(found) > 1 or (name in _ALWAYS and found != {DASH})]
    axes = [name for name in ("grid", "tune") if any(getattr(arm, name) for arm in plan.arms)]
    rows = [
        (
            arm.name + (" (baseline)" if arm.name == plan.baseline else ""),
            *(_setting(arm.settings.get(name)) for name in shown),
            *(_ranges(getattr(arm, name)) for name in axes),
        )
        for arm in plan.arms
    ]
    head = ("arm", *(name.replace("_", " ") for name in shown), *axes)
    return Table("Arms", head, tuple(rows), words=len(head))


def runs(plan: StudyPlan, records: Sequence[RunRecord]) -> list[Block]:
    """How many runs of each arm there are, and why some did not finish."""
    by_role = {role: arm_groups.latest(records, role) for role in ("report", "tune")}
    planned_names = [arm.name for arm in plan.arms]
    extra = dict.fromkeys(record.arm for record in records if record.arm not in planned_names)
    rows = []
    for role, found in by_role.items():
        for arm in (*plan.arms, *map(PlannedArm, extra)):
            own = [record for record in found if record.arm == arm.name]
            planned = plan.runs(arm, role) if plan.planned and arm.name not in extra else None
            if not own and not planned:
                continue
            failures = arm_groups.failure_counts(own)
            counts = [sum(r.ok for r in own), *(failures.get(status, 0) for status in arm_groups.FAILURES)]
            place = ("compared" if role == "report" else "tuning", arm.name)
            rows.append((*place, DASH if planned is None else str(planned), str(len(own)), *map(str, counts)))
    head = ("runs", "arm", "planned", "there", "finished", *arm_groups.FAILURES)
    blocks: list[Block] = [Heading("Runs"), Table("Runs by arm", head, tuple(rows), words=2)]
    failed = [record for found in by_role.values() for record in found if not record.ok]
    return [*blocks, _failures(failed)] if failed else blocks


def _failures(failed: Sequence[RunRecord]) -> Table:
    rows = [
        (r.arm, point_text(r.point) or DASH, point_text(r.tuned) or DASH, r.role, str(r.seed), r.status, _cut(r.reason))
        for r in failed[:MOST_FAILURES]
    ]
    more = len(failed) - len(rows)
    notes = (f"{more} more in runs.csv.",) if more else ()
    head = ("arm", "point", "tuned", "role", "seed", "status", "reason")
    return Table("Runs that did not finish", head, tuple(rows), notes, words=len(head))


def chosen(plan: StudyPlan, records: Sequence[RunRecord], comparison: Comparison | None) -> list[Block]:
    """How the tuning seeds chose values, and which values."""
    trials = arm_groups.latest(records, "tune")
    if not trials and all(arm.tries < 2 for arm in plan.arms):
        return []
    items = [f"{_run_count(plan, trials, 'tune')}. They choose values and are not compared."]
    failures = arm_groups.failure_counts(trials)
    if failures:
        items.append(f"{wording.unfinished(failures, len(trials))}.")
    items.append(
        f"At each grid point, each arm gets the values with the best mean {plan.metric} at the last epoch over the "
        "tuning seeds. Values with a run that did not finish are excluded."
    )
    both = sorted({*plan.seeds} & {*plan.tune_seeds})
    if both:
        items.append(f"Seeds {_listed(both)} served both to choose values and to compare.")
    items += _unequal_tuning(plan)
    arms = {arm.name: arm for arm in plan.arms}
    rows, edges = [], 0
    for row in comparison.rows if comparison else ():
        arm = arms.get(row.arm)
        if arm is None or not (arm.tune or row.tuned):
            continue
        edge = [f"{axis}: {end}" for axis, end in _edges(arm, row.tuned)]
        edges += bool(edge)
        cells = (point_text(row.point) or DASH, row.arm, str(arm.tries), point_text(row.tuned) or DASH)
        rows.append((*cells, "; ".join(edge) or DASH))
    if edges:
        items.append(
            f"{plural(edges, 'choice')} at the edge of the tried values (last column): other values may be better."
        )
    blocks: list[Block] = [Heading("How values were chosen"), Items(tuple(items))]
    if rows:
        head = ("point", "arm", "combinations tried", "chosen", "at the edge")
        failed = _failed(comparison)
        blocks.append(Table("Chosen values", head, tuple(rows), (failed,) if failed else (), words=len(head)))
    return blocks


def _unequal_tuning(plan: StudyPlan) -> Iterator[str]:
    """Where arms tried more values of an axis than the baseline."""
    base = next((arm for arm in plan.arms if arm.name == plan.baseline), None)
    if base is None:
        return
    more: dict[tuple[str, int, int], list[str]] = {}
    for arm in plan.arms:
        for axis, values in arm.tune.items():
            if axis not in base.tune and axis in OWN_AXES:
                continue  # an axis that the baseline cannot have
            tried = len(base.tune.get(axis, [None]))
            if len(values) > tried:
                more.setdefault((axis, len(values), tried), []).append(arm.name)
    for (axis, most, tried), names in more.items():
        others = f" and {len(names) - 5} more arms" if len(names) > 6 else ""
        listed = ", ".join(names[:5] if others else names)
        few = plural(tried, "value")
        yield f"The baseline was tuned less: {base.name} tried {few} of {axis}; {listed}{others} tried {most}."


def _edges(arm: PlannedArm, choice: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The axes whose chosen value is the smallest or largest of several numbers."""
    for axis, value in choice.items():
        values = arm.tune.get(axis, ())
        if len(set(map(canonical, values))) < 2 or not all(map(is_number, [*values, value])):
            continue
        if value in (min(values), max(values)):
            yield axis, f"{'smallest' if value == min(values) else 'largest'} of {plural(len(values), 'value')}"


def results(
    comparison: Comparison,
    records: Sequence[RunRecord],
    pairs: Sequence[PairwiseTable],
) -> list[Block]:
    """The comparison in tables, figures and sentences."""
    blocks: list[Block] = [Heading("Comparison with the baseline"), comparison.table(), *pictures(comparison, records)]
    sentences = comparison.sentences()
    if len(sentences) > MOST_SENTENCES:
        blocks += [Heading("In words"), Items(tuple(f"{sentence}." for sentence in sentences))]
    tables = [pair.table() for pair in pairs if any(pair.results.values())]
    if tables:
        blocks += [Heading("Other arms against each other"), *tables[:MOST_TABLES]]
    if len(tables) > MOST_TABLES:
        left = len(tables) - MOST_TABLES
        blocks.append(Paragraph(f"{plural(left, 'further grid point')} not shown: pairwise_table returns all tables."))
    return [*blocks, Heading("Epochs and time"), comparison.effort_table()]


def pictures(comparison: Comparison, records: Sequence[RunRecord]) -> list[Block]:
    """The figures of a comparison that its runs allow, without those that would show one value only."""
    metric, base = comparison.metric_text, comparison.baseline
    partial = functools.partial
    drawn: list[tuple[str, Callable[[], Any], str]] = []
    if any(row.mean for row in comparison.rows):
        axes: list[str | None] = [*figures.numeric_axes(comparison)]
        for i, axis in enumerate(axes or [None]):
            against = f" against {axis}" if axis else ""
            drawn.append((f"means{i + 1}", partial(figures.means, comparison, axis), f"Mean {metric}{against}, by arm"))
        if any(row.difference for row in comparison.rivals):
            caption = f"{metric}: difference from {base}, by arm"
            drawn.append(("differences", partial(figures.differences, comparison), caption))
        curves = partial(figures.learning_curves, records, comparison)
        drawn.append(("curves", curves, f"{comparison.metric} by epoch and arm"))
        if any(row.reached for row in comparison.rows):
            reach = f"Epochs that each arm needs to reach the mean {comparison.metric} of {base}"
            drawn.append(("reach", partial(figures.epochs_to_reach, comparison), reach))
        stopping = partial(figures.stopping_epochs, comparison)
        drawn.append(("stopping", stopping, "Epochs until the end of training, by arm"))
    failed = _failed(comparison)
    blocks: list[Block] = [Heading("Figures")] if drawn else []
    left = []
    for name, draw, caption in drawn:
        if not figures.says_something(name, records, comparison):
            left.append(caption)
            continue
        source = "curves.csv holds" if name == "curves" else "The tables of this page hold"
        alt = f"Figure: {caption}. {source} the numbers."
        blocks.append(Picture(f"{name}.png", plots.png(draw()), f"{caption}. {failed}".strip(), alt))
    if left:
        blocks.append(Paragraph(f"Not drawn, because they would show one value only: {'; '.join(left)}."))
    return blocks


def _failed(comparison: Comparison | None) -> str:
    return f"{comparison.caption}." if comparison is not None and comparison.caption else ""


def _run_count(plan: StudyPlan, found: Sequence[RunRecord], role: str) -> str:
    kind = "run" if role == "report" else "tuning run"
    if not plan.planned:
        return plural(len(found), kind)
    planned = plural(sum(plan.runs(arm, role) for arm in plan.arms), f"planned {kind}")
    return f"{len(found)} of {planned} {'is' if len(found) == 1 else 'are'} there"


def _listed(seeds: Sequence[int]) -> str:
    """Seeds; consecutive ones as a range."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _environment(record: RunRecord) -> str:
    return ", ".join([*(f"{name} {version}" for name, version in record.versions.items()), record.device]).strip(", ")


def _setting(value: Any) -> str:
    if value is None or value in ({}, ()):
        return DASH
    return _cut(value_text(value))


def _ranges(axes: Axes) -> str:
    return "; ".join(f"{axis}: {', '.join(map(value_text, values))}" for axis, values in axes.items()) or DASH


def _cut(words: str) -> str:
    return words if len(words) <= 200 else f"{words[:199]}…"
