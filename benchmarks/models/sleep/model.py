"""A device that takes 20 ms for any batch, and no CPU: what replicas add is all the server's doing."""

from __future__ import annotations

import time

from runner import Batch, ModelClass


class Sleep(ModelClass):
    """Sleeps, without the GIL."""

    @ModelClass.method(max_batch_size=16)
    def predict(self, text: Batch[str]) -> Batch[str]:
        """Return what came, 20 ms later."""
        time.sleep(0.02)
        return list(text)
