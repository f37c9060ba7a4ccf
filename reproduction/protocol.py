"""Protocols: the settings of an experiment, at the paper's scale and at a small one, and their differences."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from reproduction.entries import Settings

P = TypeVar("P")


def parameter(label: str, *, ours: bool = False) -> Any:
    """A field of a protocol.

    Args:
        label: Its name in sentences.
        ours: Boolean, True if the paper does not say the value. Defaults to False.
    """
    return dataclasses.field(metadata={"label": label, "ours": ours})


def select(settings: Settings, small: P, full: P) -> P:
    """The protocol of the scale in the settings, with their number of seeds."""
    chosen: Any = full if settings.scale == "full" else small
    selected: P = dataclasses.replace(chosen, seeds=settings.seeds or chosen.seeds)
    return selected


def differences(own: Any, full: Any) -> tuple[str, ...]:
    """Sentences that say in which parameters a protocol differs from the full one."""
    found = []
    for field in dataclasses.fields(full):
        value, whole = getattr(own, field.name), getattr(full, field.name)
        if value != whole:
            note = " (our choice; the paper does not say it)" if field.metadata["ours"] else ""
            found.append(f"{field.metadata['label']}: {in_words(value)}, not {in_words(whole)}{note}.")
    return tuple(found)


def own_choices(protocol: Any) -> str:
    """One sentence with the values that the paper does not say."""
    parts = []
    for field in dataclasses.fields(protocol):
        if field.metadata["ours"]:
            label = field.metadata["label"]
            parts.append(f"{label[:1].lower()}{label[1:]} {in_words(getattr(protocol, field.name))}")
    return f"Our choices, which the paper leaves open: {'; '.join(parts)}."


def in_words(value: Any) -> str:
    """A value of a protocol: a number, a name, the filters of a network such as "32 32", or a tuple of these."""
    if isinstance(value, tuple):
        return "; ".join(map(in_words, value)) if value else "none"
    if isinstance(value, str) and value[:1].isdigit():
        return f"[{', '.join(value.split())}]"
    if isinstance(value, float):
        return f"{value:g}"
    return "all" if value is None else str(value)
