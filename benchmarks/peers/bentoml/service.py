"""Both in BentoML.

As many `workers` as there are cores, which its documentation advises for work on the CPU. Echo is `async def`, which
needs no thread. The network is `batchable`, with the batch's size and the latency that adaptive batching may use; rows
are base64 in JSON. Access logs are off: no other server here writes a line for each request.
"""

from __future__ import annotations

import bentoml
import numpy as np
from network import BATCH, Network, row_of, text_of

QUIET = {"access": {"enabled": False}}


@bentoml.service(workers=2, logging=QUIET)
class Echo:
    """Texts come back."""

    @bentoml.api
    async def echo(self, text: str) -> str:
        return text


@bentoml.service(workers=2, logging=QUIET)
class Mlp:
    """The network, in batches."""

    def __init__(self) -> None:
        self._network = Network()

    @bentoml.api(batchable=True, max_batch_size=BATCH, max_latency_ms=1000)
    def predict(self, rows: list[str]) -> list[str]:
        return [text_of(row) for row in self._network(np.stack([row_of(row) for row in rows]))]
