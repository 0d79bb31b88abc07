"""One served model: its calls are admitted, dispatched to replicas, and answered."""

from runner.engine.calls import Request, StreamCall
from runner.engine.engine import Engine
from runner.engine.keeper import Place

__all__ = ["Engine", "Place", "Request", "StreamCall"]
