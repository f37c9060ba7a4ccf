"""The profile of a trained network chooses the layers of a new network that get an entropy term.

    python examples/04_profile_and_place.py [FIGURE] [--weights squeezenet_v1.1.npz --images imagenette]

With --weights (converted weights of SqueezeNet trained on ImageNet) and --images (a folder of images in
`train/<class>/` and `test/<class>/`) it follows Meni et al. (2023), figure 7: find the layers that keep entropy in a
network trained on one task, and reward entropy there on another task. Without these options, a small CNN trained on
even digits chooses the layers of one for all ten digits. One run shows how to do it; whether it helps takes many seeds.

The figure has a panel for the trained network, for the new one before training and for the new one after it. Boxes are
the values of a layer. What to see: from the second to the third panel, the boxes of the layers with the term rise.
"""

import argparse

import keras
import numpy as np

from keras_entropy import ConvCornerEntropy, EntropyLogger, apply_entropy, datasets, entropy_profile, models, plots


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", nargs="?", default="profile_and_place.png")
    parser.add_argument("--weights", help="an .npz file of converted weights")
    parser.add_argument("--images", help="a folder of images")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--factor", type=float, default=1e-2)
    parser.add_argument("--top", type=int, default=3, help="how many layers get the term")
    arguments = parser.parse_args()
    keras.utils.set_random_seed(0)
    if arguments.weights and arguments.images:
        trained, model, data = squeezenets(arguments.weights, arguments.images)
    else:
        trained, model, data = small_networks()
    x_train, y_train, x_test, y_test = data

    reference = entropy_profile(trained, "corner")
    print(reference.compare(entropy_profile(trained, "corner", randomize=0)))
    before = entropy_profile(model, "corner")
    guided = apply_entropy(model, "empirical", ConvCornerEntropy(arguments.factor), reference, top=arguments.top)
    print(f"Layers with the term: {', '.join(guided)}")

    model.compile(keras.optimizers.Adam(3e-4), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(
        x_train,
        y_train,
        batch_size=32,
        epochs=arguments.epochs,
        validation_data=(x_test, y_test),
        verbose=2,
        callbacks=[EntropyLogger()],
    ).history
    after = entropy_profile(model, "corner")
    for path in guided:
        print(f"{path}: {before[path].mean:.3f} -> {after[path].mean:.3f} nats per filter")
    print(f"Task loss {history['val_task_loss'][-1]:.3f}, accuracy {history['val_accuracy'][-1]:.3f} on test images")
    panels = [("trained network: where entropy is kept", reference), ("fresh network", before), ("guided", after)]
    plots.entropy_panels([(title, profile.measured) for title, profile in panels]).savefig(arguments.figure, dpi=80)
    print(f"Figure: {arguments.figure}")


def squeezenets(weights, folder):
    """A network trained on ImageNet, and a new one for the classes of the folder."""
    x_train, y_train, x_test, y_test = datasets.image_folder(folder, (96, 96))
    classes = len(np.unique(y_train))
    data = models.squeezenet_input(255 * x_train), y_train, models.squeezenet_input(255 * x_test), y_test
    return models.squeezenet(weights=weights), models.squeezenet((96, 96, 3), classes), data


def small_networks():
    """A network trained on the even digits, and a new one for all ten."""
    x_train, y_train, x_test, y_test = datasets.digits()
    even = y_train % 2 == 0
    trained = models.cnn(x_train.shape[1:], classes=10, filters=(16, 32))
    trained.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    trained.fit(x_train[even], y_train[even], epochs=10, verbose=0)
    return trained, models.cnn(x_train.shape[1:], classes=10, filters=(16, 32)), (x_train, y_train, x_test, y_test)


if __name__ == "__main__":
    main()
