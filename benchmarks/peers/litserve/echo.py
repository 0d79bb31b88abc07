"""The echo in LitServe.

`fast_queue` is advised above 100 requests per second, and on a CPU as many `workers_per_device` as there are cores;
`num_api_servers` is left to follow them, as advised.
"""

from __future__ import annotations

import sys

import litserve


class Echo(litserve.LitAPI):
    """Texts come back."""

    def setup(self, device: str) -> None:
        pass

    def decode_request(self, request: dict[str, str]) -> str:
        return request["input"]

    def predict(self, x: str) -> str:
        return x

    def encode_response(self, output: str) -> dict[str, str]:
        return {"output": output}


if __name__ == "__main__":
    server = litserve.LitServer(Echo(), accelerator="cpu", workers_per_device=2, fast_queue=True)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="error")
