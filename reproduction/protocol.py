"""What a run has less of than the paper's, found by comparing two protocols field by field."""

from __future__ import annotations

import dataclasses
from typing import Any

from keras_entropy.study.arm_groups import text


def scaled(words: str, *, ours: bool = False) -> Any:
    """A field of a protocol.

    Args:
        words: what it is.
        ours: True where the paper does not say it.
    """
    return dataclasses.field(metadata={"words": words, "ours": ours})


def less(own: Any, full: Any) -> tuple[str, ...]:
    """Where a protocol is not the full one, each a sentence."""
    found = []
    for field in dataclasses.fields(full):
        value, whole = getattr(own, field.name), getattr(full, field.name)
        if value != whole:
            note = " (not said by the paper)" if field.metadata["ours"] else ""
            found.append(f"{field.metadata['words']}: {in_words(value)}, not {in_words(whole)}{note}.")
    return tuple(found)


def choices(protocol: Any) -> str:
    """What the paper does not say, in one sentence."""
    parts = [
        f"{_small(field.metadata['words'])} {in_words(getattr(protocol, field.name))}"
        for field in dataclasses.fields(protocol)
        if field.metadata["ours"]
    ]
    return f"Not said by the paper, and chosen here: {'; '.join(parts)}."


def _small(words: str) -> str:
    """The words as they stand within a sentence."""
    return words[:1].lower() + words[1:]


def in_words(value: Any) -> str:
    """A value of a protocol."""
    if isinstance(value, tuple):
        return "; ".join(map(in_words, value)) if value else "none"
    if isinstance(value, str) and value[:1].isdigit():
        return f"[{', '.join(value.split())}]"  # the filters of the blocks of a network
    return "all" if value is None else text(value)
