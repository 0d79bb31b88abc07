"""Every message that crosses between the server process and a worker: one closed list.

`frames.py` knows their bytes. There are two sockets to a worker: messages marked `CONTROL` take the second one and
overtake payloads that are still on their way.

Messages are frozen. Those that every call or chunk costs are named tuples, which are made three times as fast as frozen
dataclasses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, TypeAlias

from runner.errors import CallError
from runner.execution.times import UNTIMED, Times
from runner.signature.published import Lane, Published
from runner.statistics import BatchStatistics
from runner.wire.payload import Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """First message to a worker: what to load, and where it may run.

    Attributes:
        model_dir: absolute path of the model directory.
        device: what `self.device` will be, such as `cpu` or `cuda:0`.
        num_threads: unary plain functions that may run at once.
        max_streams: streams of plain functions that may run at once.
        allow_private_urls: whether inputs may be fetched from private addresses.
        fetch_timeout: seconds for one input given by URL.
        fetch_max_bytes: size limit of one such input.
        fetch_max_redirects: redirects followed for one such input.
        options: what the configuration says about methods, by name: options of `@ModelClass.method`, and their values.
        cpus: the CPUs to keep to, as the kernel lists them, such as `0-15,32-47`; empty: any.
        debug: errors bring the traceback of what caused them.
        name: what the server calls the worker, in its log; empty: nothing.
        log_level, log_format: see `Log`.
    """

    TAG: ClassVar[int] = 1
    CONTROL: ClassVar[bool] = True

    model_dir: str
    device: str
    num_threads: int
    max_streams: int
    allow_private_urls: bool
    fetch_timeout: float
    fetch_max_bytes: int
    fetch_max_redirects: int
    options: Mapping[str, Mapping[str, object]] = field(default_factory=dict[str, Mapping[str, object]])
    cpus: str = ""
    debug: bool = False
    name: str = ""
    log_level: str = "info"
    log_format: str = "text"


class Call(NamedTuple):
    """Run a method."""

    id: int
    """One more than that of the call sent before it on this link. Long calls arrive after shorter ones sent later."""
    method: int
    """Index into the methods of `Ready`."""
    payload: Payload
    """One serialized input, the first one of an input stream; or a run of several, that have an output each."""
    params: bytes
    """Old-style parameters, a serialized struct; usually empty."""
    time_left: float | None
    """Seconds until the caller's deadline; None without one."""
    request_id: str
    metadata: bytes
    """Packed by `pairs.pack_pairs`."""
    inputs: int = 1
    """How many inputs the payload has."""

    TAG = 2
    CONTROL = False


class Calls(NamedTuple):
    """Run a method for several calls that went out together, as so many `Call`s with one input each would have it."""

    id: int
    """Of the first; those of the others follow it."""
    method: int
    payload: Payload
    """A run of their inputs."""
    times_left: tuple[float | None, ...]
    """Of each, as `Call.time_left`."""
    request_ids: tuple[str, ...]
    metadata: tuple[bytes, ...]
    """Of each, as `Call.metadata`; or one, which is the same for all."""

    TAG = 7
    CONTROL = False


class Item(NamedTuple):
    """One more input of a streamed call (to the worker), or one more of its outputs (from it)."""

    id: int
    payload: Payload

    TAG = 3
    CONTROL = False


class Items(NamedTuple):
    """What so many `Item`s would say, one after the other, of one call or of several. All are short."""

    ids: tuple[int, ...]
    payloads: tuple[Payload, ...]

    TAG = 8
    CONTROL = False


@dataclass(frozen=True, slots=True)
class EndInput:
    """The caller has no more to send."""

    TAG: ClassVar[int] = 4
    CONTROL: ClassVar[bool] = False

    id: int


@dataclass(frozen=True, slots=True)
class Credit:
    """Leave to send `items` more with `size` more bytes: outputs when sent to the worker, inputs when sent by it."""

    TAG: ClassVar[int] = 5
    CONTROL: ClassVar[bool] = True

    id: int
    items: int
    size: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop the call. The worker still answers with `Failed` or `Result`, and only then is its room free again."""

    TAG: ClassVar[int] = 6
    CONTROL: ClassVar[bool] = True

    id: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded; these are its methods, in order."""

    TAG: ClassVar[int] = 16
    CONTROL: ClassVar[bool] = True

    methods: tuple[Published, ...]


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The model cannot be loaded; the worker exits after this."""

    TAG: ClassVar[int] = 17
    CONTROL: ClassVar[bool] = True

    message: str
    details: str


class Result(NamedTuple):
    """A call's last message when all went well."""

    id: int
    payload: Payload
    """The serialized output of a call whose answer is one value, a run of as many as it has inputs; empty at the end of
    an output stream."""
    times: Times = UNTIMED

    TAG = 18
    CONTROL = False


@dataclass(frozen=True, slots=True)
class Failed:
    """A call's last message when it did not end well."""

    TAG: ClassVar[int] = 19
    CONTROL: ClassVar[bool] = False

    id: int
    error: CallError
    times: Times = UNTIMED


class Results(NamedTuple):
    """The last message of several calls of which all went well."""

    id: int
    """Of the first; those of the others follow it."""
    calls: int
    """How many."""
    payload: Payload
    """A run of their outputs."""
    times: tuple[Times, ...] = (UNTIMED,)
    """Of each; or one, which is the same for all."""

    TAG = 23
    CONTROL = False


@dataclass(frozen=True, slots=True)
class Mixed:
    """The last message of a call of several inputs when it did not go well for all of them: how it went for each."""

    TAG: ClassVar[int] = 22
    CONTROL: ClassVar[bool] = False

    id: int
    ends: tuple[Payload | CallError, ...]
    """Serialized outputs, and errors, in the order of the inputs."""
    times: Times = UNTIMED


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """Batches of one method or coalescing point that have run since this was last said.

    Attributes:
        name: the method's or the coalescing point's.
        batches: how many.
        entries: in all of them.
        cost: of all of them.
        seconds: that they took together.
        device_seconds: that the device took, where it tells; otherwise 0.
        reasons: how many left for which reason, a `batching.entries.Reason`.
        sizes: how many were of which size, in powers of two: `8` counts those of 5 to 8.
        longest_wait: seconds that an entry had waited at most.
        oom_splits: runs that were split for want of memory.
        latest: the last of them.
    """

    TAG: ClassVar[int] = 20
    CONTROL: ClassVar[bool] = True

    name: str
    batches: int
    entries: int
    cost: float
    seconds: float
    device_seconds: float
    reasons: Mapping[str, int]
    sizes: Mapping[str, int]
    longest_wait: float
    oom_splits: int = 0
    latest: BatchStatistics | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """From now on the worker takes so many calls of a lane at once."""

    TAG: ClassVar[int] = 21
    CONTROL: ClassVar[bool] = True

    lane: Lane
    calls: int


ToWorker: TypeAlias = Load | Call | Calls | Item | Items | EndInput | Credit | Cancel
FromWorker: TypeAlias = Ready | LoadFailed | Item | Items | Credit | Result | Results | Failed | Mixed | Ran | Room
Message: TypeAlias = ToWorker | FromWorker
