"""What an error says when an argument is of a plausible but wrong kind: which argument, and what to do."""

from pathlib import Path

import keras
import numpy as np
import pytest

from keras_entropy import (
    ConvCornerEntropy,
    DenseEntropy,
    EntropyLogger,
    EntropyProfile,
    FactorSchedule,
    SumRegularizer,
    apply_entropy,
    datasets,
    entropy_profile,
    functional,
    models,
    plots,
)

pytestmark = pytest.mark.once

L2 = keras.regularizers.L2(1e-3)


def model():
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    made.compile("sgd", "mse")
    return made


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda: SumRegularizer(L2), TypeError, "`regularizers` should be a list of regularizers"),
        (lambda: SumRegularizer("l2"), TypeError, "`regularizers` should be a list of regularizers"),
        (
            lambda: SumRegularizer([DenseEntropy]),
            TypeError,
            r"`regularizers\[0\]`.*Give an instance.*DenseEntropy\(1e-3",
        ),
        (lambda: SumRegularizer(["DenseEntropy"]), ValueError, r"`regularizers\[0\]`.*Keras does not know it"),
        (lambda: FactorSchedule(lambda: 1), TypeError, "`schedule` should be a function of the epoch alone.*lambda ep"),
        (lambda: models.cnn((8, 8, 1), classes="10"), TypeError, "`classes` should be a positive integer"),
        (lambda: SumRegularizer([L2, 1]), TypeError, r"`regularizers\[1\]` should be a regularizer or its name"),
        (lambda: models.cnn((8, 8, 1), 10, filters="a"), TypeError, "`filters` should be a list of positive integers"),
        (lambda: models.cnn((8, 8, 1), 10, filters=8), TypeError, "`filters` should be a list of positive integers"),
        (lambda: models.unet((8, 8, 1), filters=[0]), ValueError, "`filters` should be a positive integer"),
        (lambda: functional.log_slope(np.ones(2), "sigmiod"), ValueError, "`activation` should be a name or function"),
        (lambda: EntropyLogger(sample="a"), ValueError, "`sample` should be arrays .* Received: sample='a'"),
        (lambda: EntropyLogger(sample=[np.ones((2, 1)), np.ones((3, 1))]), ValueError, r"\[\(2, 1\), \(3, 1\)\]"),
        (
            lambda: EntropyLogger(sample=np.ones((9, 2)).tolist()),
            ValueError,
            r"sample of shape \(9, 2\) \(of type list\)",
        ),
        (lambda: EntropyLogger(sample=[1.0] * 300), ValueError, r"sample of shape \(300,\) \(of type list\)"),
        (lambda: EntropyLogger(sample=[[1, 2], [3]]), ValueError, r"sample=\[\[1, 2\], \[3\]\]"),
        (
            lambda: entropy_profile("m.keras"),
            TypeError,
            "`model` should be a Keras model.*Load it first with keras.saving",
        ),
        (
            lambda: apply_entropy(Path("m.keras"), "all", L2),
            TypeError,
            "`model`.*Load it first with keras.saving.load_mod",
        ),
        (lambda: EntropyLogger(log_dir=3), TypeError, "`log_dir` should be the path of a folder"),
        (lambda: EntropyProfile.load("nowhere.json"), FileNotFoundError, "Write one with EntropyProfile.save"),
        (lambda: datasets.load("digitz", "/nowhere"), FileNotFoundError, "digits and spirals need no preparation"),
    ],
)
def test_the_message_names_the_argument_and_the_remedy(call, kind, says):
    with pytest.raises(kind, match=says):
        call()


@pytest.mark.parametrize(
    ("logger", "says"),
    [
        (EntropyLogger("runs/x"), r"`placement` should match.*For a log folder give log_dir='runs/x'\."),
        (
            EntropyLogger(sample=np.ones((6, 3))),
            r"`sample` should be inputs of the model, of shape \(None, 4\). Received: sample of shape \(6, 3\).*train",
        ),
    ],
)
def test_fit_names_what_does_not_fit_the_model_before_it_trains(logger, says):
    made = model()
    before = made.get_weights()

    with pytest.raises(ValueError, match=says):
        made.fit(np.ones((8, 4)), np.ones((8, 2)), verbose=0, callbacks=[logger])

    np.testing.assert_array_equal(made.get_weights()[0], before[0])


def test_a_figure_of_an_unknown_format_names_the_file_and_the_formats():
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    with pytest.raises(ValueError, match=r"should end in one of .*png.* Received: a\.xyz"):
        plots.format_of("a.xyz")


def test_a_study_names_what_is_no_build_function_and_no_arm(tmp_path):
    study = pytest.importorskip("keras_entropy.study", reason="needs the extra study")
    x = np.ones((4, 4))
    with pytest.raises(TypeError, match="`build` should be a function .* Received: a model"):
        study.Study(model(), [study.Arm("baseline")], range(2), data=(x, x, x, x))
    for swapped in (ConvCornerEntropy, ConvCornerEntropy(1e-3)):
        with pytest.raises(TypeError, match="Give the placement first, then the regularizer"):
            study.Arm("corner", swapped, "first")
    with pytest.raises(TypeError, match="Received: a layer. Give its name: 'code'"):
        study.Arm("e", keras.layers.Dense(2, name="code"), DenseEntropy(1e-3))
    with pytest.raises(FileNotFoundError, match="Name the `output` of a study that has begun"):
        study.read_study(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="Correct the name, or give `lower_is_better`"):
        study.Study(model, [study.Arm("baseline")], range(2), data=(x, x, x, x), metric="val_accurcy")


def test_a_search_names_what_is_no_factor_function_and_no_option(tmp_path):
    pytest.importorskip("keras_tuner", reason="needs the extra search")
    from keras_entropy.tuning import EntropyHyperModel, search

    for several in ([DenseEntropy(1e-3)], {"dense": DenseEntropy(1e-3)}, DenseEntropy(1e-3)):
        with pytest.raises(TypeError, match="should be a function of the factor.* Give its class, DenseEntropy"):
            EntropyHyperModel(model, several)
    for named in ("DenseEntropy", ["DenseEntropy"], {"dense": "DenseEntropy"}):
        with pytest.raises(TypeError, match="Received: .*'DenseEntropy'.*Give a class .* without quotes"):
            EntropyHyperModel(model, named)
    with pytest.raises(TypeError, match=r"Received: regularizer=\[\] .*Give a class such as ConvCornerEntropy"):
        EntropyHyperModel(model, [])
    with pytest.raises(TypeError, match="`build` should be a function .* Received: a model"):
        EntropyHyperModel(model(), DenseEntropy)
    x = np.ones((4, 4))
    with pytest.raises(TypeError, match="`trials` is an argument neither .* Did you mean `max_trials`"):
        search(EntropyHyperModel(model, DenseEntropy), (x, x, x, x), trials=1, output=tmp_path / "search")
