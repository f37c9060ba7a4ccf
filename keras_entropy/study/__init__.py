"""Replicated studies: arms times seeds, run side by side, recorded one by one, compared honestly."""

from keras_entropy.regularizers import SoftOrthogonality
from keras_entropy.runs.pool import JobError, environment
from keras_entropy.runs.records import RunRecord, read_records
from keras_entropy.study.arm_groups import failure_counts
from keras_entropy.study.arms import Arm, control_arms
from keras_entropy.study.comparison import compare
from keras_entropy.study.controls import Constant
from keras_entropy.study.results import ArmResult, Comparison
from keras_entropy.study.significance_tables import PairwiseTable, StarredTable, pairwise_table, starred_table
from keras_entropy.study.single_run import fingerprint
from keras_entropy.study.study import Study
from keras_entropy.study.study_plan import PlannedArm, StudyPlan
from keras_entropy.study.study_result import StudyResult, read_study, report
from keras_entropy.study.variance_covariance import VarianceCovariance
from keras_entropy.study.view_controls import BarlowTwins, VICReg

__all__ = [
    "Arm",
    "ArmResult",
    "BarlowTwins",
    "Comparison",
    "Constant",
    "JobError",
    "PairwiseTable",
    "PlannedArm",
    "RunRecord",
    "SoftOrthogonality",
    "StarredTable",
    "Study",
    "StudyPlan",
    "StudyResult",
    "VICReg",
    "VarianceCovariance",
    "compare",
    "control_arms",
    "environment",
    "failure_counts",
    "fingerprint",
    "pairwise_table",
    "read_records",
    "read_study",
    "report",
    "starred_table",
]
