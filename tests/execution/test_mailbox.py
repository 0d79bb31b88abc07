from __future__ import annotations

import asyncio
import threading

from runner.execution.mailbox import Mailbox
from tests.running import Signal, on_loop, turns


@on_loop
async def test_letters_of_a_thread_arrive_in_order_and_on_the_loop():
    mailbox = Mailbox(asyncio.get_running_loop())
    done = Signal()
    arrived: list[int] = []
    where: set[int] = set()

    def take(number: int) -> None:
        arrived.append(number)
        where.add(threading.get_ident())

    def write() -> None:
        for number in range(1000):
            mailbox.post(take, number)
        mailbox.post(done.set)

    threading.Thread(target=write).start()
    await done.wait()
    assert arrived == list(range(1000))
    assert where == {threading.get_ident()}


@on_loop
async def test_who_wants_to_know_is_told_when_letters_have_run():
    mailbox = Mailbox(asyncio.get_running_loop())
    arrived: list[object] = []
    mailbox.emptied = lambda: arrived.append("emptied")
    for number in range(3):
        mailbox.post(arrived.append, number)
    await turns()
    assert arrived == [0, 1, 2, "emptied"]


@on_loop
async def test_a_letter_that_raises_holds_up_no_other():
    loop = asyncio.get_running_loop()
    mailbox, said = Mailbox(loop), list[object]()
    loop.set_exception_handler(lambda _, about: said.append(about["exception"]))
    mailbox.emptied = lambda: said.append("emptied")
    bug = ValueError("a bug")

    def raises() -> None:
        raise bug

    for letter in (raises, lambda: said.append("next")):
        mailbox.post(letter)
    await turns()
    assert said == ["emptied", bug, "next", "emptied"]


@on_loop
async def test_no_letter_is_lost_between_threads():
    mailbox = Mailbox(asyncio.get_running_loop())
    done = Signal()
    arrived: list[tuple[int, int]] = []

    def write(name: int) -> None:
        for number in range(500):
            mailbox.post(arrived.append, (name, number))
        mailbox.post(done.set)

    for name in range(4):
        threading.Thread(target=write, args=(name,)).start()
    await done.wait(4)
    for name in range(4):
        assert [number for who, number in arrived if who == name] == list(range(500))


@on_loop
async def test_many_letters_of_one_turn_share_one_wake():
    loop = asyncio.get_running_loop()
    wakes: list[object] = []

    class Counting:
        def call_soon_threadsafe(self, function):
            wakes.append(function)
            return loop.call_soon_threadsafe(function)

        call_soon = loop.call_soon

    mailbox = Mailbox(Counting())  # pyright: ignore[reportArgumentType]
    arrived: list[int] = []
    for number in range(100):
        mailbox.post(arrived.append, number)
    await turns()
    assert arrived == list(range(100))
    assert len(wakes) == 1


@on_loop
async def test_a_letter_posted_by_a_letter_arrives():
    mailbox = Mailbox(asyncio.get_running_loop())
    arrived: list[str] = []

    def first() -> None:
        mailbox.post(arrived.append, "second")
        arrived.append("first")

    mailbox.post(first)
    await turns()
    assert arrived == ["first", "second"]


def test_a_letter_to_a_closed_loop_is_dropped():
    loop = asyncio.new_event_loop()
    mailbox = Mailbox(loop)
    loop.close()
    mailbox.post(print, "nobody reads this")
    mailbox.post(print, "nor this")
