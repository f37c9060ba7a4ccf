"""The comparison of a study's arms, against SciPy's numbers and word for word."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from keras_entropy.stats import holm
from keras_entropy.study import RunRecord, compare, pairwise_table, starred_table

pytestmark = pytest.mark.once

NONE = [0.30, 0.32, 0.31, 0.35, 0.33]
GOOD = [0.27, 0.30, 0.27, 0.31, 0.30]
BAD = [0.40, 0.41, 0.43, 0.44, 0.40]


def run(arm, seed, value, **changes):
    """A run whose metric falls by 0.1 an epoch until it is `value` in the third."""
    history = {"loss": [1.0, 0.5, 0.2], "val_task_loss": [value + 0.2, value + 0.1, value]}
    return RunRecord(**{"arm": arm, "seed": seed, "history": history} | changes)


def arm(name, values, seeds=None, **changes):
    return [run(name, seed, v, **changes) for seed, v in zip(seeds or range(len(values)), values, strict=True)]


def failed(name, seed, status="diverged", **changes):
    return RunRecord(arm=name, seed=seed, status=status, reason="loss is NaN", history={"loss": [math.nan]}, **changes)


def row_of(comparison, label):
    return next(row for row in comparison.rows if row.label == label)


THREE = arm("none", NONE) + arm("good", GOOD) + arm("bad", BAD)


def test_differences_are_those_of_scipy():
    comparison = compare(THREE)
    results = [scipy_stats.ttest_rel(values, NONE) for values in (GOOD, BAD)]
    adjusted = holm([result.pvalue for result in results])
    assert comparison.baseline == "none"
    assert [row.arm for row in comparison.rows] == ["none", "good", "bad"]
    for row, values, result, p in zip(comparison.rivals, (GOOD, BAD), results, adjusted, strict=True):
        interval = result.confidence_interval(0.95)
        found = row.difference
        np.testing.assert_allclose(
            [found.difference, found.low, found.high, found.p, found.p_adjusted],
            [np.mean(values) - np.mean(NONE), interval.low, interval.high, result.pvalue, p],
        )
        assert found.adjustment == "Holm over 2 tests"
        mean = scipy_stats.t.interval(0.95, 4, np.mean(values), scipy_stats.sem(values))
        np.testing.assert_allclose([row.mean.estimate, row.mean.low, row.mean.high], [np.mean(values), *mean])
        d = np.subtract(values, NONE)
        correction = math.gamma(2) / math.gamma(1.5) / math.sqrt(2)
        assert found.effect == pytest.approx(correction * d.mean() / d.std(ddof=1))


def test_sentences_say_the_direction():
    low, high = compare(THREE).sentences(), compare(THREE, lower_is_better=False).sentences()
    assert low == (
        "good is better than none by 0.032 (95 % unadjusted interval 0.022 to 0.042, paired t, n = 5 seeds, "
        "p = 0.001 after Holm over 2 tests)",
        "bad is worse than none by 0.094 (95 % unadjusted interval 0.071 to 0.117, paired t, n = 5 seeds, "
        "p < 0.001 after Holm over 2 tests)",
    )
    assert [sentence.split(" by ")[0] for sentence in high] == ["good is worse than none", "bad is better than none"]
    flipped = compare(THREE, baseline="good").sentences()
    assert [sentence.split(" by ")[0] for sentence in flipped] == ["none is worse than good", "bad is worse than good"]
    conclusions = compare(THREE).to_frame().set_index("arm")["conclusion"].to_dict()
    assert conclusions == {"none": "", "good": "better", "bad": "worse"}


def test_margin_adds_equivalence():
    near = [value + shift for value, shift in zip(NONE, (0.001, -0.001, 0.002, 0.0, -0.001), strict=True)]
    comparison = compare(arm("none", NONE) + arm("near", near), margin=0.01)
    first, second = comparison.sentences()
    assert first.startswith("no difference shown between near and none (near minus none ")
    assert second.startswith("near and none are equivalent within 0.01 (near minus none ")
    above = scipy_stats.ttest_rel(np.add(near, 0.01), NONE, alternative="greater").pvalue
    below = scipy_stats.ttest_rel(np.subtract(near, 0.01), NONE, alternative="less").pvalue
    assert row_of(comparison, "near").equivalence.p == pytest.approx(max(above, below))
    assert compare(arm("none", NONE) + arm("near", near), margin=1e-5).sentences()[1].startswith("equivalence within")


def test_an_arms_own_axis_gives_rows_against_one_baseline():
    records = []
    for width, shift in ((16, 0.0), (4, 0.1)):
        records += arm("none", [v + shift for v in NONE], point={"width": width})
        for factor in (0.1, 0.01):
            records += arm("tc", [v + shift - factor for v in GOOD], point={"width": width, "factor": factor})
    comparison = compare(records)
    assert [(row.shared, row.label) for row in comparison.rows] == [
        ({"width": width}, label) for width in (4, 16) for label in ("none", "tc (factor=0.01)", "tc (factor=0.1)")
    ]
    for row in comparison.rivals:
        expected = np.mean(GOOD) - row.own["factor"] - np.mean(NONE)
        assert row.difference.difference == pytest.approx(expected)
        assert row.difference.adjustment == "Holm over 2 tests"
    assert comparison.sentences()[0].startswith("At width=4: tc (factor=0.01) is better than none by 0.042")
    frame = comparison.to_frame()
    assert list(frame["point.width"]) == [4, 4, 4, 16, 16, 16]


def test_failed_runs_and_missing_partners_are_counted():
    records = [*arm("none", NONE[:4]), failed("none", 4), *arm("good", GOOD[1:], seeds=range(1, 5))]
    comparison = compare(records)
    row = row_of(comparison, "good")
    expected = scipy_stats.ttest_rel(GOOD[1:4], NONE[1:4])
    assert (row.pairs, row.dropped, row.runs) == (3, 2, 4)
    assert row.difference.p == pytest.approx(expected.pvalue)
    assert comparison.caption == "1 of 9 runs did not finish (1 diverged) and is left out"
    assert comparison.sentences()[0].endswith("; 2 of 5 seeds lack a value of one of the two and are left out")
    text = comparison.to_markdown()
    assert text.count(comparison.caption) == 2
    cells = [line.split(" | ") for line in text.splitlines() if line.startswith("| none")]
    assert [row[1] for row in cells] == ["4 of 5", "4 of 5"]
    assert "| 3 of 5 |" in text
    frame = comparison.to_frame().set_index("arm")
    assert frame.loc["none", ["runs", "finished", "diverged", "failed", "died"]].tolist() == [5, 4, 1, 0, 0]


@pytest.mark.parametrize(
    ("records", "note"),
    [
        (arm("none", NONE[:1]) + arm("b", GOOD[:1]), "1 pair of seeds, and a test needs two"),
        (arm("none", NONE[:2]) + arm("b", GOOD[:2], seeds=[5, 6]), "no pair of seeds, and a test needs two"),
        ([failed("none", 0), failed("b", 0, "died")], "no finished run has a value"),
        (arm("none", [math.nan, 0.3]) + arm("b", [0.2, 0.3]), "1 pair of seeds, and a test needs two"),
        (arm("none", NONE) + arm("b", NONE), "the differences do not vary"),
    ],
)
def test_too_few_values_give_a_dash_and_a_note(records, note):
    comparison = compare(records, margin=0.1)
    row = row_of(comparison, "b")
    assert note in row.notes
    assert note in comparison.to_markdown()
    assert "shown" not in " ".join(comparison.sentences()).replace("not shown", "").replace("no difference shown", "")
    assert len(comparison.to_frame()) == 2
    for table in (pairwise_table(records)[0], starred_table(records)):
        assert table.to_markdown()
    assert {starred_table(records).stars(0, "b"), pairwise_table(records)[0].sign("b", "none")} == {""}


def test_nan_of_a_finished_run_is_said():
    row = row_of(compare(arm("none", [math.nan, *NONE]) + arm("b", [*GOOD, 0.3])), "none")
    assert (row.mean.n, row.runs) == (5, 6)
    assert "1 finished run without a finite val_task_loss left out" in row.notes


def test_epochs_to_reach_the_baseline_count_those_that_never_do():
    comparison = compare(arm("none", [0.3, 0.4]) + arm("fast", [0.1, 0.2, 0.5]))
    assert row_of(comparison, "fast").reached == {0: 1, 1: 2, 2: None}
    assert row_of(comparison, "none").reached == {0: 3, 1: None}
    assert [row.half_epoch for row in comparison.rows] == [3, 2]
    higher = compare(arm("none", [0.3, 0.4]) + arm("fast", [0.1, 0.2, 0.5]), lower_is_better=False)
    assert row_of(higher, "fast").reached == {0: None, 1: 1, 2: 1}
    assert "| 2 of 3 | 2 |" in comparison.to_markdown()
    same = compare(arm("none", [0.1] * 3))
    assert row_of(same, "none").reached == {0: 3, 1: 3, 2: 3}


def test_stopping_epochs_and_seconds():
    records = [
        RunRecord(
            arm="none", seed=i, history={"val_task_loss": [0.1 * i] * n}, stopped_early=n < 9, wall_seconds=10.0 * n
        )
        for i, n in enumerate((5, 7, 9))
    ]
    row = compare(records).rows[0]
    low, high = scipy_stats.t.interval(0.95, 2, 7, scipy_stats.sem([5, 7, 9]))
    assert (row.mean_epochs.estimate, row.stopped_early, row.wall_seconds) == (7, 2, 70)
    assert (row.mean_epochs.low, row.mean_epochs.high) == pytest.approx((low, high))
    assert math.isnan(row.cpu_seconds)


def test_best_epoch():
    records = [RunRecord(arm="a", seed=i, history={"acc": [0.5, 0.9 + i / 100, 0.7]}) for i in range(3)]
    best = compare(records, "acc", epoch="best", lower_is_better=False)
    assert best.rows[0].mean.estimate == pytest.approx(0.91)
    assert compare(records, "acc", epoch="best").rows[0].mean.estimate == pytest.approx(0.91)  # the name says it
    assert compare(records, "acc", epoch="best", lower_is_better=True).rows[0].mean.estimate == 0.5
    assert compare(records, "acc").rows[0].mean.estimate == pytest.approx(0.7)


def test_tuning_runs_are_counted_only():
    records = THREE + arm("none", [0.0] * 5, role="tune", tuned={"rate": 0.1})
    comparison = compare(records)
    assert comparison.rows == compare(THREE).rows
    assert (comparison.runs, comparison.tuning_runs) == (15, 5)


def test_runs_of_an_earlier_choice_do_not_mix_with_later_ones():
    records = arm("none", NONE) + arm("b", BAD, tuned={"rate": 1.0}) + arm("b", GOOD[:3], tuned={"rate": 0.1})
    comparison = compare(records)
    row = row_of(comparison, "b")
    assert (list(row.values.values()), row.tuned, comparison.superseded) == (GOOD[:3], {"rate": 0.1}, 5)
    assert "5 runs with values of an earlier choice left out." in comparison.to_markdown()


def test_a_repeated_run_counts_once():
    comparison = compare([failed("none", 0), *arm("none", NONE), *arm("b", GOOD)])
    assert comparison.failures == {}
    assert comparison.runs == 10


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"`baseline` should be one of 'none', 'good', 'bad'\. Received: baseline='x'"):
        compare(THREE, baseline="x")
    with pytest.raises(ValueError, match="`metric` should be one of 'loss', 'val_task_loss'"):
        compare(THREE, "acc")
    with pytest.raises(ValueError, match='runs of role "report". Received: [0-9]+ runs that choose values'):
        compare(arm("none", NONE, role="tune"))
    with pytest.raises(ValueError, match="Did you mean 0.95"):
        compare(THREE, confidence=0.05)
    with pytest.raises(ValueError, match="`margin` should be above 0"):
        compare(THREE, margin=0)
    with pytest.raises(ValueError, match="`epoch` should be one of 'last', 'best'"):
        compare(THREE, epoch="first")
    with pytest.raises(TypeError, match="`lower_is_better` should be True, False or None"):
        compare(THREE, lower_is_better=1)


def test_pairwise_signs_read_from_the_row():
    (table,) = pairwise_table(THREE)
    assert {(a, b): table.sign(a, b) for a in table.names for b in table.names if table.sign(a, b)} == {
        ("none", "good"): "-", ("good", "none"): "+", ("none", "bad"): "+", ("bad", "none"): "-",
        ("good", "bad"): "+", ("bad", "good"): "-",
    }  # fmt: skip
    (flipped,) = pairwise_table(THREE, lower_is_better=False)
    assert flipped.sign("bad", "none") == "+"
    lines = table.to_markdown().splitlines()
    assert lines[0] == "**Each two arms: val\\_task\\_loss, paired t tests at 0.01, adjusted by Holm**".replace(
        "\\", ""
    )
    assert lines[4:7] == ["| none |  | - | + |", "| good | + |  | + |", "| bad | - | - |  |"]


def test_pairwise_by_welch_is_that_of_scipy():
    (table,) = pairwise_table(THREE, paired=False, adjust=None)
    for (a, b), result in table.results.items():
        values = {"none": NONE, "good": GOOD, "bad": BAD}
        assert result.p == pytest.approx(scipy_stats.ttest_ind(values[a], values[b], equal_var=False).pvalue)
        assert result.p_adjusted is None
    assert table.sign("good", "none") == ""  # without the pairs the difference is not shown at 0.01
    assert "Welch t tests at 0.01, not adjusted" in table.to_markdown()
    adjusted = pairwise_table(THREE, paired=False)[0].results
    assert [r.p_adjusted for r in adjusted.values()] == list(holm([r.p for r in table.results.values()]))


def test_pairwise_takes_the_pairs_that_each_two_arms_have():
    (table,) = pairwise_table(arm("a", NONE) + arm("b", GOOD[:3]) + [failed("b", 4)] + arm("c", BAD))
    assert [result.n for result in table.results.values()] == [3, 5, 3]
    assert "1 of 14 runs did not finish (1 diverged) and is left out" in table.to_markdown()


def test_stars_are_of_a_one_tailed_test():
    table = starred_table(THREE, adjust=None)
    for name, values in (("good", GOOD), ("bad", BAD)):
        expected = scipy_stats.ttest_rel(values, NONE, alternative="less").pvalue
        assert table.tests[0][name].p == pytest.approx(expected)
    assert (table.stars(0, "good"), table.stars(0, "bad")) == ("***", "")
    assert starred_table(THREE, lower_is_better=False).stars(0, "bad") == "***"
    text = table.to_markdown()
    assert "| none | good | bad |" in text
    assert r"| 0.3220 | 0.2900\*\*\* | 0.4160 |" in text
    assert "one-sided paired t tests that the arm is better (lower) than none, not adjusted." in text
    assert "adjusted by Holm over the arms at one point" in starred_table(THREE).to_markdown()


def test_stars_have_limits():
    differences = np.array([-0.02, -0.01, -0.03, 0.0, -0.02])
    for scale, stars in ((0.0, "*"), (-0.02, "**"), (-0.2, "***"), (0.2, "")):
        values = list(np.add(NONE, differences + scale))
        p = scipy_stats.ttest_rel(values, NONE, alternative="less").pvalue
        table = starred_table(arm("none", NONE) + arm("b", values))
        assert table.stars(0, "b") == stars, p


def test_starred_table_has_a_row_for_each_point():
    records = [r for w in (8, 4) for a, v in (("none", NONE), ("b", GOOD)) for r in arm(a, v, point={"width": w})]
    lines = starred_table([*records, failed("b", 9, "died", point={"width": 4})]).to_markdown().splitlines()
    assert [line.split(" | ")[0] for line in lines[2:6]] == ["| width", "| ---", "| 4", "| 8"]
    assert "1 of 21 runs did not finish (1 died) and is left out." in lines
