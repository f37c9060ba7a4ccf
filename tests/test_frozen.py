import copy
import pickle

import pytest

from keras_entropy._frozen import FrozenDict

pytestmark = pytest.mark.once


def test_it_reads_as_a_dict():
    found = FrozenDict({"b": 1, "a": 2})
    assert found == {"a": 2, "b": 1}
    assert list(found) == ["b", "a"]
    assert repr(found) == "{'b': 1, 'a': 2}"
    assert FrozenDict([("a", 2), ("b", 1)]) == found
    assert len(FrozenDict()) == 0


def test_it_cannot_be_changed():
    given = {"a": 1}
    found = FrozenDict(given)
    given["a"] = 2
    assert found["a"] == 1
    with pytest.raises(TypeError):
        found["a"] = 2
    with pytest.raises(TypeError):
        del found["a"]
    with pytest.raises(AttributeError, match="read-only"):
        found._items = {}
    with pytest.raises(AttributeError, match="read-only"):
        found.other = 1


def test_it_is_hashed_copied_and_pickled():
    found = FrozenDict({"a": 1, "b": (2, 3)})
    assert hash(found) == hash(FrozenDict({"b": (2, 3), "a": 1}))
    for other in (copy.copy(found), copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert other == found
        assert type(other) is FrozenDict
