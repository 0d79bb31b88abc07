"""Every message that crosses between the main process and an ingress process: one closed list.

`frames.py` knows their bytes. One socket carries them all: long ones go in pieces, so that nothing short waits for more
than one of these. Calls are numbered by the ingress process, from 1 on; no number is used twice.

Messages are frozen. The three that calls cost are named tuples, which are made three times as fast as frozen
dataclasses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final, NamedTuple, TypeAlias

from runner.wire.payload import Payload

WINDOW: Final = 128
WINDOW_BYTES: Final = 256 * 1024
"""items and bytes under way between the two processes in one direction of a stream, as `flow.py` counts them. Neither
side does anything long before it gives credit back, so the bytes are few. Of small items there are many: a stream that
stops and goes costs more than its items (`docs/performance.md`)."""


class RpcKind(NamedTuple):
    """What an ingress process has to know of an RPC.

    Attributes:
        path: such as `/runner.v1.Inference/PostModelOutputs`.
        requests, replies: whether there is a stream of them.
        lasting: it goes on until the client leaves.
        times: it can say where its time went, in the trailing metadata.
    """

    path: str
    requests: bool
    replies: bool
    lasting: bool
    times: bool


@dataclass(frozen=True, slots=True)
class Encrypt:
    """From now on handshakes use this certificate. If connections are encrypted at all, it comes before `Serve`.

    Ingress processes do not read the files: what the main process has found to fit is what all use, and one that is
    started while the files are wrong uses it too.
    """

    TAG: ClassVar[int] = 9

    certificate: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """Connections will be given to an ingress process: what it serves, and how.

    Attributes:
        rpcs: all there are.
        max_message_bytes: as the configuration has it.
        compress_replies: as the configuration has it.
        max_age: seconds until clients are asked to connect again; 0: they may stay.
        age_grace: seconds that their calls may take after that.
        log_level, log_format: see `Log`.
    """

    TAG: ClassVar[int] = 1

    rpcs: tuple[RpcKind, ...]
    max_message_bytes: int
    compress_replies: bool
    max_age: float
    age_grace: float
    log_level: str = "info"
    log_format: str = "text"


class Call(NamedTuple):
    """A call has come. The request is the payload, or follows as `Item`s where there is a stream of them."""

    id: int
    head: bytes
    """Path, peer and metadata, as `heads.py` packs them: clients repeat them, and so they are read once."""
    deadline: float | None
    """Instant on the `time.monotonic` clock, which is one for all processes of a machine; None without one."""
    request_id: str
    payload: Payload

    TAG = 2


class Item(NamedTuple):
    """One more request of a stream of them (to the main process), or one more reply (from it)."""

    id: int
    payload: Payload

    TAG = 3


@dataclass(frozen=True, slots=True)
class EndInput:
    """The client has no more to send."""

    TAG: ClassVar[int] = 4

    id: int


@dataclass(frozen=True, slots=True)
class Credit:
    """Leave to send `items` more with `size` more bytes: replies when the ingress process says it, else requests."""

    TAG: ClassVar[int] = 5

    id: int
    items: int
    size: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """The client has left, or wants no more. Nothing more is said of the call."""

    TAG: ClassVar[int] = 6

    id: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Begin nothing new, give the calls under way `grace` seconds to end, and end."""

    TAG: ClassVar[int] = 7

    grace: float


@dataclass(frozen=True, slots=True)
class Beat:
    """The main process asks with it whether the loop of the other one turns, which answers with the same."""

    TAG: ClassVar[int] = 8


@dataclass(frozen=True, slots=True)
class Ready:
    """Connections may be given to this process from now on, so many at a time."""

    TAG: ClassVar[int] = 16

    room: int


@dataclass(frozen=True, slots=True)
class Left:
    """So many of the connections that were given to this process have ended since it began."""

    TAG: ClassVar[int] = 17

    connections: int


class Result(NamedTuple):
    """A call's last message when all went well."""

    id: int
    begin: bytes
    """The beginning of the only reply, where it is in two pieces."""
    payload: Payload
    """The only reply, or the rest of it; empty at the end of a stream of them."""
    trailers: bytes
    """Metadata to send behind it, as `heads.py` packs it."""

    TAG = 18


@dataclass(frozen=True, slots=True)
class Failed:
    """A call's last message when it did not end well: its status, and metadata to send behind it."""

    TAG: ClassVar[int] = 19

    id: int
    code: int
    message: str
    details: bytes
    trailers: bytes = b""


ToIngress: TypeAlias = Encrypt | Serve | Item | Credit | Drain | Beat | Result | Failed
FromIngress: TypeAlias = Ready | Left | Beat | Call | Item | EndInput | Credit | Cancel
Message: TypeAlias = (
    Encrypt | Serve | Call | Item | EndInput | Credit | Cancel | Drain | Beat | Ready | Left | Result | Failed
)
