"""Numbers that source A prints, as data.

Sources:
    [A] Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks".
"""

from __future__ import annotations

WIDTHS = (20, 60, 100, 140, 180, 220, 260)
FACTORS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
ARCHITECTURES = ("32", "64", "128", "32 32", "64 64", "128 128", "32 32 32", "64 64 64", "128 128 128")

SIGNS = {
    # Of lambda_11 (rows, from 0 to 10) against lambda_12 (columns): + where it is significantly higher.
    # The printed table of figure 3 lacks the column of 10, and has a sign on its diagonal.
    "a-fig3": (
        ("-", "-", "-", "-", "-", "-"),
        ("+", "-", "-", "-", "-", "-"),
        ("+", "+", "-", "-", "-", "-"),
        ("+", "+", "+", "-", "-", "-"),
        ("+", "+", "+", "-", "-", "-"),
        ("+", "+", "+", "-", "-", "-"),
        ("+", "+", "+", "-", "-", "-"),
    ),
    "a-fig4": (
        ("", "+", "+", "+", "+", "+", "+"),
        ("-", "", "+", "+", "+", "+", "+"),
        ("-", "-", "", "+", "+", "+", "+"),
        ("-", "-", "-", "", "", "", ""),
        ("-", "-", "-", "-", "", "", ""),
        ("-", "-", "-", "-", "-", "", ""),
        ("-", "-", "-", "-", "-", "-", ""),
    ),
    "a-fig5": (
        ("", "", "", "-", "-", "-", "-"),
        ("", "", "", "-", "-", "-", "-"),
        ("", "", "", "-", "-", "-", "-"),
        ("+", "+", "+", "", "", "", ""),
        ("+", "+", "+", "", "", "", ""),
        ("+", "+", "+", "", "", "", ""),
        ("+", "+", "+", "", "", "", ""),
    ),
    "a-fig6": (
        ("", "+", "+", "+", "+", "+", "+"),
        ("-", "", "+", "+", "+", "+", "+"),
        ("-", "-", "", "+", "+", "+", "+"),
        ("-", "-", "-", "", "+", "+", "+"),
        ("-", "-", "-", "", "", "", ""),
        ("-", "-", "-", "", "", "", ""),
        ("-", "-", "-", "", "", "", ""),
    ),
}

SIGN_WIDTHS = {
    "a-fig3": "80, which is not among its widths",
    "a-fig4": "180",
    "a-fig5": "80 by its caption and 200 by its text, neither among its widths",
    "a-fig6": "80, which is not among its widths",
}

CLAIMS = {
    "a-fig3": "MNIST: as the width grows, the validation MSE splits into two groups, near 0.003 for small lambda and "
    "near 0.010 for larger; both are exceptionally small.",
    "a-fig4": "MNIST: over 40 epochs for lambda = 0 in the larger models and only 8 to 10 for lambda of at least 1e-4: "
    "80 % fewer training epochs, for a marginally higher MSE.",
    "a-fig5": "CIFAR-10: as the width grows, the validation MSE splits into two groups, lower for lambda of at most "
    "0.001 and marginally higher from 0.01 on.",
    "a-fig6": "CIFAR-10: 8 to 10 epochs for lambda of at least 0.01, and more than twice as many for lambda = 0.",
    "a-table1": "CIFAR-10: with the best lambda on the first layer the mean validation accuracy of each of nine CNNs "
    "rises by 0.5 to 1.1 points, significantly at 0.05; on all layers there is no significant gain.",
}

# By architecture: base training and validation accuracy, gain of each, and p of the gain in validation accuracy.
TABLE_1 = {
    "32": (0.7387, 0.6402, 0.0015, 0.0052, 0.0035),
    "64": (0.7612, 0.6452, 0.0031, 0.0077, 0.0155),
    "128": (0.7736, 0.6479, 0.0076, 0.0074, 0.0016),
    "32 32": (0.7444, 0.6745, 0.0081, 0.0076, 0.0043),
    "64 64": (0.7924, 0.6954, 0.0065, 0.0052, 0.0065),
    "128 128": (0.8447, 0.7061, -0.0087, 0.0063, 0.0210),
    "32 32 32": (0.7441, 0.6789, 0.0125, 0.0114, 0.0004),
    "64 64 64": (0.8152, 0.7026, 0.0054, 0.0064, 0.0130),
    "128 128 128": (0.8890, 0.7098, 0.0041, 0.0053, 0.0151),
}
