"""One served model: its calls are admitted, dispatched to replicas, and answered."""

from runner.engine.calls import Request
from runner.engine.engine import Engine
from runner.engine.keeper import Place
from runner.engine.stream_call import StreamCall

__all__ = ["Engine", "Place", "Request", "StreamCall"]
