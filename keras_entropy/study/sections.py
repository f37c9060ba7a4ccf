"""The sections of a report on a study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from keras_entropy import plots
from keras_entropy.study import arm_groups, figures, result_tables
from keras_entropy.study.arm_groups import plural, text, written
from keras_entropy.study.arms import OWN_AXES
from keras_entropy.study.comparison import Comparison
from keras_entropy.study.description import Description, PlannedArm
from keras_entropy.study.document import DASH, Block, Heading, Items, Paragraph, Picture, Table
from keras_entropy.study.records import RunRecord
from keras_entropy.study.significance_tables import PairwiseTable, StarredTable

MOST_FAILURES, MOST_TABLES = 50, 12
_ALWAYS = ("placement", "regularizer")


def summary(study: Description, records: Sequence[RunRecord], comparison: Comparison | None) -> list[Block]:
    """What there is, and how many comparisons show something."""
    runs = arm_groups.latest(records, "report")
    failed = arm_groups.counted(arm_groups.failures_of(runs), len(runs))
    items = [f"{_there(study, runs, 'report')}{f'; {failed}' if failed else ''}."]
    if study.planned and len(runs) < sum(study.runs(arm, "report") for arm in study.arms):
        items.append(
            "The study is not complete: all numbers may change. Its p-values hold once all planned runs are there."
        )
    if comparison is None:
        items.append(f"Nothing can be compared yet: {_nothing(study, runs)}.")
        return [Items(tuple(items))]
    verdicts = Counter(
        "not possible" if row.against is None else row.against.verdict(lower_is_better=comparison.lower_is_better)
        for row in comparison.rivals
    )
    order = ("better", "worse", "no difference shown", "not possible")
    counts = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in order if verdicts[verdict])
    base = comparison.baseline
    items.append(
        f"Comparisons with {base}, {result_tables.metric_name(comparison)}: {len(comparison.rivals)}"
        f"{f' ({counts})' if counts else ', as there is no other arm with runs'}."
    )
    if len({arm_groups.dumped(row.shared) for row in comparison.rivals}) > 1:
        items.append("p-values are adjusted for the number of rivals at each grid point, not for the number of points.")
    if comparison.metric.startswith("val") and ((study.monitor or "").startswith("val") or comparison.tuning_runs):
        what = " and ".join(
            ["early stopping"] * (study.monitor is not None) + ["the choice of values"] * bool(comparison.tuning_runs)
        )
        used = f"{comparison.metric} is measured on validation data, which {what} may have used"
        items.append(f"{used}: it is not an estimate for new data.")
    return [Items(tuple(items))]


def setup(study: Description, records: Sequence[RunRecord]) -> list[Block]:
    """What was run."""
    blocks: list[Block] = [Heading("What was run")]
    if not study.planned:
        blocks.append(Paragraph("The folder holds no study.json: arms, points and seeds are those of the records."))
    items = []
    if study.seeds:
        items.append(f"{plural(len(study.seeds), 'seed')}: {_listed(study.seeds)}.")
    if study.tune_seeds:
        items.append(f"{plural(len(study.tune_seeds), 'tuning seed')}: {_listed(study.tune_seeds)}.")
    if study.epochs is not None:
        batches = "" if study.batch_size is None else f", batches of {study.batch_size}"
        items.append(f"At most {plural(study.epochs, 'epoch')}{batches}.")
    if study.monitor is not None:
        patience = "" if study.patience is None else f" with a patience of {plural(study.patience, 'epoch')}"
        items.append(f"Early stopping on {study.monitor}{patience}.")
    elif study.planned:
        items.append("No early stopping.")
    current = [r for role in ("report", "tune") for r in arm_groups.latest(records, role) if r.ok]
    versions = Counter(_environment(record) for record in current)
    versions.pop("", None)
    if len(versions) > 1:
        items.append(f"The runs were made in {len(versions)} environments, which may differ in their numbers:")
    items += [f"{plural(n, 'finished run')} with {name}." for name, n in versions.items()]
    together = sum(record.replicas > 1 for record in current)
    if together:
        items.append(f"{plural(together, 'run')} trained several at once as one program: times are shares of its time.")
    blocks += [Items(tuple(items))] if items else []
    if study.arms:
        blocks.append(_arms(study))
    return blocks


def _arms(study: Description) -> Table:
    told = {key: {_about(arm.about.get(key)) for arm in study.arms} for arm in study.arms for key in arm.about}
    # What all arms have in common does not tell them apart.
    about = [key for key, words in told.items() if len(words) > 1 or (key in _ALWAYS and words != {DASH})]
    axes = [name for name in ("grid", "tune") if any(getattr(arm, name) for arm in study.arms)]
    rows = [
        (
            arm.name + (" (baseline)" if arm.name == study.baseline else ""),
            *(_about(arm.about.get(key)) for key in about),
            *(_ranges(getattr(arm, name)) for name in axes),
        )
        for arm in study.arms
    ]
    head = ("arm", *(key.replace("_", " ") for key in about), *axes)
    return Table("Arms", head, tuple(rows), words=len(head))


def runs(study: Description, records: Sequence[RunRecord]) -> list[Block]:
    """How many runs there are, and why some failed."""
    blocks: list[Block] = [Heading("Runs")]
    by_role = {role: arm_groups.latest(records, role) for role in ("report", "tune")}
    names = [arm.name for arm in study.arms]
    extra = dict.fromkeys(record.arm for record in records if record.arm not in names)
    arms = [*study.arms, *(PlannedArm(name, {}, {}, {}) for name in extra)]
    rows = []
    for role, found in by_role.items():
        for arm in arms:
            own = [record for record in found if record.arm == arm.name]
            planned = study.runs(arm, role) if study.planned and arm.name not in extra else None
            if not own and not planned:
                continue
            failures = arm_groups.failures_of(own)
            counts = [sum(r.ok for r in own), *(failures.get(status, 0) for status in arm_groups.FAILURES)]
            place = ("compared" if role == "report" else "tuning", arm.name)
            rows.append((*place, DASH if planned is None else str(planned), str(len(own)), *map(str, counts)))
    head: tuple[str, ...] = ("runs", "arm", "planned", "there", "finished", *arm_groups.FAILURES)
    blocks.append(Table("Runs by arm", head, tuple(rows), words=2))
    failed = [record for found in by_role.values() for record in found if not record.ok]
    if failed:
        reasons = [
            (r.arm, written(r.point) or DASH, written(r.tuned) or DASH, r.role, str(r.seed), r.status, _cut(r.reason))
            for r in failed[:MOST_FAILURES]
        ]
        more = len(failed) - len(reasons)
        notes = (f"{more} more in runs.csv.",) if more else ()
        head = ("arm", "point", "tuned", "role", "seed", "status", "reason")
        blocks.append(Table("Runs that did not finish", head, tuple(reasons), notes, words=len(head)))
    return blocks


def chosen(study: Description, records: Sequence[RunRecord], comparison: Comparison | None) -> list[Block]:
    """How values were chosen, and which."""
    trials = arm_groups.latest(records, "tune")
    if not trials and all(arm.tries < 2 for arm in study.arms):
        return []
    blocks: list[Block] = [Heading("How values were chosen")]
    items = [f"{_there(study, trials, 'tune')}; they serve to choose values and take no part in the comparison."]
    failures = arm_groups.failures_of(trials)
    if failures:
        items.append(f"{arm_groups.unfinished(failures, len(trials))}.")
    items.append(
        f"At each grid point each arm has the values with the best mean {study.metric} at the last epoch over the "
        "tuning seeds; values with which a run failed are out."
    )
    both = sorted({*study.seeds} & {*study.tune_seeds})
    if both:
        items.append(f"Seeds {_listed(both)} served both to choose values and to compare.")
    items += _effort(study)
    plans = {arm.name: arm for arm in study.arms}
    rows, edges = [], 0
    for row in comparison.rows if comparison else ():
        plan = plans.get(row.arm)
        if plan is None or not (plan.tune or row.tuned):
            continue
        edge = [f"{axis}: {end}" for axis, end in _edges(plan, row.tuned)]
        edges += bool(edge)
        point = written({**row.shared, **row.own}) or DASH
        rows.append((point, row.arm, str(plan.tries), result_tables.tuned(row), "; ".join(edge) or DASH))
    if edges:
        items.append(
            f"{plural(edges, 'choice')} at the edge of the tried values (last column): a value beyond might do better."
        )
    blocks.append(Items(tuple(items)))
    if rows:
        head = ("point", "arm", "combinations tried", "chosen", "at the edge")
        notes = (_failed(comparison),) if _failed(comparison) else ()
        blocks.append(Table("Chosen values", head, tuple(rows), notes, words=len(head)))
    return blocks


def _effort(study: Description) -> Iterator[str]:
    """Where arms tried more values of an axis than the baseline."""
    base = next((arm for arm in study.arms if arm.name == study.baseline), None)
    if base is None:
        return
    more: dict[tuple[str, int, int], list[str]] = {}
    for arm in study.arms:
        for axis, values in arm.tune.items():
            if axis not in base.tune and (axis not in study.tune or axis in OWN_AXES):
                continue  # an axis that the baseline cannot have
            tried = len(base.tune.get(axis, [None]))
            if len(values) > tried:
                more.setdefault((axis, len(values), tried), []).append(arm.name)
    for (axis, most, tried), names in more.items():
        others = f" and {len(names) - 5} more arms" if len(names) > 6 else ""
        named = ", ".join(names[:5] if others else names)
        few = plural(tried, "value")
        yield f"The baseline was tuned less: {base.name} tried {few} of {axis}; {named}{others} tried {most}."


def _edges(plan: PlannedArm, choice: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for axis, value in choice.items():
        values = plan.tune.get(axis, [])
        if len(set(map(arm_groups.dumped, values))) < 2 or not all(map(arm_groups.is_number, [*values, value])):
            continue
        if value in (min(values), max(values)):
            yield axis, f"{'least' if value == min(values) else 'largest'} of {plural(len(values), 'value')}"


def results(
    comparison: Comparison,
    records: Sequence[RunRecord],
    starred: StarredTable,
    pairs: Sequence[PairwiseTable],
) -> list[Block]:
    """The comparison in tables, figures and words."""
    blocks: list[Block] = [Heading("Comparison with the baseline"), result_tables.comparison_table(comparison)]
    sentences = comparison.sentences()
    if any(starred.tests):
        blocks.append(starred.table())
    blocks += pictures(comparison, records)
    if sentences:
        blocks += [Heading("In words"), Items(tuple(f"{sentence}." for sentence in sentences))]
    tables = [pair.table() for pair in pairs if any(pair.results.values())]
    if tables:
        blocks += [Heading("Arms against each other"), *tables[:MOST_TABLES]]
    if len(tables) > MOST_TABLES:
        left = len(tables) - MOST_TABLES
        blocks.append(Paragraph(f"{plural(left, 'further grid point')} not shown: pairwise_table gives all."))
    return [*blocks, Heading("Epochs and time"), result_tables.effort_table(comparison)]


def pictures(comparison: Comparison, records: Sequence[RunRecord]) -> list[Block]:
    """All figures that the runs give."""
    metric, base = result_tables.metric_name(comparison), comparison.baseline
    drawn: list[tuple[str, Any, str]] = []
    if any(row.mean for row in comparison.rows):
        axes: list[str | None] = [*figures.numeric_axes(comparison)]
        for i, axis in enumerate(axes or [None]):
            against = f" against {axis}" if axis else ""
            drawn.append((f"means{i + 1}", figures.means(comparison, axis), f"Mean {metric}{against}, by arm"))
        if any(row.against for row in comparison.rivals):
            drawn.append(("differences", figures.differences(comparison), f"{metric}: difference from {base}, by arm"))
        drawn.append(("curves", figures.learning_curves(records, comparison), f"{comparison.metric} by epoch and arm"))
        if any(row.reached for row in comparison.rows):
            reach = f"Epochs that each arm needs to reach the mean {comparison.metric} of {base}"
            drawn.append(("reach", figures.epochs_to_reach(comparison), reach))
        drawn.append(("stopping", figures.stopping_epochs(comparison), "Epochs until the end of training, by arm"))
    failed = _failed(comparison)
    blocks: list[Block] = [Heading("Figures")] if drawn else []
    for name, figure, caption in drawn:
        source = "curves.csv holds" if name == "curves" else "The tables of this page hold"
        alt = f"Figure: {caption}. {source} the numbers."
        blocks.append(Picture(f"{name}.png", plots.png(figure), f"{caption}. {failed}".strip(), alt))
    return blocks


def _failed(comparison: Comparison | None) -> str:
    return f"{comparison.caption}." if comparison is not None and comparison.caption else ""


def _there(study: Description, found: Sequence[RunRecord], role: str) -> str:
    kind = "run" if role == "report" else "tuning run"
    if not study.planned:
        return plural(len(found), kind)
    planned = plural(sum(study.runs(arm, role) for arm in study.arms), f"planned {kind}")
    return f"{len(found)} of {planned} {'is' if len(found) == 1 else 'are'} there"


def _nothing(study: Description, found: Sequence[RunRecord]) -> str:
    return f"the baseline, {study.baseline}, has no run" if found else "there is no run that is compared"


def _listed(seeds: Sequence[int]) -> str:
    """Seeds, in short where they follow each other."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _environment(record: RunRecord) -> str:
    return ", ".join([*(f"{name} {version}" for name, version in record.versions.items()), record.device]).strip(", ")


def _about(value: Any) -> str:
    if value in (None, {}, []):
        return DASH
    return _cut(value if isinstance(value, str) else text(value))


def _ranges(axes: dict[str, list[Any]]) -> str:
    return "; ".join(f"{axis}: {', '.join(map(text, values))}" for axis, values in axes.items()) or DASH


def _cut(words: str) -> str:
    return words if len(words) <= 200 else f"{words[:199]}…"
