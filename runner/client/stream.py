"""The results of a streaming method, for plain programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from runner.client.transport import Replies
from runner.client.usage import Tally, Usage
from runner.errors import CallError
from runner.wire.statistics import decode_times

__all__ = ["Stream"]


class Stream(Iterator[Any]):
    """An iterator over a method's results, each as it arrives.

    Closing it cancels the call: `close()`, leaving its `with` block, or dropping the last reference to it. As with a
    generator, nothing comes after the end, after an error, or after it was closed.
    """

    def __init__(
        self, replies: Replies, decode: Callable[[bytes], Any], failed: Callable[[CallError], Any], tally: Tally
    ) -> None:
        """Read `replies`; `failed` returns the last result of a call that failed, or raises the error.

        `tally` is told by `decode` what they say of tokens.
        """
        self._replies = replies
        self._decode = decode
        self._failed = failed
        self._tally = tally
        self._over = False
        self._times: Mapping[str, float] = {}  # of a call that failed

    def __next__(self) -> Any:
        if self._over:
            raise StopIteration
        try:
            return self._decode(next(self._replies))
        except CallError as error:
            self._times = error.times
            self.close()
            return self._failed(error)
        except BaseException:
            # A reply that cannot be decoded leaves the call running; the rest of it has no reader.
            self.close()
            raise

    @property
    def times(self) -> dict[str, float]:
        """Where the time of the call went, as `Method.timed` tells it; empty before the end of the stream was read.

        Of a call that failed, what is known: the error has the same.
        """
        return dict(self._times) or decode_times(self._replies.trailers())

    @property
    def usage(self) -> Usage | list[Usage]:
        """What the model has said so far of tokens: a `Usage`, for a batch a list of them."""
        return self._tally.told()

    def close(self) -> None:
        """Cancel the call unless it is over."""
        self._over = True
        self._replies.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
