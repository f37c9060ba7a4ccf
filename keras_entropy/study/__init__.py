"""Replicated studies: arms times seeds, run side by side, recorded one by one, compared honestly."""

from keras_entropy.study.arms import Arm, control_arms
from keras_entropy.study.comparison import ArmResult, Comparison, compare
from keras_entropy.study.controls import Constant
from keras_entropy.study.pool import JobError, environment
from keras_entropy.study.records import RunRecord, read_records
from keras_entropy.study.report_files import report
from keras_entropy.study.significance_tables import PairwiseTable, StarredTable, pairwise_table, starred_table
from keras_entropy.study.single_run import fingerprint
from keras_entropy.study.study import Study

__all__ = [
    "Arm",
    "ArmResult",
    "Comparison",
    "Constant",
    "JobError",
    "PairwiseTable",
    "RunRecord",
    "StarredTable",
    "Study",
    "compare",
    "control_arms",
    "environment",
    "fingerprint",
    "pairwise_table",
    "read_records",
    "report",
    "starred_table",
]
