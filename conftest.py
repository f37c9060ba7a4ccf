"""Pins the threads, before Keras is imported: two unpinned processes on two cores stand in each other's way."""

import functools
import gc
import importlib.util
import os
import shutil
import sys
import zipfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
for variable in (
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NPROC",
):
    os.environ.setdefault(variable, "1")
# JAX compiles the step of each model anew; most tests train the same few.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")
BLOCKED = os.environ.get("KERAS_ENTROPY_BLOCK_TENSORFLOW") == "1"
if BLOCKED:
    # As on a machine without TensorFlow: importing it raises ModuleNotFoundError.
    sys.modules["tensorflow"] = None  # type: ignore[assignment]

import keras  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

from keras_entropy import _backend, _optional  # noqa: E402
from keras_entropy.runs import memory  # noqa: E402

# A test that takes long because the machine is busy is not wrong.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")
# The end of a pipeline can wait for minutes for the thread that tunes it.
_backend.framework().disable_pipeline_tuning()
# After a run of a study the next collection would look through all that is set aside.
_unfreeze, gc.unfreeze = gc.unfreeze, lambda: None

ROOT = Path(__file__).parent


PASSED = Path(os.environ.get("KERAS_ENTROPY_PASSED", os.devnull))
"""File of tests that have passed elsewhere on this backend. They are left out, and those that pass are added."""


def pytest_collection_modifyitems(config, items):
    """Leave out the tests that have passed elsewhere."""
    passed = set(PASSED.read_text().splitlines()) if PASSED.exists() else set()
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in passed])
    items[:] = [item for item in items if item.nodeid not in passed]


def pytest_terminal_summary(terminalreporter):
    """Add the tests that have passed here."""
    with PASSED.open("a") as file:
        file.writelines(f"{report.nodeid}\n" for report in terminalreporter.stats.get("passed", ()))


MISSING = {name for name in _optional.PACKAGES if importlib.util.find_spec(name) is None}
"""Optional packages that are not installed here."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Skip a test that needs an extra which is not installed; the reason is the error, which names the extra."""
    try:
        return (yield)
    except ModuleNotFoundError as error:
        if error.name in MISSING and "keras-entropy[" in str(error):
            pytest.skip(str(error))
        raise


@pytest.fixture(autouse=True)
def _float32_policy():
    yield
    keras.config.set_dtype_policy("float32")
    keras.config.set_floatx("float32")


@pytest.fixture(autouse=True)
def _small_heap():
    """What a test leaves behind, TensorFlow's graphs above all, is not looked through in later collections.

    A process that runs the whole suite holds gigabytes, and each run of a study or a search ends with a collection.
    """
    yield
    memory.free()
    gc.freeze()


@pytest.fixture
def whole_heap(monkeypatch):
    """For tests of what is freed: a run puts back what it has set aside, as elsewhere."""
    monkeypatch.setattr(gc, "unfreeze", _unfreeze)


@pytest.fixture
def train_here(monkeypatch):
    """Studies train in this process and, on TensorFlow, without compiling: both take seconds for each tiny model."""
    if keras.backend.backend() == "tensorflow":
        monkeypatch.setattr(keras.Model, "compile", functools.partialmethod(keras.Model.compile, run_eagerly=True))
    from concurrent.futures import Executor, Future

    from keras_entropy.study import Study

    class Here(Executor):
        def submit(self, function, /, *args, **kwargs):
            future = Future()
            future.set_result(function(*args, **kwargs))
            return future

    run = Study.run
    here = {"workers": None, "executor": Here()}
    monkeypatch.setattr(Study, "run", lambda study, **options: run(study, **{**options, **here}))


@pytest.fixture
def no_prepared_sets(monkeypatch, tmp_path):
    """A machine on which TensorFlow Datasets has prepared nothing."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "no_data"))


@pytest.fixture
def quick_kernels(monkeypatch):
    """Kernels drawn by NumPy: JAX compiles a program for each shape that it draws, up to a second each."""

    def draw(self, shape, dtype=None):
        import numpy as np

        return np.random.default_rng(0).standard_normal(shape, dtype="float32") / np.sqrt(np.prod(shape[:-1]) + 1)

    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__", draw)


@pytest.fixture
def seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of the real data sets; tests that need it are skipped where it is missing."""
    folder = Path(os.environ.get("KERAS_ENTROPY_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder} of real data (set KERAS_ENTROPY_DATA)")
    return folder


@pytest.fixture(scope="session")
def child_environment() -> dict[str, str]:
    """For tests that start a process of their own."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="session")
def entries(tmp_path_factory) -> dict[str, bytes]:
    """What Keras writes into a `.keras` file: the start of most bad files."""
    from bad_files import save, small

    with zipfile.ZipFile(save(small(), tmp_path_factory.mktemp("good") / "m.keras")) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium, steered by selenium."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="the browser is steered by selenium")
    from selenium.webdriver.chrome.service import Service

    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program} on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_argument("--window-size=1300,1600")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(executable_path=shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()
