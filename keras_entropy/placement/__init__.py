"""Where in a model an entropy term goes, and putting it there, also in a model that is already built.

Sources:
    [A] Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks".
"""

from keras_entropy.placement.attachment import Attachment, apply_entropy
from keras_entropy.placement.rules import resolve_placement

__all__ = ["Attachment", "apply_entropy", "resolve_placement"]
