"""The chief of a search in several processes: it holds the oracle and answers the workers."""

from __future__ import annotations

import os
import time
from concurrent import futures
from typing import Any

from keras_entropy import _optional
from keras_entropy.tuning import _keras_tuner

_POLL = 0.1
"""Seconds between two looks at the state of the search."""
_GRACE = 30.0
"""Seconds that the chief waits for its workers after the last trial."""


def serve(oracle: Any) -> None:
    """Answer the workers until no trial is left.

    KerasTuner's own chief waits forever if a worker dies after its last trial.

    Args:
        oracle: `DurableOracle`.
    """
    grpc = _optional.require("grpc", extra="search")
    address = f"{os.environ['KERASTUNER_ORACLE_IP']}:{os.environ['KERASTUNER_ORACLE_PORT']}"
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    servicer = _keras_tuner.add_servicer(oracle, server)
    server.add_insecure_port(address)
    server.start()
    ended = None
    while True:
        time.sleep(_POLL)
        if not servicer.stop_triggered or oracle.ongoing_trials:
            continue
        ended = time.monotonic() if ended is None else ended
        if not oracle.tuner_ids or time.monotonic() - ended > _GRACE:
            break
    server.stop(grace=1.0).wait()
