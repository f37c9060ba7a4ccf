"""The profile on whole architectures: all of keras.applications' families, a U-Net, a vision transformer, an LSTM."""

import keras
import numpy as np
import pytest

from keras_entropy import entropy_profile, models, resolve_placement

L = keras.layers
NAMES = [
    "VGG16", "ResNet50", "MobileNet", "MobileNetV3Small", "DenseNet121", "EfficientNetB0", "InceptionV3", "Xception",
    "ConvNeXtTiny", "NASNetMobile",
]  # fmt: skip
QUICK = {"VGG16", "MobileNetV3Small", "NASNetMobile"}
"""The architectures that are measured by default: one of plain, one of inverted and one of many branched blocks."""
SHIFTS = ("bias", "beta", "mean", "count", "seed_generator_state")


@pytest.fixture(autouse=True)
def _drawn_by_numpy(monkeypatch):
    """Initial kernels by NumPy: JAX compiles a program for each shape that it draws."""
    rng = np.random.default_rng(0)
    for name in ("GlorotUniform", "RandomNormal", "TruncatedNormal", "VarianceScaling"):
        monkeypatch.setattr(
            getattr(keras.initializers, name),
            "__call__",
            lambda self, shape, dtype=None, **more: rng.normal(scale=0.05, size=shape).astype("float32"),
        )


def vision_transformer():
    x = keras.Input((32, 32, 3))
    tokens = L.Reshape((16, 24))(L.Conv2D(24, 8, strides=8, name="patches")(x))
    for i in range(2):
        h = L.LayerNormalization(name=f"norm{i}a")(tokens)
        tokens = L.Add()([tokens, L.MultiHeadAttention(3, 8, name=f"attention{i}")(h, h)])
        h = L.Dense(48, activation="gelu", name=f"mlp{i}a")(L.LayerNormalization(name=f"norm{i}b")(tokens))
        tokens = L.Add()([tokens, L.Dense(24, name=f"mlp{i}b")(h)])
    return keras.Model(x, L.Dense(10, name="head")(L.GlobalAveragePooling1D()(tokens)), name="vit")


def lstm():
    layers = [L.Embedding(50, 16), L.Bidirectional(L.LSTM(8, return_sequences=True)), L.LSTM(8), L.Dense(2)]
    return keras.Sequential([keras.Input((12,), dtype="int32"), *layers], name="lstm")


def check(model, measure):
    profile = entropy_profile(model, measure)
    paths = [record.path for record in profile.records]
    assert len(set(paths)) == len(paths)
    for record in profile.measured:
        assert np.isfinite(record.values).all(), record.path
        np.testing.assert_allclose(np.mean(record.values), record.mean, atol=1e-12)
    # Every weight but the shifts is in a record; variances are part of the scale of their normalisation.
    covered = sorted(record.shape for record in profile.records)
    weights = [v for v in model.weights if not v.name.endswith((*SHIFTS, "variance"))]
    alone = [r for r in profile.records if r.kind == "Normalization"]
    alone += [r for r in profile.records if r.kind == "BatchNormalization" and not _layer(model, r.path).scale]
    assert covered == sorted([tuple(v.shape) for v in weights] + [record.shape for record in alone])
    return profile


def _layer(model, path):
    for name in path.split("/"):
        model = model.get_layer(name)
    return model


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NAMES]
)
def test_every_weight_of_an_application_is_measured(name):
    if name == "NASNetMobile" and keras.backend.backend() == "torch":
        pytest.skip("Keras does not build NASNetMobile on torch")
    model = getattr(keras.applications, name)(weights=None, input_shape=(75, 75, 3), include_top=name != "VGG16",
                                              **({} if name == "VGG16" else {"classes": 10}))  # fmt: skip

    profile = check(model, "corner")

    assert [record.skipped for record in profile.records if record.skipped] == []
    assert len(profile.measured) >= 13
    copy = entropy_profile(model, "corner", randomize=0)
    assert len(profile.compare(copy).differences) == len(profile.records)


@pytest.mark.parametrize("measure", ["log_volume", "total_correlation"])
def test_exact_measures_of_an_application(measure):
    check(keras.applications.MobileNetV3Small(weights=None, input_shape=(32, 32, 3), classes=10), measure)


@pytest.mark.parametrize("measure", ["corner", "log_volume", "total_correlation"])
def test_unet_transformer_and_lstm(measure):
    check(models.unet((32, 32, 3), filters=(4, 8)), measure)
    assert not [record for record in check(vision_transformer(), measure).records if record.skipped]
    skipped = [record.kind for record in check(lstm(), measure).records if record.skipped]
    assert skipped == ["Embedding"]


def test_pre_skip_of_a_transformer():
    found = [weight.path for weight in resolve_placement(vision_transformer(), "pre_skip")]

    blocks = [path for i in range(2) for path in (f"attention{i}/attention_output", f"mlp{i}b")]
    assert found == ["patches", *blocks]
