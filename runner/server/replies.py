"""What the ends of calls become in a reply: outputs in their places, failed ones with a status of their own."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from runner.errors import CallError, InternalError
from runner.server.status import Code, code_of
from runner.signature.dialect import Dialect
from runner.wire import reply
from runner.wire.payload import Payload

logger = logging.getLogger("runner.service")


class Replies:
    """Makes replies of a service that may have to keep what models say in their errors to itself."""

    def __init__(self, *, hide_model_errors: bool) -> None:
        self._hide_model_errors = hide_model_errors

    def refusal(self, dialect: Dialect, error: CallError, *, streaming_input: bool = False) -> bytes:
        """Return an error as a reply; raise it where the dialect has no such replies."""
        if dialect is Dialect.NATIVE:
            raise error
        status = code_of(error, streaming_input=streaming_input, hide_model_errors=self._hide_model_errors)
        return reply.failure(status.code, status.description, status.details)

    def of_list(self, answers: Sequence[Payload | BaseException]) -> bytes:
        """Return the reply to a list of inputs: each output in its place, a failed one with its own status."""
        failures = [as_call_error(answer) for answer in answers if isinstance(answer, BaseException)]
        if not failures:
            return reply.success([answer for answer in answers if not isinstance(answer, BaseException)])
        outputs = [self.output(answer) for answer in answers]
        codes = {code_of(failure).code for failure in failures}
        if len(failures) == len(answers) and len(codes) == 1:
            # All failed alike, of overload perhaps: the list is refused as one call would be.
            status = code_of(failures[0], hide_model_errors=self._hide_model_errors)
            return reply.failure(status.code, status.description, status.details, outputs=outputs)
        return self.mixed(failures, outputs)

    def mixed(self, failures: Sequence[CallError], outputs: Sequence[Payload]) -> bytes:
        """Return the reply to a list of which some inputs failed; its details are those of the first."""
        description = f"{len(failures)} of {len(outputs)} inputs failed; each output has its own status"
        first = code_of(failures[0], hide_model_errors=self._hide_model_errors)
        return reply.failure(Code.MIXED_STATUS, description, first.details, outputs=outputs)

    def output(self, answer: Payload | BaseException) -> Payload:
        """Return an answer as a serialized output."""
        if not isinstance(answer, BaseException):
            return answer
        error = as_call_error(answer)
        status = code_of(error, hide_model_errors=self._hide_model_errors)
        return reply.failed_output(
            status.code, status.description, status.details, kind=error.kind.value, path=error.path
        )


def as_call_error(exc: BaseException) -> CallError:
    """Return what a caller is told of an exception; one that is not meant for callers is a bug of ours, and logged."""
    if isinstance(exc, CallError):
        return exc
    logger.error("internal error in a call", exc_info=exc)
    return InternalError("internal error; the server's log has more")
