"""Tables and figure of what_helps.py and plasticity.py, from the records of finished and running tasks.

Tasks without records can keep their rows of an earlier table. Holm's adjustment is over all tests of all tasks.
"""

import dataclasses
import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
from what_helps import VARIANTS, tasks

from keras_entropy.stats import holm
from keras_entropy.study import compare, read_records
from keras_entropy.study.document import DASH, Table
from keras_entropy.study.wording import interval, point_text

INPUTS = ("centred", "standardised")
PLASTICITY = "plasticity"
NO_L2, ORTHOGONAL = "no term, no L2", "soft orthogonality"
COLOURS = {"better": "#0072b2", "worse": "#d55e00", "no difference shown": "#777777"}
TERMS = ("infomax", "DenseEntropy", "ConvEntropy", "TotalCorrelation")
"""Terms that are also compared with soft orthogonality."""


@dataclasses.dataclass
class Test:
    """One arm against a baseline."""

    task: str
    row: object
    base: object
    lower_is_better: bool

    @property
    def same(self):
        """Whether the arm chose the values of the baseline, so that their runs are the same."""
        return self.row.difference is not None and self.row.values == self.base.values


def report(output, earlier=None):
    order = [*tasks("."), PLASTICITY]
    found = [path.parent for path in Path(output).glob("*/runs.jsonl")]
    folders = sorted((folder for folder in found if folder.name in order), key=lambda folder: order.index(folder.name))
    if not folders:
        raise SystemExit(f"{output} has no records of tasks. Run some, or name their folder with --output.")
    tests = [test for folder in folders if not folder.name.endswith(VARIANTS) for test in tests_of(folder)]
    rows = frame(tests)
    if earlier is not None:
        kept = pd.read_csv(earlier, keep_default_na=False, na_values=[""])
        kept[["point", "chosen"]] = kept[["point", "chosen"]].fillna("")
        rows = pd.concat([kept[~kept.task.isin(rows.task)], rows], ignore_index=True)
        rows = rows.sort_values("task", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)
    count = adjust(rows)
    for task in dict.fromkeys(test.task for test in tests):
        print(table([test for test in tests if test.task == task], rows, count).to_markdown(), end="\n\n")
    kinds = rows.task.map(kind_of)
    for kind in kinds.unique():
        print(matrix(rows[kinds == kind]).to_markdown(), end="\n\n")
    draw(rows, Path(output) / "what_helps.png")
    rows.to_csv(Path(output) / "what_helps.csv", index=False, lineterminator="\n")
    print(f"Written to {output}: what_helps.png, what_helps.csv\n")
    print(f"Holm's adjustment over {count} different tests")
    for row in rows[rows.conclusion.isin(("better", "worse"))].itertuples():
        print(f"* {row.task}: {shown_name(row)} is {row.conclusion} than {row.against}")


def adjust(rows):
    """Set Holm's p-values and the conclusions, and return the number of tests.

    Arms that chose the same values have the same runs, and count as one test.
    """
    tested = rows.p.notna()
    keys = list(rows.loc[tested, ["mean", "mean_of_baseline", "p"]].itertuples(index=False, name=None))
    different = list(dict.fromkeys(keys))
    adjusted = dict(zip(different, holm([p for *_, p in different]), strict=True))
    rows.loc[tested, "p_holm"] = [adjusted[key] for key in keys]
    better = (rows.difference < 0) == rows.lower_is_better.astype(bool)
    words = better.map({True: "better", False: "worse"})
    rows.loc[tested, "conclusion"] = words[tested].where(rows.p_holm[tested] < 0.05, "no difference shown")
    return len(different)


def tests_of(folder):
    """All tests of a task, with the arms of its variants."""
    records = read_records(folder)
    for variant in (folder.with_name(f"{folder.name}-{end}") for end in VARIANTS):
        if (variant / "runs.jsonl").exists():
            records += read_records(variant)
    ended = [record for record in records if record.ok]
    if not ended:
        print(f"{folder.name}: no run has finished, of {len(records)}.\n")
        return []
    accuracy = "accuracy" in ended[0].history
    metric = "val_accuracy" if accuracy else "val_task_loss"
    if folder.name == PLASTICITY:
        families = dict.fromkeys(("none", "L2", "L2 to the initial weights", ORTHOGONAL), records)
        return tests_in(folder.name, families, "accuracy")
    if "-muon" in folder.name:
        muon = [record for record in records if record.arm.startswith("Muon, ")]
        families = {"Adam, L2": records, "Muon, L2": muon, f"Muon, {ORTHOGONAL}": muon}
        return tests_in(folder.name, families, metric)
    families = {"L2": [r for r in records if not r.arm.startswith(INPUTS) or r.arm.endswith(", L2")]}
    families[NO_L2] = [r for r in records if r.arm == NO_L2 or r.arm.endswith(" alone")]
    for inputs in INPUTS:
        families[f"{inputs}, L2"] = [r for r in records if r.arm.startswith(inputs)]
    for before in ("", "centred, "):
        arms = [f"{before}{name}" for name in (ORTHOGONAL, *TERMS)]
        families[arms[0]] = [r for r in records if r.arm in arms]
    return tests_in(folder.name, families, metric)


def tests_in(task, families, metric):
    """Each baseline against the other arms of its family."""
    found, seen = [], set()
    for baseline, family in families.items():
        if not any(record.arm == baseline and record.role == "report" for record in family):
            continue
        study = compare(family, metric, baseline)
        bases = {point_text(row.shared): row for row in study.rows if row.arm == baseline}
        for row in study.rivals:
            if (row.arm, baseline) not in seen or row.shared:
                found.append(Test(task, row, bases[point_text(row.shared)], "accuracy" not in metric))
            seen.add((baseline, row.arm))
    return found


def kind_of(task):
    """The kind of a task, whose tasks are shown side by side: "cnn-normalised" for "cnn-2-normalised"."""
    return "-".join(part for part in task.split("-") if not part.isdigit())


def name(row):
    return f"{row.arm} at {point_text(row.shared)}" if row.shared else row.arm


def shown_name(row):
    """The arm of a row of the frame, with its point."""
    return f"{row.arm} at {row.point}" if row.point else row.arm


def table(tests, frame_rows, count):
    bases = {name(test.base): test.base for test in tests}
    of_task = frame_rows[frame_rows.task == tests[0].task]
    adjusted = {(shown_name(row), row.against): row for row in of_task.itertuples()}
    rows = []
    for base in bases.values():
        first = (name(base), f"{len(base.values)} of {base.runs}", interval(base.mean), DASH, DASH, "baseline")
        rows.append((*first, half(base), "1.00", point_text(base.tuned)))
        for row in (test.row for test in tests if test.base is base):
            found = adjusted[name(row), base.arm]
            p = DASH if math.isnan(found.p_holm) else f"{found.p_holm:.2g}"
            cost = f"{row.cpu_seconds / base.cpu_seconds:.2f}"
            cell = (name(row), f"{len(row.values)} of {row.runs}", interval(row.mean), interval(row.difference))
            rows.append((*cell, p, found.conclusion, half(row), cost, point_text(row.tuned)))
    head = ("arm", "n of runs", "mean (95 %)", "minus its baseline (95 %)", "p (Holm)", "conclusion", "half by epoch")
    note = (
        f"Holm over {count} different tests of all tasks. Half by epoch: when half of the seeds had the baseline's "
        "final mean. Cost: processor time of a run, tracing included, over that of the baseline."
    )
    kind = "loss" if tests[0].lower_is_better else "accuracy"
    return Table(f"{tests[0].task}: {kind} at the last epoch", (*head, "cost", "chosen"), tuple(rows), (note,))


def percent(row):
    """Difference and interval, in percent of the baseline's mean."""
    return [100 * value / abs(row.mean_of_baseline) for value in (row.difference, row.low, row.high)]


def matrix(rows):
    """Differences in percent of the baseline, tasks side by side."""
    tasks = list(rows.task.unique())
    cells_of = {}
    for row in rows.itertuples():
        shown = DASH if math.isnan(row.p) else "{:+.1f} ({:+.1f} to {:+.1f})".format(*percent(row))
        shown = row.conclusion if row.conclusion == "the same runs" else shown
        stars = f" {row.conclusion}" if row.conclusion in ("better", "worse") else ""
        cells_of.setdefault((shown_name(row), row.against), {})[row.task] = shown + stars
    cells = [(*arm, *(found.get(task, DASH) for task in tasks)) for arm, found in cells_of.items()]
    note = "Better, worse: p of the paired t test below 0.05 after Holm's adjustment over all tests of all tasks."
    caption = "Difference from the baseline in percent of its mean, with 95 % intervals"
    return Table(caption, ("arm", "against", *tasks), tuple(cells), (note,), 2)


def frame(tests):
    """All numbers, one row for each test."""
    rows = []
    for test in tests:
        row, base = test.row, test.base
        values = {"task": test.task, "arm": row.arm, "point": point_text(row.shared), "against": base.arm}
        values |= {"lower_is_better": test.lower_is_better, "seeds": row.pairs, "runs": row.runs}
        values |= {"mean": row.mean.estimate, "mean_of_baseline": base.mean.estimate}
        if row.difference:
            values |= {"difference": row.difference.estimate, "low": row.difference.low, "high": row.difference.high}
            p = math.nan if test.same else row.difference.p
            values |= {"p": p, "p_holm": math.nan, "effect": row.difference.effect}
        values |= {
            "conclusion": "the same runs" if test.same else "not compared",
            "chosen": point_text(row.tuned),
            "chosen_by_baseline": point_text(base.tuned),
        }
        values |= {"half_by_epoch": row.half_epoch, "half_by_epoch_of_baseline": base.half_epoch}
        rows.append(values | {"cpu_seconds": row.cpu_seconds, "cpu_seconds_of_baseline": base.cpu_seconds})
    return pd.DataFrame(rows)


def half(row):
    return DASH if row.half_epoch is None else str(row.half_epoch)


def draw(rows, path):
    """Differences from L2 on the same inputs: a row of panels for each kind of task, a line for each arm."""
    shown = [row for row in rows.itertuples() if row.against.endswith("L2") and row.against != NO_L2 and row.p >= 0]
    kinds = list(dict.fromkeys(kind_of(row.task) for row in shown))
    arms = [list(dict.fromkeys(line_name(r) for r in shown if kind_of(r.task) == kind))[::-1] for kind in kinds]
    columns = [list(dict.fromkeys(r.task for r in shown if kind_of(r.task) == kind)) for kind in kinds]
    sizes = [3, *(len(names) + 4 for names in arms)]
    figure = plt.figure(figsize=(8, 0.17 * sum(sizes)), layout="constrained")
    head, *parts = figure.subfigures(len(sizes), height_ratios=sizes)
    head.suptitle("Difference from L2 on the same inputs, in % of its mean, with 95 % interval", fontsize=9)
    marks = [plt.Line2D([], [], marker="o", markersize=3, color=colour) for colour in COLOURS.values()]
    head.legend(marks, COLOURS, loc="lower center", ncols=3, fontsize=8)
    for part, names, tasks_of in zip(parts, arms, columns, strict=True):
        for ax, task in zip(part.subplots(1, len(tasks_of), sharey=True, squeeze=False)[0], tasks_of, strict=True):
            draw_task(ax, [row for row in shown if row.task == task], names)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def draw_task(ax, rows, names):
    """The intervals of one task, each at the height of its name."""
    for row in rows:
        y, (middle, low, high) = names.index(line_name(row)), percent(row)
        ax.plot([low, high], [y, y], color=COLOURS[row.conclusion])
        ax.plot(middle, y, "o", color=COLOURS[row.conclusion], markersize=3)
    ax.set_yticks(range(len(names)), names, fontsize=7)
    ax.set_ylim(-0.7, len(names) - 0.3)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_title(rows[0].task, fontsize=8, loc="left")
    ax.set_xlabel(f"difference, %\n({'lower' if rows[0].lower_is_better else 'higher'} is better)", fontsize=7)
    ax.tick_params(axis="x", labelsize=7)


def line_name(row):
    """The name of a line: with the baseline where a task has two of them on the same inputs."""
    return f"{shown_name(row)} against {row.against}" if "muon" in row.task else shown_name(row)
