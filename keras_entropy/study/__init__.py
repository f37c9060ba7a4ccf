"""Replicated studies: arms times seeds, run side by side, recorded one by one, compared honestly."""

from keras_entropy.study.arms import Arm, control_arms
from keras_entropy.study.comparison import StudyComparison, compare
from keras_entropy.study.controls import Constant
from keras_entropy.study.pool import JobError, environment
from keras_entropy.study.records import RunRecord, read_records
from keras_entropy.study.report_files import report
from keras_entropy.study.significance_tables import pairwise_table, starred_table
from keras_entropy.study.study import Study

__all__ = [
    "Arm",
    "Constant",
    "JobError",
    "RunRecord",
    "Study",
    "StudyComparison",
    "compare",
    "control_arms",
    "environment",
    "pairwise_table",
    "read_records",
    "report",
    "starred_table",
]
