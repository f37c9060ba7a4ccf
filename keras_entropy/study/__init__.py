"""Replicated studies: arms times seeds, run side by side, recorded one by one, compared honestly."""

from keras_entropy.study.records import RunRecord, read_records

__all__ = ["RunRecord", "read_records"]
