"""The methods that a model has now, who is told of them, and requests that were read when it had others."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from runner.engine.methods import Methods
from runner.errors import MethodNotFound
from tests.engine.scripted import GENERATE, METHODS, PREDICT, request
from tests.running import on_loop, turns

OTHERS = tuple(dataclasses.replace(method, name=f"other_{method.name}") for method in METHODS)


@on_loop
async def test_who_waits_and_who_follows_is_told_once_they_are_known():
    methods = Methods()
    told: list[tuple] = []
    methods.follow(lambda now: told.append(tuple(now)))
    waiting = asyncio.ensure_future(methods.known())
    methods.put(METHODS)
    await turns()
    assert (told, waiting.done()) == ([], False)
    methods.publish()
    assert await waiting == methods.all == METHODS
    methods.follow(lambda now: told.append(tuple(now)))
    methods.put(OTHERS)
    methods.publish()
    assert told == [METHODS, METHODS, OTHERS, OTHERS]


def test_a_request_stays_as_it_is_while_its_method_does():
    methods = Methods()
    wanted = request(PREDICT)
    assert methods.current(wanted) is wanted  # nothing is known yet
    methods.put(METHODS)
    assert methods.current(wanted) is wanted


def test_a_request_gets_the_new_method_of_its_name_or_none():
    methods = Methods()
    newer = dataclasses.replace(METHODS[PREDICT], priority=5)
    methods.put([newer, dataclasses.replace(METHODS[GENERATE], name="stream")])
    assert methods.current(request(PREDICT)).method is newer
    for left_out in ("generate", "stream"):  # no such name; another kind of this name
        with pytest.raises(MethodNotFound, match=left_out):
            methods.current(next(request(n) for n, method in enumerate(METHODS) if method.name == left_out))
