"""What each caller has here, and may have: its calls that wait, those that run, and how often it calls.

A rate is kept by a token bucket: tokens come in at the rate up to a second's worth, a call takes one. A list of calls
may take more than there are, once the bucket is full, and is paid off before the next.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from runner.dispatch.fair_queue import CallId, Ticket
from runner.errors import InvalidInput, Overloaded
from runner.limits import CallerLimits

MAX_IDLE: Final = 4096
"""Callers whose bucket is remembered though they have nothing here. The one that called longest ago is forgotten
first, and starts with a full bucket."""


class TooOften(Overloaded):
    """A caller calls more often than it may. Its `retry_after` is exact, where others are guesses."""


class _Caller:
    __slots__ = ("at", "running", "tokens", "waiting")

    def __init__(self, now: float, tokens: float) -> None:
        self.waiting = 0
        self.running = 0
        self.tokens = tokens
        self.at = now  # the instant to which the tokens are counted


class Callers:
    """Counts the calls of callers that have limits; others are not looked at. Pure: instants come in as arguments.

    Attributes:
        calls: of each call here, whose it is, whether it waits, and how many it counts for.
    """

    def __init__(self) -> None:
        self._callers: OrderedDict[str, _Caller] = OrderedDict()  # who called last is last
        self.calls: dict[CallId, tuple[str, bool, int]] = {}

    def check(self, ticket: Ticket, count: int, now: float, *, waits: int, hint: float | None) -> None:
        """Refuse calls that would be too many for their caller. Changes nothing.

        Args:
            ticket: one of the calls, which are all of one caller.
            count: how many there are.
            now: instant.
            waits: how many of them would wait.
            hint: seconds after which a call is likely to have ended, if that is known.

        Raises:
            Overloaded: with `of_caller`.
            InvalidInput: they are more than the caller may ever have at once.
        """
        limits = ticket.limits
        if limits is None:
            return
        known = self._callers.get(ticket.caller) or _Caller(now, _burst(limits))
        has = known.waiting + known.running
        if limits.max_calls and count > limits.max_calls:  # which no waiting would change
            raise InvalidInput(
                f"a list of {count} inputs, and a caller may have {limits.max_calls} calls here; send fewer at once"
            )
        if limits.max_calls and has + count > limits.max_calls:
            raise _too_many(f"{has} calls of this caller are here, and {limits.max_calls} may be", hint)
        if limits.max_queued_calls and waits and known.waiting + waits > limits.max_queued_calls:
            raise _too_many(f"{known.waiting} calls of this caller wait, and {limits.max_queued_calls} may wait", hint)
        if limits.max_calls_per_second:
            lacking = min(count, _burst(limits)) - _tokens(known, limits, now)
            if lacking > 0:
                raise TooOften(
                    f"this caller may call {limits.max_calls_per_second:g} times a second; try again later",
                    retry_after=lacking / limits.max_calls_per_second,
                    of_caller=True,
                )

    def take(self, ticket: Ticket, now: float, *, waits: bool, again: bool = False) -> None:
        """A call has been admitted.

        Args:
            ticket: the call.
            now: instant.
            waits: it waits; otherwise it runs.
            again: it was here before, and is not counted as a further one of its caller's.
        """
        limits = ticket.limits
        if limits is None:
            return
        known = self._callers.get(ticket.caller)
        if known is None:
            known = self._callers[ticket.caller] = _Caller(now, _burst(limits))
            self._forget_some()
        self._callers.move_to_end(ticket.caller)
        known.tokens, known.at = _tokens(known, limits, now) - (0 if again else ticket.calls), now
        self.calls[ticket.id] = (ticket.caller, waits, ticket.calls)
        if waits:
            known.waiting += ticket.calls
        else:
            known.running += ticket.calls

    def start(self, call: CallId) -> None:
        """A call that waited runs."""
        if (found := self.calls.get(call)) is not None:
            caller, _, calls = found
            self.calls[call] = (caller, False, calls)
            known = self._callers[caller]
            known.waiting -= calls
            known.running += calls

    def end(self, call: CallId) -> None:
        """A call is no longer here."""
        if (found := self.calls.pop(call, None)) is not None:
            caller, waits, calls = found
            known = self._callers[caller]
            if waits:
                known.waiting -= calls
            else:
                known.running -= calls

    def _forget_some(self) -> None:
        if len(self._callers) - len(self.calls) > MAX_IDLE:
            idle = next(name for name, known in self._callers.items() if not (known.waiting or known.running))
            del self._callers[idle]

    def __len__(self) -> int:
        return len(self._callers)

    def __repr__(self) -> str:
        return f"<Callers {len(self)}, with {len(self.calls)} calls>"


def _burst(limits: CallerLimits) -> float:
    return max(limits.max_calls_per_second, 1.0)


def _tokens(known: _Caller, limits: CallerLimits, now: float) -> float:
    return min(known.tokens + (now - known.at) * limits.max_calls_per_second, _burst(limits))


def _too_many(message: str, retry_after: float | None) -> Overloaded:
    return Overloaded(f"{message}; try again later", retry_after=retry_after, of_caller=True)
