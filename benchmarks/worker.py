"""What a worker costs without a transport before it: calls straight over its link, so many of them at any time.

Each line is one method: calls per second, and the CPU that the driver and the worker spend on one. The driver is this
process, with the server's own link and what gathers calls for it. Each answer is followed by another call at once, so
that calls travel together as answers do.

    python benchmarks/worker.py [--seconds 3] [--in-flight 64] [--only echo,arrays,mlp] [--shared-bytes 0]
"""

from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import uvloop
from bench import machine
from processes import Server

from runner.dispatch.dispatcher import CallId
from runner.engine import Request
from runner.engine.calls import UnaryCall
from runner.engine.together import Together
from runner.signature.published import Published
from runner.wire.pb import inference_pb2 as pb
from runner.workers.messages import Failed, Load, LoadFailed, Message, Ready, Result, Results
from runner.workers.process import WorkerProcess

HERE = Path(__file__).parent
MODELS = HERE / "models"


@dataclass(frozen=True, slots=True)
class Case:
    """A method, and the one argument that it gets."""

    name: str
    model: str
    method: str
    argument: str
    data: pb.Data


def _array(*shape: int, dtype: str = "float32") -> pb.Data:
    array = np.ones(shape, dtype)
    return pb.Data(ndarray=pb.NDArray(buffer=array.tobytes(), shape=shape, dtype=dtype))


def _cases(array_bytes: int) -> list[Case]:
    return [
        Case("echo", "echo", "echo", "text", pb.Data(string_value="hello")),
        Case("plain_echo", "echo", "plain_echo", "text", pb.Data(string_value="hello")),
        Case("arrays", "echo", "echo_array", "array", _array(array_bytes // 4)),
        Case("mlp", "mlp", "predict", "row", _array(512)),
    ]


class _Driver:
    """Keeps so many calls under way, as an engine would send them, and counts the answers."""

    def __init__(self) -> None:
        self.ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answered = 0
        self._until = 0.0
        self._method = 0
        self._published: Published
        self._payload = b""
        self._last = 0
        self._under_way = 0

    def attach(self, worker: WorkerProcess) -> None:
        self._together = Together(worker.link)

    def begin(self, method: int, published: Published, payload: bytes, in_flight: int, seconds: float) -> None:
        self._method, self._published, self._payload = method, published, payload
        self._until = time.monotonic() + seconds
        self._call(in_flight)

    def _call(self, count: int) -> None:
        self._under_way += count
        now = time.monotonic()
        calls: list[UnaryCall] = []
        for _ in range(count):
            self._last += 1
            request = Request(self._published, self._payload, request_id=f"{self._last:x}")
            call = UnaryCall(CallId(self._last), request, now)
            call.wire_id = self._last
            calls.append(call)
        self._together.send(calls, self._method, now, wait=True)

    def _ended(self, calls: int) -> None:
        self._under_way -= calls
        self.answered += calls
        if time.monotonic() < self._until:
            self._call(calls)
        elif not self._under_way and not self.over.done():
            self.over.set_result(None)

    def on_message(self, message: Message) -> None:
        match message:
            case Result():
                self._ended(1)
            case Results():
                self._ended(message.calls)
            case Ready():
                self.ready.set_result(message)
            case LoadFailed() | Failed():
                raise RuntimeError(str(message))
            case _:
                pass

    def on_closed(self) -> None:
        if not self.over.done():
            self.over.set_exception(RuntimeError("the worker has gone"))


async def _measure(case: Case, in_flight: int, seconds: float, shared_bytes: int) -> str:
    driver = _Driver()
    worker = await WorkerProcess.spawn(driver, {}, shared_bytes=shared_bytes)
    try:
        driver.attach(worker)
        worker.link.send(
            Load(
                model_dir=str((MODELS / case.model).resolve()),
                device="cpu",
                num_threads=16,
                max_streams=16,
                allow_private_urls=False,
                fetch_timeout=10.0,
                fetch_max_bytes=1 << 20,
                fetch_max_redirects=0,
            )
        )
        ready = await driver.ready
        method, published = next((n, each) for n, each in enumerate(ready.methods) if each.name == case.method)
        payload = pb.Input(data=pb.Data(parts=[pb.Part(id=case.argument, data=case.data)]))
        payload.data.metadata["_method_name"] = case.method
        serialized = payload.SerializeToString()
        server = Server(worker.pid, 0)
        driver.begin(method, published, serialized, in_flight, 0.5)
        await driver.over
        driver.over, driver.answered = asyncio.get_running_loop().create_future(), 0
        ours, theirs, started = time.process_time(), server.cpu_seconds(), time.perf_counter()
        driver.begin(method, published, serialized, in_flight, seconds)
        await driver.over
        passed, calls = time.perf_counter() - started, driver.answered
        ours, theirs = time.process_time() - ours, server.cpu_seconds() - theirs
    finally:
        await worker.stop()
    return (
        f"| {case.name} | {in_flight} | {calls / passed:,.0f} | {ours / calls * 1e6:.1f} | {theirs / calls * 1e6:.1f} |"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one run (default 3)")
    parser.add_argument("--in-flight", type=int, default=64, help="calls under way (default 64)")
    parser.add_argument("--array-bytes", type=int, default=150_000, help="size of an array (default 150,000)")
    parser.add_argument(
        "--shared-bytes",
        type=int,
        default=64 << 20,
        help="memory for long payloads, each way; 0: none (default 64 MiB)",
    )
    parser.add_argument("--only", default=",".join(case.name for case in _cases(0)), help="comma-separated cases")
    options = parser.parse_args()
    print(f"{machine()}\n")
    print("| method | in flight | calls/s | driver, CPU µs a call | worker, CPU µs a call |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for case in _cases(options.array_bytes):
        if case.name in options.only.split(","):
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                print(runner.run(_measure(case, options.in_flight, options.seconds, options.shared_bytes)), flush=True)


if __name__ == "__main__":
    main()
