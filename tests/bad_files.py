"""Files that are no models, or models that may not be trusted, each made by a small function."""

import json
import os
import pickle
import struct
import zipfile

import h5py
import keras
import numpy as np
import pytest

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
OF_SCRIPT = {"module": None, "class_name": "Net", "registered_name": "mine>Net"}  # as Keras writes a class of a script
OWN_FUNCTION = {"class_name": "function", "module": "builtins", "config": "act", "registered_name": "function"}
LAMBDA_BY_PATH = {"module": "keras", "class_name": "layers.Lambda"}

# (name, maker, words of the message)
BAD = [
    ("missing", lambda path, entries: path, "There is no file"),
    ("folder", directory, "is a folder"),
    ("SavedModel", saved_model, "SavedModel"),
    ("pipe", pipe, "not a regular file"),
    ("unreadable", unreadable, "cannot be read"),
    ("empty", with_bytes(b""), "is empty"),
    ("text", with_bytes(b"a model\n"), "like text"),
    ("png", with_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99)), "PNG image"),
    ("random bytes", with_bytes(np.random.default_rng(0).bytes(5000)), "like an unknown format"),
    ("pickle", named(".pkl", pickle.dumps([1])), "a pickle"),
    ("pickle named .keras", with_bytes(pickle.dumps([1])), "a pickle"),
    ("pickle named .h5", named(".h5", pickle.dumps([1])), "a pickle"),
    ("PyTorch", named(".pt", b"PK\x03\x04" + bytes(99)), "zip archive"),
    ("TFLite", named(".tflite", b"\x1c\x00\x00\x00TFL3" + bytes(99)), "TensorFlow Lite"),
    ("ONNX", named(".onnx", b"\x08\x07\x12\x07pytorch" + bytes(99)), "like an unknown format"),
    ("zip named .h5", named(".h5", b"PK\x03\x04" + bytes(99)), "zip archive"),
    *((f"torn at {fraction}", torn(fraction), "not a zip") for fraction in (0.01, 0.3, 0.9, 0.999)),
    ("no config", without("config.json"), "lacks config.json"),
    ("no metadata", without("metadata.json"), "lacks metadata.json"),
    ("no weights", without("model.weights.h5"), "lacks model.weights.h5"),
    ("bad JSON", with_entry("config.json", b'{"class_name": '), "not JSON"),
    ("bad UTF-8", with_entry("config.json", b'{"class_name": "\xff"}'), "not JSON"),
    ("a list", with_entry("config.json", b"[]"), "does not describe a model"),
    ("no class", with_entry("config.json", b"{}"), "does not describe a model"),
    ("large config", lambda p, e: pack(p, {**e, "config.json": e["config.json"] + b" " * 17 * 2**20}), "config of"),
    ("100k deep", with_entry("config.json", nested(100_000)), "not JSON"),
    ("400 deep", with_entry("config.json", nested(400)), "256 deep"),
    ("unknown class", with_config(set_in_layer(class_name="Denser")), "damaged.*Denser"),
    ("no name", with_config(set_in_layer(class_name=3)), "without a name"),
    ("no settings", with_config(set_in_layer(config=3)), "damaged"),
    ("bad settings", with_config(set_in_settings(unknown_argument=3)), "unknown_argument"),
    ("many digits", with_config(set_in_settings(units=10**400)), "damaged"),
    ("huge units", with_config(set_in_settings(units=HUGE)), "shape"),
    ("huge units, by much less", with_config(set_in_settings(units=10**9)), "shape"),
    ("other units", with_config(set_in_settings(units=5)), "shape"),
    ("unfilled", unfilled, "lacks the weights of unsaved"),
    ("lone layer", lone_layer, "contains a Dense, not a model"),
    ("lambda", lambda_layer, "contains Lambda"),
    ("lambda by its path", with_config(set_in_layer(**LAMBDA_BY_PATH)), "layers.Lambda"),
    ("unregistered class", unregistered, "Unregistered.*module"),
    (
        "class of a script",
        with_config(set_in_layer(**OF_SCRIPT)),
        "'Net' of a script or notebook.*load_weights.*--model",
    ),
    ("own function", with_config(set_in_settings(activation=OWN_FUNCTION)), "contains 'act', which is neither part"),
    ("own class in .h5", of_h5(legacy_config("class_name", "Net")), "contains 'Net', which is neither part"),
    ("module os", with_config(set_in_layer(**TOUCH)), "'system' of module 'os'"),
    ("module of a prefix", with_config(set_in_layer(module="keras_hub.layers")), "neither part of Keras"),
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
    ("external link", of_weights(lambda s: s.update({"a": h5py.ExternalLink("/o.h5", "/x")})), "contains a link"),
    ("soft link", of_weights(lambda s: s.update({"a": h5py.SoftLink("/layers")})), "contains a link"),
    ("two names", of_weights(lambda s: s.update({"a": s["layers"]})), "two names"),
    ("circle", of_weights(lambda s: s["layers"].update({"a": s["/"]})), "two names"),
    ("named type", of_weights(lambda s: s.update({"a": np.dtype("f4")})), "named type"),
    ("external", of_weights(lambda s: s.create_dataset("e", (9,), "f4", external="/o")), "another file"),
    ("virtual", of_weights(virtual), "another file"),
    ("text as weights", of_weights(lambda s: s.create_dataset("t", data="text")), "not an array of numbers"),
    ("no values", of_weights(lambda s: s.create_dataset("n", data=h5py.Empty("f4"))), "not an array of numbers"),
    ("huge weights", of_weights(huge), "declares"),
    ("weights only", weights_only, "has weights but no model.*--model FILE.py:FUNCTION"),
    ("torn .h5", torn_h5, "OSError"),
    ("lambda in .h5", lambda_layer_in_h5, "contains Lambda"),
    ("huge weights in .h5", of_h5(huge), "declares"),
    ("link in .h5", of_h5(lambda s: s.update({"a": h5py.ExternalLink("/o.h5", "/x")})), "contains a link"),
    ("config of .h5 no text", of_h5(lambda s: s.attrs.update({"model_config": 3})), "config is of type"),
    ("config of .h5 no JSON", of_h5(lambda s: s.attrs.update({"model_config": "{"})), "not JSON"),
    ("no weights in .h5", of_h5(lambda s: s.pop("model_weights")), "damaged"),
    ("huge units in .h5", of_h5(legacy_config("config", {"name": "head", "units": HUGE})), "shape"),
    ("module os in .h5", of_h5(legacy_config("module", "os")), "'os'"),
]
