"""TensorBoard's HParams page of a search, on every backend."""

import re
import time

import pytest
from tensorboard_server import VISIBLE_TEXT, tensorboard
from tuning_cases import arrays, several

pytest.importorskip("tensorboard", reason="the page is TensorBoard's")

from keras_entropy.tuning import EntropyTuner, tensorboard_log

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    tuner = EntropyTuner(several(), max_trials=2, seeds=[0, 1], directory=folder, log_dir=folder / "logs")
    tuner.search(**arrays(), epochs=2, verbose=0)
    arm = {tensorboard_log.ARM: tuner.arm}
    values = [arm | trial.hyperparameters.values for trial in tuner.oracle.trials.values()]
    tensorboard_log.write_experiment(folder / "logs", values, ["val_task_loss"])
    return folder / "logs", tuner


@pytest.fixture(scope="module")
def address(searched, child_environment, tmp_path_factory):
    output = tmp_path_factory.mktemp("tensorboard") / "output.txt"
    with tensorboard(searched[0], output, child_environment, "scalars", "trial_0/seed_0") as address:
        yield address


def test_the_page_shows_settings_and_their_means_over_the_seeds(searched, address, browser, tmp_path):
    _, tuner = searched
    browser.get("about:blank")
    browser.get(f"{address}/#hparams")
    names = ["entropy/placement", "entropy/factor", "entropy/regularizer", "learning_rate", "val_task_loss"]
    wanted = [f"{trial.score:.5g}" for trial in tuner.oracle.trials.values()]
    deadline = time.monotonic() + 90
    while True:
        text = re.sub(r"\s", "", browser.execute_script(VISIBLE_TEXT))
        if all(name in text for name in [*names, "contender", "trial_0", "trial_1"]) and all(w in text for w in wanted):
            break
        assert time.monotonic() < deadline, f"{wanted} {text}"
        time.sleep(0.5)
    picture = tmp_path / "hparams.png"
    browser.save_screenshot(str(picture))
    assert picture.stat().st_size > 10_000
