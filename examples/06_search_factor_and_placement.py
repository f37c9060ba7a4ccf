"""Search for the factor and the placement of an entropy term, and evaluate the best setting on held-out seeds.

    python examples/06_search_factor_and_placement.py [FOLDER] [--tuner random] [--max-trials 6] [--workers 1]

The model is a small CNN on the handwritten digits of scikit-learn. Its learning rate is tuned together with the term.
The baseline, the model without a term, and soft orthogonality have as many trials. If the program is killed, start it
again: it resumes. With --workers 2, two processes search.
"""

import argparse
from pathlib import Path

import keras

from keras_entropy import ConvCornerEntropy, ConvEntropy, datasets, models
from keras_entropy.tuning import EntropyHyperModel, search


def build(hp):
    model = models.cnn((8, 8, 1), classes=10, filters=(16, 16))
    rate = hp.Float("learning_rate", 3e-4, 3e-2, sampling="log")
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default="runs/search_example")
    parser.add_argument("--tuner", default="random", choices=["random", "grid", "bayesian", "hyperband"])
    parser.add_argument("--max-trials", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--holdout-seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    result = search(
        EntropyHyperModel(build, [ConvCornerEntropy, ConvEntropy], placements=["first", "all"], factors=(1e-4, 1e-1)),
        tuple(datasets.digits()),
        objective="val_accuracy",
        tuner=arguments.tuner,
        max_trials=arguments.max_trials,
        epochs=arguments.epochs,
        seeds=arguments.seeds,
        holdout_seeds=arguments.holdout_seeds,
        workers=arguments.workers,
        output=arguments.folder,
    )
    print(result)
    for contender in result.contenders:
        print(f"{contender.name}: {contender.score:.4f} in the search, {contender.holdout_mean:.4f} on held-out seeds")
    weights = result.best_model().count_params()
    print(f"The winner, {result.winner}, has {weights} weights and is in {result.output}/best_model.keras")
    print(f"Files: {result.output}/trials.csv, search.png, result.json; tensorboard --logdir {result.output}/logs")


if __name__ == "__main__":
    main()
