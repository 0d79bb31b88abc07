"""Tuples that are made without their classes' constructors have all their fields."""

from __future__ import annotations

from typing import NamedTuple

from runner.engine import Request
from runner.server.rpcs import CallInfo
from runner.tuples import maker
from runner.wire.envelope import Envelope, scan
from runner.wire.payload import Payload
from tests.running import on_loop
from tests.server.desk import CLARIFAI, desk, request


class Pair(NamedTuple):
    first: int
    second: str = ""


def test_what_is_made_is_of_the_class() -> None:
    made = maker(Pair)((1, "x"))
    assert type(made) is Pair
    assert made == Pair(1, "x")
    assert made.second == "x"


class Arrived:
    def __init__(self) -> None:
        self.request: Payload = request("predict", "x")
        self.info = CallInfo()
        self.stop = None

    def told(self, reply: object) -> None: ...


@on_loop
async def test_no_field_is_missing_of_those_that_every_call_needs():
    scan(request("predict", "x"))
    assert len(scan(request("predict", "y"))) == len(Envelope._fields)  # like the one before
    async with desk() as under_test:
        begun: list[Request] = []
        under_test.engine.begin_all = lambda calls: begun.extend(call.request for call in calls)  # type: ignore[method-assign]
        under_test.service.begin_unary(CLARIFAI, "PostModelOutputs", [Arrived()])
        assert [len(each) for each in begun] == [len(Request._fields)]
