"""Compiled functions that evaluate the observables of small models after a change of one parameter.

Every module of this package needs Numba.
"""

from keras_entropy import _optional

_optional.require("numba", extra="landscape")
