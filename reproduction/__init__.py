"""The figures and tables of source A, run again, with the paper's numbers and a corrected analysis beside them."""

from reproduction.entries import Entry, Outcome, Settings, entry, names
from reproduction.page import reproduce

__all__ = ["Entry", "Outcome", "Settings", "entry", "names", "reproduce"]
