"""curl, nghttp and h2load: general HTTP/2 clients that know nothing of gRPC and print what they see.

All three come with Debian's `curl` and `nghttp2-client`; each test is skipped where its tool is not installed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from runner.wire.pb import inference_pb2 as pb
from tests.real.test_plain_grpc import CLARIFAI, NATIVE, request, result

pytestmark = pytest.mark.real

ENDED_WITHIN = 20.0  # seconds
GRPC = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
UNARY = f"{NATIVE}/PostModelOutputs"
LONG = "é" * 50_000  # of two bytes each: many windows and frames


@pytest.fixture(scope="module")
def base(serve) -> str:
    return serve("misbehaving", "--transport", "native").base_url


@pytest.fixture
def body(tmp_path):
    """Return what writes a file of one framed message."""

    def write(method: str, text: str) -> Path:
        message = request(method, text=pb.Data(string_value=text))
        path = tmp_path / "body"
        path.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
        return path

    return write


def run(tool: str, *arguments: str) -> bytes:
    """Return what a tool prints, or skip the test where there is no such tool."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    return subprocess.run([tool, *arguments], capture_output=True, timeout=ENDED_WITHIN, check=True).stdout


def curl(base: str, path: str, *arguments: str) -> tuple[str, dict[str, str], bytes, dict[str, str]]:
    """Return the status line, the header, the body, and what came after it."""
    answer = run("curl", "--silent", "--include", "--http2-prior-knowledge", *arguments, base + path)
    head, _, rest = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    length = 5 + int.from_bytes(rest[1:5], "big") if rest else 0  # curl prints trailers after the body as they come
    return status.strip(), _fields(fields), rest[:length], _fields(rest[length:].decode().splitlines())


def _fields(lines: list[str]) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in lines if line)


def text_of(framed: bytes) -> str:
    """Return the text in a single uncompressed message."""
    assert framed[:1] == b"\0"
    assert len(framed) == 5 + int.from_bytes(framed[1:5], "big")
    return result(pb.MultiOutputResponse.FromString(framed[5:])).string_value


# --- curl -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["grüße", LONG], ids=["short", "long"])
@pytest.mark.parametrize("service", [CLARIFAI, NATIVE])
def test_a_call_by_hand(base, body, service, text):
    data = f"@{body('echo', text)}"
    status, header, answer, trailer = curl(base, f"{service}/PostModelOutputs", *GRPC, "--data-binary", data)
    assert status == "HTTP/2 200"
    assert header["content-type"] == "application/grpc"
    assert "grpc-status" not in header
    assert text_of(answer) == text
    assert trailer["grpc-status"] == "0"


def test_an_error_is_a_header_alone(base, body):
    data = f"@{body('fail', 'the cät is 100% out')}"
    status, header, answer, trailer = curl(base, UNARY, *GRPC, "--data-binary", data)
    assert (status, answer, trailer) == ("HTTP/2 200", b"", {})
    assert header["grpc-status"] == "2"
    assert header["grpc-message"] == "ValueError: the c%C3%A4t is 100%25 out"
    assert "grpc-status-details-bin" in header


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        # Without a body: curl 7.88 fails if an answer overtakes what it still has to send.
        (["--request", "POST", "--header", "content-type: text/plain"], "HTTP/2 415", "2"),
        (["--get"], "HTTP/2 405", "2"),
        (["--data-binary", "x", *GRPC], "HTTP/2 200", "13"),  # less than the head of a message
    ],
    ids=["content type", "method", "cut message"],
)
def test_what_is_no_call(base, arguments, status, code):
    answer, header, _, _ = curl(base, UNARY, *arguments)
    assert (answer, header["grpc-status"]) == (status, code)


def test_an_unknown_path(base):
    _, header, _, _ = curl(base, f"{NATIVE}/DropTables", *GRPC, "--request", "POST")
    assert header["grpc-status"] == "12"


@pytest.mark.parametrize("version", ["--http1.1", "--http1.0", "--http2"])
def test_a_probe_of_http_1_on_the_same_port(base, version):
    # The last one offers an upgrade to HTTP/2, which the server is free to pass over.
    answer = run("curl", "--silent", version, "--write-out", "%{http_code} %{http_version}", f"{base}/readyz")
    assert answer == b"ok\n200 1.1"


# --- nghttp -----------------------------------------------------------------------------------------------------------


def frames(base: str, path: str, *arguments: str) -> list[str]:
    """Return what nghttp says of each frame that it has received, without times and colours."""
    printed = re.sub(r"\x1b\[[0-9;]*m", "", run("nghttp", "-nv", *GRPC, *arguments, base + path).decode())
    return [text for text in re.split(r"^\[ *[0-9.]+\] ", printed, flags=re.MULTILINE) if text.startswith("recv ")]


@pytest.mark.parametrize(
    "how",
    [
        [],
        ["--padding=200"],
        ["--continuation"],  # a header block of several frames
        ["--window-bits=8", "--connection-window-bits=8"],  # 255 bytes at a time
        ["--header-table-size=0"],
        ["--header-table-size=65536", "--encoder-header-table-size=0"],
        ["--no-dep", "--weight=1"],
        ["--trailer=x-after: 1"],
        ["--no-content-length"],
    ],
    ids=lambda how: " ".join(how) or "plain",
)
def test_ways_of_speaking_http_2(base, body, how):
    data = f"--data={body('echo', LONG)}"
    received = frames(base, UNARY, "--multiply=3", data, *how)
    assert sum("grpc-status: 0" in text for text in received) == 3
    assert sum(text.startswith("recv HEADERS") and "END_STREAM" in text for text in received) == 3
    lengths = [re.match(r"recv DATA frame <length=(\d+)", text) for text in received]
    assert sum(int(found[1]) for found in lengths if found) > 3 * len(LONG.encode())
    assert not any(text.startswith(("recv RST_STREAM", "recv GOAWAY")) for text in received)


def test_settings_are_acknowledged(base, body):
    received = frames(base, UNARY, f"--data={body('echo', 'hi')}")
    settings = [text for text in received if text.startswith("recv SETTINGS")]
    assert len(settings) == 2
    assert "ACK" not in settings[0]
    assert "ACK" in settings[1]


# --- h2load -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("connections", "streams", "text"), [(1, 64, "hi"), (16, 1, "hi"), (2, 16, LONG)])
def test_many_calls(base, body, connections, streams, text):
    file = body("echo", text)
    reply = curl(base, UNARY, *GRPC, "--data-binary", f"@{file}")[2]
    assert text_of(reply) == text
    how = [f"--clients={connections}", f"--max-concurrent-streams={streams}", f"--data={file}"]
    printed = run("h2load", "--requests=400", *how, *GRPC, base + UNARY).decode()
    assert "400 succeeded, 0 failed, 0 errored, 0 timeout" in printed, printed
    assert f"({400 * len(reply)}) data" in printed, printed
