"""Do larger networks generalize because more of their parameter space does? A small version of (Zhang, 2021, fig. 3).

    python examples/07_parameter_space_entropy.py [FOLDER] [--sets 6] [--moves 2e7]

For each data set of two spirals and each network (3 hidden layers of 6 units, one more layer, two more units) the
script estimates the entropy of all parameters that classify every training point correctly, and their mean test
accuracy: that of a network which is not trained, but drawn at random from all that fit the data. Networks are compared
by pairs of data sets, because data sets differ far more than networks do. FOLDER gets a figure.
"""

import argparse
import textwrap
import time
from pathlib import Path

from keras_entropy import datasets, stats
from keras_entropy.landscape import density_of_states, network_problem

NETWORKS = {"3 x 6": (3, 6), "4 x 6": (4, 6), "3 x 8": (3, 8)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default="runs/parameter_space")
    parser.add_argument("--sets", type=int, default=6)
    parser.add_argument("--moves", type=float, default=2e7)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    entropies, accuracies = ({name: [] for name in NETWORKS} for _ in range(2))
    begin = time.perf_counter()
    print("data set  " + "".join(f"{name:>28s}" for name in NETWORKS))
    for seed in range(arguments.sets):
        data, cells = datasets.spirals(seed=seed), []
        for name, shape in NETWORKS.items():
            found = density_of_states(network_problem(*shape, data), "train_accuracy", arguments.moves, seed)
            mean, error, _ = found.conditional_mean("test_accuracy")
            entropies[name].append(found.entropy[-1])
            accuracies[name].append(mean[-1])
            doubt = "" if found.converged else " ?"
            cells.append(f"S {found.entropy[-1]:6.1f}, A {mean[-1]:.3f} +- {error[-1]:.3f}{doubt}")
            if seed == 0 and name == "3 x 6":
                found.plot("test_accuracy", arguments.folder / "density_of_states.png")
        print(f"{seed:8d}  " + "".join(f"{cell:>28s}" for cell in cells), flush=True)
    print("\nS: entropy of a training accuracy of 1, nats; A: its mean test accuracy; ?: not converged")
    for name in ("4 x 6", "3 x 8") if arguments.sets > 1 else ():
        more = stats.paired_t(entropies[name], entropies["3 x 6"])
        say(f"{name} minus 3 x 6: S {more.estimate:+.2f} nats (95 % interval {more.low:.2f} to {more.high:.2f})")
        better = stats.paired_t(accuracies[name], accuracies["3 x 6"])
        say(f"mean test accuracy: {better.sentence(name, '3 x 6', lower_is_better=False, unit='data sets')}.")
    print(f"{time.perf_counter() - begin:.0f} s. {arguments.folder / 'density_of_states.png'}")


def say(text):
    print(textwrap.fill(text, 110, initial_indent="  ", subsequent_indent="    "))


if __name__ == "__main__":
    main()
