"""What the ends of calls become in a reply: outputs in their places, failed ones with a status of their own."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from runner.engine.calls import Outcome, UnaryCall
from runner.engine.parts import ends_of
from runner.errors import CallError, InternalError
from runner.execution.failure import with_traceback
from runner.server.status import ClarifaiStatus, Code, code_of
from runner.signature.dialect import Dialect
from runner.wire import reply, run
from runner.wire.payload import LongReply, Payload

logger = logging.getLogger("runner.service")


class Replies:
    """Makes replies of a service that may have to keep what models say in their errors to itself."""

    def __init__(self, *, hide_model_errors: bool, debug: bool = False) -> None:
        self._hide_model_errors = hide_model_errors
        self._debug = debug

    def error(self, exc: BaseException) -> CallError:
        """Return what a caller is told of an exception.

        One that is not meant for callers is a bug of ours: it is logged, and the caller learns that it happened.
        """
        if isinstance(exc, CallError):
            return exc
        logger.error("internal error in a call", exc_info=exc)
        error = InternalError("internal error; the server's log has more")
        error.__cause__ = exc
        return with_traceback(error) if self._debug else error

    def refusal(
        self, dialect: Dialect, exc: Exception, *, streaming_input: bool = False, with_output: bool = False
    ) -> bytes:
        """Return an exception as a reply; raise it, as a `CallError`, where the dialect has no such replies.

        Args:
            dialect: the caller's.
            exc: what went wrong.
            streaming_input: the call has a stream of inputs, and cannot be sent again.
            with_output: the reply has an output with the same status; a client that asks for signatures looks there
                first.
        """
        error = self.error(exc)
        if dialect is Dialect.NATIVE:
            try:
                raise error
            finally:
                # The error's traceback knows this frame, and those of its callers, who have the request. If this frame
                # knew the error, all of that would stay until garbage is collected: hundreds of megabytes, perhaps.
                del exc, error
        status = self._status(error, streaming_input=streaming_input)
        outputs = (self.output(error),) if with_output else ()
        return reply.failure(status.code, status.description, status.details, outputs=outputs)

    def of_parts(self, parts: Sequence[UnaryCall], outcomes: Sequence[Outcome]) -> bytes | LongReply:
        """Return the reply to a list of inputs that ran in parts. Outputs that went well are passed on as they are."""
        runs: list[Payload] = []
        for part, outcome in zip(parts, outcomes, strict=True):
            if isinstance(outcome.end, CallError):
                pairs = zip(parts, outcomes, strict=True)
                return self.of_list([end for part, outcome in pairs for end in ends_of(part.request, outcome)])
            if part.request.inputs > 1:
                runs.append(outcome.end)
            else:
                runs += run.pieces(run.OUTPUT_TAG, (outcome.end,))
        return reply.success_of_runs(runs)

    def of_list(self, answers: Sequence[Payload | BaseException]) -> bytes:
        """Return the reply to a list of inputs: each output in its place, a failed one with its own status."""
        failures = [self.error(answer) for answer in answers if isinstance(answer, BaseException)]
        if not failures:
            return reply.success([answer for answer in answers if not isinstance(answer, BaseException)])
        outputs = [self.output(answer) for answer in answers]
        codes = {code_of(failure).code for failure in failures}
        if len(failures) == len(answers) and len(codes) == 1:
            # All failed alike, of overload perhaps: the list is refused as one call would be.
            status = self._status(failures[0])
            return reply.failure(status.code, status.description, status.details, outputs=outputs)
        return self.mixed(failures, outputs)

    def mixed(self, failures: Sequence[CallError], outputs: Sequence[Payload]) -> bytes:
        """Return the reply to a list of which some inputs failed; its details are those of the first."""
        description = f"{len(failures)} of {len(outputs)} inputs failed; each output has its own status"
        first = self._status(failures[0])
        return reply.failure(Code.MIXED_STATUS, description, first.details, outputs=outputs)

    def output(self, answer: Payload | BaseException) -> Payload:
        """Return an answer as a serialized output."""
        if not isinstance(answer, BaseException):
            return answer
        error = self.error(answer)
        status = self._status(error)
        return reply.failed_output(
            status.code, status.description, status.details, kind=error.kind.value, path=error.path
        )

    def _status(self, error: CallError, *, streaming_input: bool = False) -> ClarifaiStatus:
        return code_of(
            error,
            streaming_input=streaming_input,
            hide_model_errors=self._hide_model_errors,
            debug=self._debug,
        )
