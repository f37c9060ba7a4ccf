"""Everything that needs no extra, used once: `python tests/core_smoke.py` after `pip install "keras-entropy[jax]"`.

Without arguments the script demands an environment in which no other extra is installed. Prints a line for each step.
"""

import importlib.util
import math
import os
import sys
import tempfile
from pathlib import Path

BACKENDS = ("tensorflow", "jax", "torch")
PARTS = (
    "matplotlib", "tensorboard", "sklearn", "tensorflow_datasets", "PIL", "typer", "loky", "cloudpickle", "filelock",
    "pandas", "keras_tuner", "distributed", "numba",
)  # fmt: skip


def check_environment() -> None:
    """Only one backend is installed, and no package that an extra brings."""
    others = [name for name in BACKENDS if name != os.environ.get("KERAS_BACKEND", "tensorflow")]
    brought = {"torch": {"filelock"}}.get(os.environ.get("KERAS_BACKEND", ""), set())  # by the backend itself
    installed = [name for name in (*others, *PARTS) if name not in brought and importlib.util.find_spec(name)]
    if installed:
        raise SystemExit(f"This environment should hold no optional package. Found: {', '.join(installed)}.")


def classifier(keras, entropy):
    """A model with every kernel term, activation term and layer."""
    layers = keras.layers
    with_conv_terms = entropy.SumRegularizer([entropy.ConvEntropy(1e-3), entropy.TotalCorrelation(1e-3)])
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, kernel_regularizer=entropy.ConvCornerEntropy(1e-3), name="corner"),
            entropy.EntropyActivation("leaky_relu", factor=1e-3),
            layers.Conv2D(4, 3, kernel_regularizer=with_conv_terms, name="conv"),
            layers.Flatten(),
            layers.Dense(
                8,
                activation="tanh",
                kernel_regularizer=entropy.DenseEntropy(1e-3),
                activity_regularizer=entropy.ActivationEntropy("tanh", 1e-3),
                name="dense",
            ),
            entropy.RepresentationEntropy(1e-3),
            entropy.DualDense(6, decision_weight=1e-3),
            layers.Dense(3, name="logits"),
        ]
    )


def losses(entropy):
    """Every loss, and the labels that it takes."""
    import numpy as np

    labels = np.arange(24) % 3
    partly = np.where(np.arange(24) % 2, labels, -1)
    return [
        (entropy.SemiSupervisedCrossentropy(0.1), partly),
        (entropy.SoftmaxEntropy(), labels),
        (entropy.SigmoidEntropy(), labels),
    ]


def run(folder: Path, show=print) -> None:
    """Train, watch, profile, attach, save and load; raise an error if a step fails."""
    import keras
    import numpy as np

    import keras_entropy as entropy
    from keras_entropy import datasets, functional, models, profile

    x = np.random.default_rng(0).normal(size=(24, 8, 8, 1)).astype("float32")
    for loss, labels in losses(entropy):
        model = classifier(keras, entropy)
        model.compile("adam", loss)
        logger = entropy.EntropyLogger(sample=x)
        schedule = entropy.FactorSchedule(lambda epoch: 0.5**epoch)
        history = model.fit(
            x, labels, epochs=2, verbose=0, validation_data=(x, labels), callbacks=[logger, schedule]
        ).history
        missing = {"entropy/corner", "entropy/dense", "task_loss", "val_task_loss", "entropy_penalty"} - set(history)
        if missing or not all(math.isfinite(value) for values in history.values() for value in values):
            raise SystemExit(f"The history should hold finite values of each layer. Received: {history}")
        show(f"trained with {type(loss).__name__}: {len(history)} values in each epoch")

    measured = {measure: entropy.entropy_profile(model, measure) for measure in profile.MEASURES}
    for measure, found in measured.items():
        found.save(folder / f"{measure}.json")
        reloaded = entropy.EntropyProfile.load(folder / f"{measure}.json")
        if str(reloaded) != str(found) or not str(found.compare(entropy.entropy_profile(model, measure, randomize=0))):
            raise SystemExit(f"The profile {measure!r} changed in its file: {found}\n{reloaded}")
        show(f"profiled by {measure!r}: {len(found.measured)} weights")

    plain = models.cnn((8, 8, 1), classes=3, filters=[4])
    plain.compile("adam", "sparse_categorical_crossentropy")
    for placement, term in (("first", entropy.ConvEntropy(1e-3)), ("all", keras.regularizers.L2(1e-4))):
        chosen = entropy.resolve_placement(plain, placement)
        attachment = entropy.apply_entropy(plain, placement, term)
        plain.fit(x, labels, verbose=0)
        attachment.remove()
        show(f"attached to {placement!r}: {len(chosen)} layers")

    model.save(folder / "model.keras")
    loaded = keras.saving.load_model(folder / "model.keras")
    np.testing.assert_allclose(loaded.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    safely = models.load_model(folder / "model.keras")
    np.testing.assert_array_equal(safely.predict(x, verbose=0), loaded.predict(x, verbose=0))
    show(f"saved and loaded: {len(loaded.losses)} terms")

    views = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(8)])
    views.add(keras.layers.Reshape((2, 4)))
    views.compile("sgd", entropy.ViewEntropy())
    views.fit(x, labels, verbose=0)
    regressor = entropy.CorrelatedRegressor(
        keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)]), outputs=2
    )
    regressor.compile("sgd")
    regressor.fit(x, x[:, 0, :2, 0], verbose=0)
    show(f"views, and noise with the covariance {regressor.noise_covariance().round(2).tolist()}")

    spirals = datasets.spirals(seed=0)
    bits = functional.sigmoid_entropy(keras.ops.convert_to_tensor(spirals.x_train))
    show(f"spirals {spirals.x_train.shape}: {float(keras.ops.mean(bits)):.3f} bits")


if __name__ == "__main__":
    check_environment()
    with tempfile.TemporaryDirectory() as name:
        run(Path(name))
    sys.stdout.write("core: ok\n")
