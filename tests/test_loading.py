import json
import os
import pickle
import resource
import struct
import tempfile
import threading
import time
import zipfile

import h5py
import keras
import numpy as np
import pytest

from keras_entropy import ConvCornerEntropy, EntropyActivation, _keras
from keras_entropy._loading import load_model

layers = keras.layers


@keras.saving.register_keras_serializable("tests")
class Unsaved(layers.Layer):
    """Holds a weight that no file holds, as a layer with a table computed anew may."""

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def build(self, input_shape):
        self.table = self.add_weight(shape=(self.size,), initializer="ones", trainable=False)

    def call(self, x):
        return x + self.table[0]

    def save_own_variables(self, store):
        pass

    def load_own_variables(self, store):
        pass

    def get_config(self):
        return {**super().get_config(), "size": self.size}


class Unregistered(layers.Layer):
    def call(self, x):
        return x


def small(*between):
    return keras.Sequential([keras.Input((4,)), *between, layers.Dense(3, name="head")])


def save(model, path):
    model.save(path)
    return path


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """What Keras writes into a `.keras` file."""
    with zipfile.ZipFile(save(small(), tmp_path_factory.mktemp("good") / "m.keras")) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path, entries, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def with_config(change):
    """A maker of a bad file, whose config is changed."""

    def make(path, entries):
        config = json.loads(entries["config.json"])
        changed = change(config)
        return pack(path, {**entries, "config.json": json.dumps(config if changed is None else changed)})

    return make


def with_entry(name, content=b"x"):
    return lambda path, entries: pack(path, {**entries, name: content})


def with_bytes(content):
    def make(path, entries):
        path.write_bytes(content)
        return path

    return make


def without(name):
    return lambda path, entries: pack(path, {key: value for key, value in entries.items() if key != name})


def torn(fraction):
    def make(path, entries):
        content = pack(path, entries).read_bytes()
        path.write_bytes(content[: int(len(content) * fraction)])
        return path

    return make


def patched(signature, offset, value):
    """A maker of a zip whose records with a signature have another value."""

    def make(path, entries):
        content = bytearray(pack(path, entries).read_bytes())
        at = content.find(signature)
        while at >= 0:
            content[at + offset : at + offset + len(value)] = value
            at = content.find(signature, at + 1)
        path.write_bytes(content)
        return path

    return make


def of_weights(change):
    """A maker of a bad file, whose HDF5 weights are changed."""

    def make(path, entries):
        weights = path.with_name("weights")
        weights.write_bytes(entries["model.weights.h5"])
        with h5py.File(weights, "a") as store:
            change(store)
        content = weights.read_bytes()
        weights.unlink()
        return pack(path, {**entries, "model.weights.h5": content})

    return make


def of_h5(change):
    """A maker of a bad whole-model `.h5` file."""

    def make(path, entries):
        path = save(small(), path.with_suffix(".h5"))
        with h5py.File(path, "a") as store:
            change(store)
        return path

    return make


def legacy_config(key, value):
    def change(store):
        config = json.loads(store.attrs["model_config"])
        config["config"]["layers"][-1][key] = value
        store.attrs["model_config"] = json.dumps(config)

    return change


def set_in_layer(**values):
    return lambda config: config["config"]["layers"][-1].update(values)


def set_in_settings(**values):
    return lambda config: config["config"]["layers"][-1]["config"].update(values)


def nested(depth):
    return b'{"class_name": "Sequential", "config": ' + b"[" * depth + b"]" * depth + b"}"


def directory(path, entries):
    path.mkdir()
    return path


def saved_model(path, entries):
    path = path.with_suffix("")
    path.mkdir()
    (path / "saved_model.pb").write_bytes(b"x")
    return path


def pipe(path, entries):
    os.mkfifo(path)
    return path


def unreadable(path, entries):
    if os.geteuid() == 0:
        pytest.skip("root may read every file")
    path.write_bytes(b"x")
    path.chmod(0)
    return path


def named(suffix, content):
    return lambda path, entries: with_bytes(content)(path.with_suffix(suffix), entries)


def symbolic_link(path, entries):
    info = zipfile.ZipInfo("assets/link")
    info.external_attr = 0o120777 << 16
    return pack(path, {**entries, info: "/etc/passwd"})


def twice(path, entries):
    pack(path, entries)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", entries["config.json"])
    return path


def zip_bomb(path, entries):
    return pack(path, {**entries, "assets/a": bytes(40 * 2**20)}, zipfile.ZIP_DEFLATED)


def corrupted(path, entries):
    content = bytearray(pack(path, entries).read_bytes())
    content[content.find(b"\x89HDF") + 2000] ^= 1
    path.write_bytes(content)
    return path


def lambda_layer(path, entries):
    return save(small(layers.Lambda(lambda x: x + 1, output_shape=(4,))), path)


def lambda_layer_in_h5(path, entries):
    return save(small(layers.Lambda(lambda x: x + 1, output_shape=(4,))), path.with_suffix(".h5"))


def unregistered(path, entries):
    return save(small(Unregistered()), path)


def lone_layer(path, entries):
    layer = layers.Dense(3)
    layer.build((None, 4))
    keras.saving.save_model(layer, path)
    return path


def unfilled(path, entries):
    model = save(small(Unsaved(3, name="unsaved")), path)
    with zipfile.ZipFile(model) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    return with_config(lambda config: config["config"]["layers"][1]["config"].update(size=10**11))(path, entries)


def weights_only(path, entries):
    path = path.with_name("m.weights.h5")
    small().save_weights(path)
    return path


def torn_h5(path, entries):
    path = save(small(), path.with_suffix(".h5"))
    path.write_bytes(path.read_bytes()[:-500])
    return path


def virtual(store):
    layout = h5py.VirtualLayout((2,), "f4")
    layout[:] = h5py.VirtualSource("/other.h5", "data", (2,))
    store.create_virtual_dataset("v", layout)


def huge(store):
    store.create_dataset("h", (10**12,), "f4", chunks=(10**6,), compression="gzip")


HUGE = 10**12
TOUCH = {"class_name": "system", "module": "os", "config": {"command": "touch written"}, "registered_name": None}
FUNCTION = {"class_name": "function", "module": "keras.utils", "config": "plot_model", "registered_name": "plot_model"}
TYPE = {"class_name": "__numpy__", "config": {"value": ["a"], "dtype": f"S{HUGE}"}}
LAMBDA_BY_PATH = {"module": "keras", "class_name": "layers.Lambda"}

# (name, maker, words of the message)
BAD = [
    ("missing", lambda path, entries: path, "There is no file"),
    ("folder", directory, "is a folder"),
    ("SavedModel", saved_model, "SavedModel"),
    ("pipe", pipe, "no regular file"),
    ("unreadable", unreadable, "cannot be read"),
    ("empty", with_bytes(b""), "is empty"),
    ("text", with_bytes(b"a model\n"), "like text"),
    ("png", with_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99)), "PNG image"),
    ("random bytes", with_bytes(np.random.default_rng(0).bytes(5000)), "like nothing known"),
    ("pickle", named(".pkl", pickle.dumps([1])), "a pickle"),
    ("pickle named .keras", with_bytes(pickle.dumps([1])), "a pickle"),
    ("pickle named .h5", named(".h5", pickle.dumps([1])), "a pickle"),
    ("PyTorch", named(".pt", b"PK\x03\x04" + bytes(99)), "zip archive"),
    ("TFLite", named(".tflite", b"\x1c\x00\x00\x00TFL3" + bytes(99)), "TensorFlow Lite"),
    ("ONNX", named(".onnx", b"\x08\x07\x12\x07pytorch" + bytes(99)), "like nothing known"),
    ("zip named .h5", named(".h5", b"PK\x03\x04" + bytes(99)), "zip archive"),
    *((f"torn at {fraction}", torn(fraction), "not a zip") for fraction in (0.01, 0.3, 0.9, 0.999)),
    ("no config", without("config.json"), "lacks config.json"),
    ("no metadata", without("metadata.json"), "lacks metadata.json"),
    ("no weights", without("model.weights.h5"), "lacks model.weights.h5"),
    ("bad JSON", with_entry("config.json", b'{"class_name": '), "no JSON"),
    ("bad UTF-8", with_entry("config.json", b'{"class_name": "\xff"}'), "no JSON"),
    ("a list", with_entry("config.json", b"[]"), "describes no model"),
    ("no class", with_entry("config.json", b"{}"), "describes no model"),
    ("large config", lambda p, e: pack(p, {**e, "config.json": e["config.json"] + b" " * 17 * 2**20}), "config of"),
    ("100k deep", with_entry("config.json", nested(100_000)), "no JSON"),
    ("400 deep", with_entry("config.json", nested(400)), "256 deep"),
    ("unknown class", with_config(set_in_layer(class_name="Denser")), "Denser"),
    ("no name", with_config(set_in_layer(class_name=3)), "no name"),
    ("no settings", with_config(set_in_layer(config=3)), "damaged"),
    ("bad settings", with_config(set_in_settings(unknown_argument=3)), "unknown_argument"),
    ("many digits", with_config(set_in_settings(units=10**400)), "damaged"),
    ("huge units", with_config(set_in_settings(units=HUGE)), "shape"),
    ("huge units, by much less", with_config(set_in_settings(units=10**9)), "shape"),
    ("other units", with_config(set_in_settings(units=5)), "shape"),
    ("unfilled", unfilled, "lacks the weights of unsaved"),
    ("lone layer", lone_layer, "holds a Dense, no model"),
    ("lambda", lambda_layer, "holds Lambda"),
    ("lambda by its path", with_config(set_in_layer(**LAMBDA_BY_PATH)), "layers.Lambda"),
    ("unregistered class", unregistered, "Unregistered.*module"),
    ("module os", with_config(set_in_layer(**TOUCH)), "'system' of module 'os'"),
    ("module of a prefix", with_config(set_in_layer(module="keras_hub.layers")), "neither Keras"),
    ("function of Keras", with_config(set_in_settings(activation=FUNCTION)), "plot_model"),
    ("function as class", with_config(set_in_layer(class_name="plot_model", module="keras.utils")), "plot_model"),
    ("vocabulary", with_config(set_in_settings(vocabulary="/etc/passwd")), "in another file"),
    ("huge constant", with_config(set_in_settings(bias_initializer=TYPE)), "constant of dtype"),
    ("other entry", with_entry("run.py"), "run.py.*does not write"),
    ("npz", with_entry("model.weights.npz"), "model.weights.npz"),
    ("traversal", with_entry("assets/../../up"), r"assets/\.\./\.\./up"),
    ("backslash", with_entry("assets/..\\up"), "up"),
    ("absolute", with_entry("/tmp/up"), "/tmp/up"),
    ("folder for a file", with_entry("config.json/"), "config.json/"),
    ("many entries", lambda p, e: pack(p, {**e, **{f"assets/{i}": "" for i in range(10_001)}}), "10004 entries"),
    ("symbolic link", symbolic_link, "symbolic link"),
    ("twice", twice, "two entries"),
    ("zip bomb", zip_bomb, "would unpack"),
    ("encrypted", patched(b"PK\x01\x02", 8, b"\x01"), "is encrypted"),
    ("unknown compression", patched(b"PK\x01\x02", 10, b"\x63"), "compression"),
    ("bad sum", corrupted, "CRC"),
    ("other sum", patched(b"PK\x01\x02", 16, b"\x00\x00"), "CRC"),
    ("larger than it is", patched(b"PK\x01\x02", 20, struct.pack("<II", 2**31, 2**31)), "would unpack"),
    ("no HDF5", with_entry("model.weights.h5", b"x" * 999), "OSError"),
    ("empty weights", with_entry("model.weights.h5", b""), "OSError"),
    ("external link", of_weights(lambda s: s.update({"a": h5py.ExternalLink("/o.h5", "/x")})), "holds a link"),
    ("soft link", of_weights(lambda s: s.update({"a": h5py.SoftLink("/layers")})), "holds a link"),
    ("two names", of_weights(lambda s: s.update({"a": s["layers"]})), "two names"),
    ("circle", of_weights(lambda s: s["layers"].update({"a": s["/"]})), "two names"),
    ("named type", of_weights(lambda s: s.update({"a": np.dtype("f4")})), "named type"),
    ("external", of_weights(lambda s: s.create_dataset("e", (9,), "f4", external="/o")), "another file"),
    ("virtual", of_weights(virtual), "another file"),
    ("text as weights", of_weights(lambda s: s.create_dataset("t", data="text")), "no array of numbers"),
    ("no values", of_weights(lambda s: s.create_dataset("n", data=h5py.Empty("f4"))), "no array of numbers"),
    ("huge weights", of_weights(huge), "declares"),
    ("weights only", weights_only, "weights only.*--weights"),
    ("torn .h5", torn_h5, "OSError"),
    ("lambda in .h5", lambda_layer_in_h5, "holds Lambda"),
    ("huge weights in .h5", of_h5(huge), "declares"),
    ("link in .h5", of_h5(lambda s: s.update({"a": h5py.ExternalLink("/o.h5", "/x")})), "holds a link"),
    ("config of .h5 no text", of_h5(lambda s: s.attrs.update({"model_config": 3})), "config is of type"),
    ("config of .h5 no JSON", of_h5(lambda s: s.attrs.update({"model_config": "{"})), "no JSON"),
    ("no weights in .h5", of_h5(lambda s: s.pop("model_weights")), "damaged"),
    ("huge units in .h5", of_h5(legacy_config("config", {"name": "head", "units": HUGE})), "shape"),
    ("module os in .h5", of_h5(legacy_config("module", "os")), "'os'"),
]


def listing(folder):
    return {
        path: path.read_bytes() if path.is_file() and os.access(path, os.R_OK) else "" for path in folder.rglob("*")
    }


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.fixture
def temporary(tmp_path_factory, monkeypatch):
    """The folder for temporary files."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


class TestBadFiles:
    @pytest.mark.parametrize(("make", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
    def test_is_refused_in_one_line_and_leaves_nothing(self, tmp_path, temporary, entries, monkeypatch, make, words):
        monkeypatch.chdir(tmp_path)
        path = make(tmp_path / "model.keras", entries)
        before, memory, start = listing(tmp_path), peak(), time.perf_counter()

        with pytest.raises((ValueError, OSError), match=words) as caught:
            load_model(path)

        text = str(caught.value)
        assert str(path) in text
        assert text.isprintable()
        assert len(text) < 600 + len(str(path))
        assert time.perf_counter() - start < 5
        assert peak() - memory < 2**29  # the backend's own first use included; the bombs are of 10 GB and more
        assert listing(tmp_path) == before
        assert not list(temporary.iterdir())

    def test_missing_and_unreadable_files_are_os_errors(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            load_model(tmp_path / "none.keras")
        with pytest.raises(OSError, match="too long"):
            load_model(tmp_path / ("x" * 300 + ".keras"))
        with pytest.raises(ValueError, match="no name of a file"):
            load_model(f"{tmp_path}/\0.keras")

    def test_a_file_that_may_not_be_read_is_an_os_error(self, tmp_path, monkeypatch):
        def refuse(*args):
            raise PermissionError(13, "Permission denied")

        path = save(small(), tmp_path / "m.keras")
        monkeypatch.setattr(type(path), "open", refuse)

        with pytest.raises(OSError, match="m.keras cannot be read: Permission denied"):
            load_model(path)

    def test_a_name_of_two_lines_is_shown_in_one(self, tmp_path):
        with pytest.raises(FileNotFoundError) as caught:
            load_model(tmp_path / "a\nb.keras")

        assert str(caught.value).isprintable()

    def test_the_cause_is_kept(self, tmp_path):
        (tmp_path / "m.keras").write_bytes(b"PK\x03\x04" + bytes(99))

        with pytest.raises(ValueError, match="BadZipFile") as caught:
            load_model(tmp_path / "m.keras")

        assert isinstance(caught.value.__cause__, zipfile.BadZipFile)

    @pytest.mark.parametrize("error", [MemoryError(), RecursionError("deep\nrecursion"), RuntimeError("x" * 9999)])
    def test_every_exception_of_keras_becomes_a_value_error(self, tmp_path, monkeypatch, error):
        def fail(*args, **kwargs):
            raise error

        path = save(small(), tmp_path / "m.keras")
        monkeypatch.setattr(keras.saving, "load_model", fail)

        with pytest.raises(ValueError, match=type(error).__name__) as caught:
            load_model(path)

        assert caught.value.__cause__ is error
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 600 + len(str(path))

    def test_an_interrupt_stays_one(self, tmp_path, monkeypatch):
        def interrupt(*args):
            raise KeyboardInterrupt

        path = save(small(), tmp_path / "m.keras")
        monkeypatch.setattr(zipfile, "ZipFile", interrupt)

        with pytest.raises(KeyboardInterrupt):
            load_model(path)

    def test_safe_mode_cannot_be_turned_off(self, tmp_path):
        errors = []

        def load():
            keras.config.enable_unsafe_deserialization()  # for this thread
            try:
                load_model(path)
            except ValueError as error:
                errors.append(str(error))

        path = lambda_layer(tmp_path / "m.keras", None)
        thread = threading.Thread(target=load)
        thread.start()
        thread.join()

        assert "holds Lambda" in errors[0]


def functional():
    x = inputs = keras.Input((6, 6, 1))
    for layer in (layers.Conv2D(3, 2), layers.BatchNormalization(), layers.Flatten(), layers.Dropout(0.5)):
        x = layer(x)
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(x))


def regularized():
    convolution = layers.Conv2D(3, 2, kernel_regularizer=ConvCornerEntropy(1e-3))
    return keras.Sequential([keras.Input((6, 6, 1)), convolution, layers.Flatten(), layers.Dense(2)])


def of_models():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, small(small())(inputs))
    model.compile("adam", "mse")
    return model


def recurrent():
    return keras.Sequential([keras.Input((5,)), layers.Embedding(7, 3), layers.Bidirectional(layers.LSTM(2))])


def zeros():
    return keras.Sequential([keras.Input((300,)), layers.Dense(300, kernel_initializer="zeros")])


def with_a_table():
    return small(Unsaved(2**20))


def activation():
    return small(EntropyActivation("gelu", 1e-3))


class TestGoodFiles:
    @pytest.mark.parametrize("suffix", [".keras", ".h5", ".hdf5"])
    @pytest.mark.parametrize(
        "build", [functional, regularized, of_models, recurrent, zeros, with_a_table, activation, small]
    )
    def test_gives_the_model(self, tmp_path, temporary, seeded, build, suffix):
        model = build()
        path = save(model, tmp_path / f"model{suffix}")
        before = listing(tmp_path)

        loaded = load_model(path)

        assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
        assert len(loaded.get_weights()) == len(model.get_weights())
        for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        x = np.ones((2, *model.input_shape[1:]), "float32")
        np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
        assert listing(tmp_path) == before
        assert not list(temporary.iterdir())

    def test_keeps_the_regularizer(self, tmp_path):
        loaded = load_model(save(regularized(), tmp_path / "m.keras"))

        assert isinstance(loaded.layers[0].kernel_regularizer, ConvCornerEntropy)
        assert len(loaded.losses) == 1

    def test_does_not_depend_on_what_was_made_before(self, tmp_path):
        path = save(activation(), tmp_path / "m.keras")
        _keras.activity_losses_are_divided.cache_clear()

        assert load_model(path).count_params() == 15

    def test_leaves_out_a_loss_that_is_not_registered(self, tmp_path):
        def loss(y, p):
            return keras.ops.mean(y - p)

        inner = small()
        inner.compile("adam", loss)
        model = keras.Sequential([keras.Input((4,)), inner])
        model.compile("adam", loss)

        assert not load_model(save(model, tmp_path / "m.keras")).compiled

    def test_can_be_trained_on(self, tmp_path, seeded):
        loaded = load_model(save(functional(), tmp_path / "m.keras"))
        before = loaded.get_weights()[0].copy()
        loaded.compile("adam", "mse")
        loaded.fit(np.random.default_rng(0).normal(size=(4, 6, 6, 1)), np.zeros((4, 2)), verbose=0)

        assert not np.array_equal(loaded.get_weights()[0], before)

    def test_takes_an_archive_compressed_again(self, tmp_path):
        path = save(functional(), tmp_path / "m.keras")
        with zipfile.ZipFile(path) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        pack(path, {**entries, "assets/": ""}, zipfile.ZIP_DEFLATED)

        assert load_model(path).count_params() == functional().count_params()

    def test_takes_a_string_and_a_relative_path(self, tmp_path, monkeypatch):
        save(small(), tmp_path / "m.keras")
        monkeypatch.chdir(tmp_path)

        assert load_model("m.keras").count_params() == 15

    def test_models_made_later_have_their_weights(self, tmp_path):
        load_model(save(small(), tmp_path / "m.keras"))

        with keras.StatelessScope():
            pass
        assert small().count_params() == 15
