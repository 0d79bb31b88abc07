"""The network in LitServe.

`max_batch_size`, and a `batch_timeout` of the time that a batch takes; `fast_queue`, `workers_per_device` and
`num_api_servers` as in echo.py. Rows are base64 in JSON.
"""

from __future__ import annotations

import sys

import litserve
import numpy as np
from network import BATCH, Network, row_of, text_of


class Mlp(litserve.LitAPI):
    """The network, in batches."""

    def setup(self, device: str) -> None:
        self._network = Network()

    def decode_request(self, request: dict[str, str]) -> np.ndarray:
        return row_of(request["input"])

    def predict(self, x: list[np.ndarray]) -> np.ndarray:
        return self._network(np.stack(x))

    def encode_response(self, output: np.ndarray) -> dict[str, str]:
        return {"output": text_of(output)}


if __name__ == "__main__":
    api = Mlp(max_batch_size=BATCH, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=2, fast_queue=True)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="error")
