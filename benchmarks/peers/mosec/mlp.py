"""The network in mosec.

`MsgpackMixin` is what its documentation advises for binary data. Dynamic batching by `max_batch_size`; the 1 ms of
`max_wait_time` is about the time of a batch (the default of 10 ms would make each batch that is not full ten times as
long). Two workers: one was no faster on two cores, and in one of two tries a third slower.
"""

from __future__ import annotations

import numpy as np
from mosec import Server, Worker
from mosec.mixin import MsgpackMixin
from network import BATCH, Network


class Mlp(MsgpackMixin, Worker):
    """The network, in batches."""

    def __init__(self) -> None:
        self._network = Network()

    def forward(self, data: list[bytes]) -> list[bytes]:
        return [row.tobytes() for row in self._network(np.stack([np.frombuffer(row, np.float32) for row in data]))]


if __name__ == "__main__":
    server = Server()
    server.append_worker(Mlp, num=2, max_batch_size=BATCH, max_wait_time=1)
    server.run()
