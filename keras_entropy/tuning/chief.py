"""The chief of a search in several processes: it holds the oracle, and ends with the work."""

from __future__ import annotations

import os
import time
from concurrent import futures
from typing import Any

from keras_entropy import _optional

_POLL = 0.1
_GRACE = 30.0
"""Seconds for workers to hear that the search has ended."""


def serve(oracle: Any) -> None:
    """Answer the workers until no trial is left.

    KerasTuner's own chief waits for ever for a worker that died after its last trial.
    """
    grpc = _optional.require("grpc", extra="search")
    from keras_tuner.src import protos
    from keras_tuner.src.distribute.oracle_chief import OracleServicer

    address = f"{os.environ['KERASTUNER_ORACLE_IP']}:{os.environ['KERASTUNER_ORACLE_PORT']}"
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    servicer = OracleServicer(oracle)
    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
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
