"""Reader of the numbers that the papers print. They stand in `papers/`, each with its source."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "papers"


@functools.cache
def _paper(name: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def meni(place: str) -> dict[str, Any]:
    """Numbers of Meni et al. (2023).

    Args:
        place: Name of a figure or table, such as "a-table1", or of another block of `papers/meni_2023.toml`.

    Examples:
        >>> from reproduction import paper_numbers
        >>> paper_numbers.meni("a-table1")["architectures"]["32"]["validation"]
        0.6402
    """
    return dict(_paper("meni_2023")[place])


def zhang(place: str) -> dict[str, Any]:
    """Numbers of Zhang (2021).

    Args:
        place: Name of a block of `papers/zhang_2021.toml`, such as "table1".
    """
    return dict(_paper("zhang_2021")[place])
