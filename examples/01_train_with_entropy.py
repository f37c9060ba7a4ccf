"""Train a small CNN on the handwritten digits with and without an entropy term on its first layer."""

import keras

from keras_entropy import ConvCornerEntropy, EntropyLogger, datasets

EPOCHS = 5
x_train, y_train, x_test, y_test = datasets.digits()


def train(regularizer):
    keras.utils.set_random_seed(0)  # both runs have the same initial weights and batches
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(32, 3, activation="leaky_relu", kernel_regularizer=regularizer, name="conv"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax", name="head"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    logger = EntropyLogger()
    return model.fit(
        x_train, y_train, epochs=EPOCHS, validation_data=(x_test, y_test), callbacks=[logger], verbose=0
    ).history


for name, regularizer in {"baseline": None, "corner 1e-2": ConvCornerEntropy(1e-2)}.items():
    history = train(regularizer)
    print(
        f"{name:12}",
        *(f"{key} {history[key][-1]:.4f}" for key in ("entropy/conv", "val_task_loss", "val_accuracy")),
    )
