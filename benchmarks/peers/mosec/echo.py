"""The echo in mosec.

JSON is what mosec speaks unless told otherwise, and right for text. Two workers, as `num` is mosec's way to more cores.
Not batched: there is nothing to gain for a function that does nothing.
"""

from __future__ import annotations

from mosec import Server, Worker


class Echo(Worker):
    """Texts come back."""

    def forward(self, data: str) -> str:
        return data


if __name__ == "__main__":
    server = Server()
    server.append_worker(Echo, num=2)
    server.run()
