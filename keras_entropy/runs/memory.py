"""Collections that look at what is new only."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def set_aside() -> Iterator[None]:
    """What is alive now is not looked through by the collections within the block.

    Each run of a study or a search ends with a collection, which frees its compiled steps. TensorFlow's own objects, a
    million of them, would make it take longer than some epochs.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def free() -> None:
    """Free what a training has left behind.

    Once does not do on TensorFlow: objects that the first collection ends held others, in C++, where no collection
    sees them. These are garbage only then.
    """
    gc.collect()
    gc.collect()
