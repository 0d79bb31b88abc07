"""Call a model that is served somewhere, as if it were here.

from runner.client import Model

model = Model(base_url="http://127.0.0.1:8000")
print(model.predict(prompt="Hello"))
"""

from runner.client.async_call import AsyncStream
from runner.client.async_model import AsyncModel
from runner.client.calls import ENDED
from runner.client.failures import Unreachable
from runner.client.model import Model
from runner.client.stream import Stream
from runner.client.usage import Usage

__all__ = ["ENDED", "AsyncModel", "AsyncStream", "Model", "Stream", "Unreachable", "Usage"]
