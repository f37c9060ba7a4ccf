"""Where in a model an entropy term goes, and putting it there, also in a model that is already built."""

from keras_entropy.placement.attachment import Attachment, apply_entropy
from keras_entropy.placement.resolution import resolve_placement

__all__ = ["Attachment", "apply_entropy", "resolve_placement"]
