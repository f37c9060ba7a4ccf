"""The figures and tables of the papers, trained again and compared with an analysis of our own.

Sources:
    Meni, White, Mayo, Pilkiewicz (2023): Entropy-based guidance of deep neural networks for accelerated convergence
        and improved performance.
    Zhang (2021): Correlation between entropy and generalizability in a neural network.
"""

from reproduction.entries import Entry, Outcome, Settings, entry, names

__all__ = ["Entry", "Outcome", "Settings", "entry", "names"]
