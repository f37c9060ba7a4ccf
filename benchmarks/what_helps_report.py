"""Tables and figure of what_helps.py, from the records of finished and running tasks."""

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
NO_L2, ORTHOGONAL = "no term, no L2", "soft orthogonality"
TERMS = ("infomax", "DenseEntropy", "ConvEntropy", "TotalCorrelation")
"""Terms that are also compared with soft orthogonality."""


@dataclasses.dataclass
class Test:
    """One arm against the baseline with the same inputs."""

    task: str
    row: object
    base: object
    lower_is_better: bool
    p: float = math.nan

    @property
    def same(self):
        """Whether the arm chose the values of the baseline, so that their runs are the same."""
        return self.row.difference is not None and self.row.values == self.base.values

    @property
    def runs(self):
        """The compared values: arms that chose the same values have the same runs, and count as one test."""
        return tuple(sorted(self.row.values.items())), tuple(sorted(self.base.values.items()))

    @property
    def conclusion(self):
        """What the adjusted test shows, in words."""
        if self.row.difference is None:
            return "not compared"
        if self.same:
            return "the same runs"
        if not self.p < 0.05:
            return "no difference shown"
        better = (self.row.difference.estimate < 0) == self.lower_is_better
        return "better" if better else "worse"

    @property
    def percent(self):
        """Difference and interval, in percent of the baseline's mean."""
        a, scale = self.row.difference, 100 / abs(self.base.mean.estimate)
        return tuple(scale * value for value in (a.estimate, a.low, a.high))


def report(output):
    order = list(tasks("."))
    found = [path.parent for path in Path(output).glob("*/runs.jsonl")]
    folders = sorted((folder for folder in found if folder.name in order), key=lambda folder: order.index(folder.name))
    if not folders:
        raise SystemExit(f"{output} has no records of tasks. Run some, or name their folder with --output.")
    tests = [test for folder in folders if not folder.name.endswith(VARIANTS) for test in tests_of(folder)]
    tested = [test for test in tests if test.row.difference is not None and not test.same]
    different = {test.runs: test.row.difference.p for test in tested}
    adjusted = dict(zip(different, holm(list(different.values())), strict=True))
    for test in tested:
        test.p = adjusted[test.runs]
    for task in dict.fromkeys(test.task for test in tests):
        print(table([test for test in tests if test.task == task], len(adjusted)).to_markdown(), end="\n\n")
    for kind in dict.fromkeys(kind_of(test.task) for test in tests):
        print(matrix([test for test in tests if kind_of(test.task) == kind]).to_markdown(), end="\n\n")
    draw(tests, Path(output) / "what_helps.png")
    frame(tests).to_csv(Path(output) / "what_helps.csv", index=False, lineterminator="\n")
    print(f"Written to {output}: what_helps.png, what_helps.csv\n")
    for test in tests:
        if test.conclusion in ("better", "worse"):
            print(f"* {test.task}: {name(test.row)} is {test.conclusion} than {test.base.arm}")


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
    accuracy = "val_accuracy" in ended[0].history
    metric = "val_accuracy" if accuracy else "val_task_loss"
    families = {"L2": [r for r in records if not r.arm.startswith(INPUTS) or r.arm.endswith(", L2")]}
    families[NO_L2] = [r for r in records if r.arm == NO_L2 or r.arm.endswith(" alone")]
    for inputs in INPUTS:
        families[f"{inputs}, L2"] = [r for r in records if r.arm.startswith(inputs)]
    for before in ("", "centred, "):
        arms = [f"{before}{name}" for name in (ORTHOGONAL, *TERMS)]
        families[arms[0]] = [r for r in records if r.arm in arms]
    found = []
    for baseline, family in families.items():
        if not any(record.arm == baseline and record.role == "report" for record in family):
            continue
        study = compare(family, metric, baseline)
        bases = {point_text(row.shared): row for row in study.rows if row.arm == baseline}
        found += [Test(folder.name, row, bases[point_text(row.shared)], not accuracy) for row in study.rivals]
    return found


def kind_of(task):
    """The kind of a task, whose tasks are shown side by side: "cnn-normalised" for "cnn-2-normalised"."""
    return "-".join(part for part in task.split("-") if not part.isdigit())


def name(row):
    return f"{row.arm} at {point_text(row.shared)}" if row.shared else row.arm


def table(tests, count):
    bases = {name(test.base): test.base for test in tests}
    rows = []
    for base in bases.values():
        rows.append(
            (
                name(base),
                f"{len(base.values)} of {base.runs}",
                interval(base.mean),
                DASH,
                DASH,
                "baseline",
            )
        )
        rows[-1] += (half(base), "1.00", point_text(base.tuned))
        for test in (test for test in tests if test.base is base):
            row = test.row
            p = DASH if math.isnan(test.p) else f"{test.p:.2g}"
            cost = f"{row.cpu_seconds / base.cpu_seconds:.2f}"
            cell = (
                name(row),
                f"{len(row.values)} of {row.runs}",
                interval(row.mean),
                interval(row.difference),
            )
            rows.append((*cell, p, test.conclusion, half(row), cost, point_text(row.tuned)))
    head = ("arm", "n of runs", "mean (95 %)", "minus its baseline (95 %)", "p (Holm)", "conclusion", "half by epoch")
    note = (
        f"Holm over {count} different tests of all tasks. Half by epoch: when half of the seeds had the baseline's "
        "final mean. Cost: processor time of a run, tracing included, over that of the baseline."
    )
    kind = "validation loss" if tests[0].lower_is_better else "validation accuracy"
    return Table(f"{tests[0].task}: {kind} at the last epoch", (*head, "cost", "chosen"), tuple(rows), (note,))


def matrix(tests):
    """Differences in percent of the baseline, tasks side by side."""
    tasks = list(dict.fromkeys(test.task for test in tests))
    cells_of = {}
    for test in tests:
        stars = {"better": " better", "worse": " worse"}.get(test.conclusion, "")
        shown = "{:+.1f} ({:+.1f} to {:+.1f})".format(*test.percent) if not math.isnan(test.p) else DASH
        shown = test.conclusion if test.same else shown
        cells_of.setdefault((name(test.row), test.base.arm), {})[test.task] = shown + stars
    rows = [(*arm, *(found.get(task, DASH) for task in tasks)) for arm, found in cells_of.items()]
    note = "Better, worse: p of the paired t test below 0.05 after Holm's adjustment over all tests of all tasks."
    caption = "Difference from the baseline in percent of its mean, with 95 % intervals"
    return Table(caption, ("arm", "against", *tasks), tuple(rows), (note,), 2)


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
            values |= {"p": row.difference.p, "p_holm": test.p, "effect": row.difference.effect}
        values |= {
            "conclusion": test.conclusion,
            "chosen": point_text(row.tuned),
            "chosen_by_baseline": point_text(base.tuned),
        }
        values |= {"half_by_epoch": row.half_epoch, "half_by_epoch_of_baseline": base.half_epoch}
        rows.append(values | {"cpu_seconds": row.cpu_seconds, "cpu_seconds_of_baseline": base.cpu_seconds})
    return pd.DataFrame(rows)


def half(row):
    return DASH if row.half_epoch is None else str(row.half_epoch)


def draw(tests, path):
    """Differences from L2 on the same inputs: a row of panels for each kind of task, a line for each arm."""
    shown = [
        test for test in tests if not math.isnan(test.p) and test.base.arm.endswith("L2") and test.base.arm != NO_L2
    ]
    kinds = list(dict.fromkeys(kind_of(test.task) for test in shown))
    arms = [list(dict.fromkeys(name(t.row) for t in shown if kind_of(t.task) == kind))[::-1] for kind in kinds]
    columns = [list(dict.fromkeys(t.task for t in shown if kind_of(t.task) == kind)) for kind in kinds]
    sizes = [len(names) + 3 for names in arms]
    figure = plt.figure(figsize=(9, 0.17 * sum(sizes)), layout="constrained")
    grid = figure.add_gridspec(len(kinds), max(map(len, columns)), height_ratios=sizes)
    for row, (names, tasks_of) in enumerate(zip(arms, columns, strict=True)):
        for column, task in enumerate(tasks_of):
            ax = figure.add_subplot(grid[row, column])
            for test in (test for test in shown if test.task == task):
                y, (middle, low, high) = names.index(name(test.row)), test.percent
                colour = {"better": "#0072b2", "worse": "#d55e00"}.get(test.conclusion, "#777777")
                ax.plot([low, high], [y, y], color=colour)
                ax.plot(middle, y, "o", color=colour, markersize=3)
            ax.set_yticks(range(len(names)), names if column == 0 else [""] * len(names), fontsize=6)
            ax.set_ylim(-0.7, len(names) - 0.3)
            ax.axvline(0, color="black", linewidth=0.8)
            ax.set_title(task, fontsize=7, loc="left")
            ax.tick_params(axis="x", labelsize=6)
    figure.suptitle("Difference from L2 on the same inputs, in % of its mean, 95 % interval", fontsize=8)
    figure.savefig(path, dpi=110)
