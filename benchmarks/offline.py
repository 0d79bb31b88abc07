"""The bare loop that `batching.py` compares a server with: full batches, one after the other.

python benchmarks/offline.py mlp|embedder SECONDS
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
BATCH = 32


def mlp() -> Callable[[], object]:
    """Return a function that runs one batch of the MLP."""
    import torch

    sys.path.insert(0, str(HERE / "models" / "mlp"))
    from model import network

    net, rows = network(), torch.ones(BATCH, 512)

    def run() -> object:
        with torch.inference_mode():
            return net(rows)

    return run


def embedder() -> Callable[[], object]:
    """Return a function that embeds one batch of texts, tokenizing included."""
    sys.path.insert(0, str(HERE.parent / "examples" / "models" / "sentence-embedder"))
    from batching import TEXT
    from model import SentenceEmbedder

    model = SentenceEmbedder()
    model.load_model()
    texts = [TEXT] * BATCH
    return lambda: model.embed(texts)


def main(name: str, seconds: str) -> None:
    """Run for some time, and print the rate as JSON."""
    run = {"mlp": mlp, "embedder": embedder}[name]()
    for _ in range(3):
        run()
    batches, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < float(seconds):
        run()
        batches += 1
    print(json.dumps({"items_per_second": batches * BATCH / passed}))


if __name__ == "__main__":
    main(*sys.argv[1:])
