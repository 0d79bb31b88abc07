"""What the log of a server with all its processes looks like to what collects it."""

from __future__ import annotations

import json

import pytest

from runner.client import Model
from runner.errors import ModelError
from tests.real.conftest import TRANSPORT

pytestmark = pytest.mark.real

MODEL = """
import logging

from runner import ModelClass

logger = logging.getLogger("tale")


class Tale(ModelClass):
    def load_model(self) -> None:
        logger.debug("once upon a time")

    @ModelClass.method
    def tell(self, text: str) -> str:
        raise ValueError(text)
"""


@pytest.mark.parametrize("flags", [(), ("--ingress", "1")], ids=["alone", "with ingress"])
def test_every_line_is_an_object_that_says_who(launch, tmp_path, flags):
    if flags and TRANSPORT:
        pytest.skip("ingress processes go with the native transport")
    (tmp_path / "model.py").write_text(MODEL)
    server = launch(tmp_path, *flags, "--replicas", "2", "--log-format", "json", "--log-level", "debug")
    server.wait_ready()
    with Model(base_url=server.base_url) as model, pytest.raises(ModelError):
        model.tell("no hero")
    assert server.terminate() == 0
    lines = [json.loads(line) for line in server.stderr.splitlines()]
    assert {line["process"] for line in lines} >= {"server", "worker 1", "worker 2"}
    (raised,) = [line for line in lines if line["message"].startswith("tell raised ValueError")]
    assert raised["process"] in ("worker 1", "worker 2")
    assert (raised["level"], raised["logger"], raised["method"]) == ("ERROR", "runner.model", "tell")
    assert raised["message"].endswith(f"(request {raised['request_id']})")
    assert raised["exception"].endswith("ValueError: no hero")
    assert sum(line["message"] == "once upon a time" for line in lines) == 2
