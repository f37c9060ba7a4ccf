"""Log every layer's entropy while an autoencoder trains with a warm-up of its entropy term; write TensorBoard logs."""

import sys

import keras

from keras_entropy import DenseEntropy, EntropyLogger, FactorSchedule, apply_entropy, datasets, models, plots

log_dir = sys.argv[1] if len(sys.argv) > 1 else "runs/watch"
x_train, _, x_test, _ = datasets.digits()

keras.utils.set_random_seed(0)
model = models.autoencoder(x_train.shape[1:], width=20)
apply_entropy(model, "first", DenseEntropy(1e-3))
model.compile("adam", "mse")
history = model.fit(
    x_train,
    x_train,
    epochs=10,
    validation_data=(x_test, x_test),
    verbose=0,
    callbacks=[
        FactorSchedule(lambda epoch: min(1.0, epoch / 5)),
        EntropyLogger(log_dir=log_dir),
        keras.callbacks.EarlyStopping("val_task_loss", mode="min", patience=3),
    ],
).history

columns = [history[name] for name in ("entropy/encoder", "entropy/decoder", "val_task_loss")]
for epoch, row in enumerate(zip(*columns, strict=True)):
    print("epoch {:2}: encoder {:.3f}, decoder {:.3f} nats per dimension, val MSE {:.4f}".format(epoch + 1, *row))
plots.entropy_history(history).savefig(f"{log_dir}/entropy.png")
print(f"See {log_dir}/entropy.png, or run: tensorboard --logdir {log_dir}")
