"""Tables of correlated_regression.py, from its runs."""

import csv

import numpy as np

from keras_entropy.stats import holm_adjusted, paired_t

REFERENCE = "CorrelatedRegressor"
PAIRS = [
    *((REFERENCE, rival) for rival in ("mean squared error", "diagonal likelihood", "two-step GLS")),
    *((REFERENCE, rival) for rival in ("Cholesky likelihood", "oracle covariance")),
    ("with a penalty", REFERENCE),
    ("with a penalty", "mean squared error"),
    ("with a warm start", REFERENCE),
    ("with a warm start", "mean squared error"),
    ("with a warm start", "two-step GLS"),
]


def mean(runs, key):
    return float(np.mean([r[key] for r in runs]))


def difference(arm, rival, key):
    """An arm minus its rival, in pairs; None for equal runs, too few of them, or a run that diverged."""
    change = np.log if key == "error" else np.asarray
    sides = [change([r[key] for r in side]) for side in (arm, rival)]
    if len(arm) < 2 or np.array_equal(*sides) or not np.isfinite(sides).all():
        return None
    return paired_t(*sides)


def comparisons(results):
    """A row for each problem and pair of arms, with the tests of each quantity adjusted over all rows."""
    rows = [{"problem": name, "arm": arm, "against": rival}
            for name, arms in results.items() for arm, rival in PAIRS if rival in arms]  # fmt: skip
    for key in ("error", "nll"):
        sides = [(results[row["problem"]][row["arm"]], results[row["problem"]][row["against"]]) for row in rows]
        tests = holm_adjusted([difference(*side, key) for side in sides])
        for row, (arm, rival), test in zip(rows, sides, tests, strict=True):
            values = [np.nan] * 4 if test is None else [test.difference, test.low, test.high, test.deciding_p]
            values[:3] = 100 * np.expm1(values[:3]) if key == "error" else values[:3]
            names = (f"{key}_change", f"{key}_low", f"{key}_high", f"{key}_p")
            row.update({key: mean(arm, key), f"{key}_against": mean(rival, key)})
            row.update(zip(names, map(float, values), strict=True))
    return rows


def cell(row, key):
    """The change with its interval, and a star if it is shown."""
    if np.isnan(row[f"{key}_change"]):
        return "not compared"
    form = "+.1f" if key == "error" else "+.3f"
    change, low, high = (format(row[f"{key}_{part}"], form) for part in ("change", "low", "high"))
    return f"{change} ({low} to {high}){' *' if row[f'{key}_p'] < 0.05 else ''}"


def report(results, rows):
    """Print the chosen settings, and Markdown tables of the comparisons."""
    for name, arms in results.items():
        print(f"\n{name}\n{'':22}{'error':>8}{'NLL':>9}  chosen")
        for arm, runs in arms.items():
            options = " ".join(
                f"{key}={runs[0][key]:.3g}" for key in ("learning_rate", "l2", "penalty") if runs[0][key]
            )
            print(f"{arm:22}{mean(runs, 'error'):8.4f}{mean(runs, 'nll'):9.3f}  {options}")
    found = {(row["problem"], row["arm"], row["against"]): row for row in rows}
    for key, title in (("error", "Change of the error in %"), ("nll", "Change of the NLL in nats")):
        for pairs in (PAIRS[:5], PAIRS[5:]):
            print(f"\n{title}\n")
            print("| problem | " + " | ".join(f"{arm} against {rival}" for arm, rival in pairs) + " |")
            print("|---" + "|---:" * len(pairs) + "|")
            for name in results:
                cells = [cell(found[name, *pair], key) if (name, *pair) in found else "-" for pair in pairs]
                print(f"| {name} | " + " | ".join(cells) + " |")


def write_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
