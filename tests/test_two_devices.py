"""Terms, EntropyLogger and FactorSchedule train on two devices as on one: weights and every logged number."""

import subprocess
import sys
from pathlib import Path

import pytest
from modes import BACKEND

pytestmark = [pytest.mark.slow, pytest.mark.processes]


@pytest.mark.parametrize(
    ("backend", "name", "ways"),
    [("tensorflow", "MirroredStrategy", 1), ("jax", "DataParallel and ModelParallel", 2)],
)
def test_as_on_one(backend, name, ways, child_environment):
    if backend != BACKEND:
        pytest.skip(f"{name}: only on {backend}")
    environment = {**child_environment, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    command = [sys.executable, Path(__file__).with_name("two_devices.py"), name]

    child = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=500)

    assert child.returncode == 0, child.stderr
    assert child.stdout.count("equal on one and on two devices") == ways
