"""Replicated studies: arms times seeds, run side by side, recorded one by one, compared honestly."""

from keras_entropy.study.arms import Arm, control_arms
from keras_entropy.study.controls import WithoutGradient
from keras_entropy.study.pool import environment
from keras_entropy.study.records import RunRecord, read_records
from keras_entropy.study.study import Study

__all__ = ["Arm", "RunRecord", "Study", "WithoutGradient", "control_arms", "environment", "read_records"]
