"""What the server is fit for: whether it has started, whether a call would be accepted, and why not."""

from __future__ import annotations

import asyncio
import enum


class Condition(enum.Enum):
    """The server's condition; the value is how a person is told."""

    LOADING = "the model is loading"
    READY = "ready"
    NO_REPLICA = "no replica is ready; one is being started again"
    DRAINING = "the server is shutting down"


class Fitness:
    """Kept by the server's life, told by gRPC's health service and over HTTP.

    Loading first, then ready or not as replicas come and go; once it is draining it stays so.
    """

    def __init__(self) -> None:
        self.condition = Condition.LOADING
        self.started = False
        """True once every replica has been ready."""
        self.changed = asyncio.Event()
        """Set once, at the next change, and then replaced by another."""

    @property
    def ready(self) -> bool:
        """Whether a new call would be accepted."""
        return self.condition is Condition.READY

    def set_ready(self, ready: bool) -> None:
        """The model has been loaded, and there is a replica that takes calls, or there is none at the moment."""
        self.started = True
        self._set(Condition.READY if ready else Condition.NO_REPLICA)

    def drain(self) -> None:
        """From here on no call should be sent here."""
        self._set(Condition.DRAINING)

    def _set(self, condition: Condition) -> None:
        if condition is not self.condition and self.condition is not Condition.DRAINING:
            self.condition = condition
            self.changed.set()
            self.changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Fitness {self.condition.name}>"
