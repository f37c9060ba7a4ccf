"""A read-only mapping for the results of the public API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")
Value_co = TypeVar("Value_co", covariant=True)


class FrozenDict(Mapping[Key, Value_co], Generic[Key, Value_co]):
    """A mapping that cannot be changed; it can be hashed (if its values can), copied and pickled.

    Args:
        items: Mapping, or iterable of (key, value) pairs. Defaults to no items.

    Examples:
        >>> from keras_entropy._frozen import FrozenDict
        >>> FrozenDict({"factor": 0.01})["factor"]
        0.01
        >>> FrozenDict({"factor": 0.01}) == {"factor": 0.01}
        True
    """

    __slots__ = ("_items",)
    _items: dict[Key, Value_co]

    def __init__(self, items: Mapping[Key, Value_co] | Iterable[tuple[Key, Value_co]] = ()) -> None:
        object.__setattr__(self, "_items", dict(items))

    def __getitem__(self, key: Key) -> Value_co:
        return self._items[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"A {type(self).__name__} is read-only. Make a dict of it to change its items.")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self._items),)
