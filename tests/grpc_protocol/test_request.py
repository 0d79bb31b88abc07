from __future__ import annotations

import pytest

from runner.grpc_protocol import request as module
from runner.grpc_protocol.request import Refusal, read_head, read_own
from tests.grpc_protocol.requests import head

AGENT = ("user-agent", "grpc-python/1.85.1 grpc-c/53.0.0 (linux; chttp2)")


def refusal(request) -> dict[bytes, bytes]:
    with pytest.raises(Refusal) as raised:
        read_head(request)
    return dict(raised.value.fields)


def test_a_usual_head():
    call = read_head(head())
    assert (call.path, call.timeout, call.metadata) == ("/pkg.Service/Method", None, (AGENT,))
    assert (call.decompress, call.accept_encoding) == (None, "identity, deflate, gzip")


def test_metadata_keeps_its_order_and_the_protocol_its_own_fields():
    more = [(b"x-b", b"2"), (b"grpc-timeout", b"5S"), (b"x-a", b"1"), (b"x-b", b"3"), (b"grpc-message-type", b"M")]
    call = read_head(head(*more))
    assert call.metadata == (AGENT, ("x-b", "2"), ("x-a", "1"), ("x-b", "3"))
    assert call.timeout == 5.0


def test_binary_metadata():
    call = read_head(head((b"x-bin", b"AAE"), (b"y-bin", b"AAE=, /w")))
    assert call.metadata[1:] == (("x-bin", b"\0\1"), ("y-bin", b"\0\1"), ("y-bin", b"\xff"))


def test_fields_of_the_protocol_that_are_not_known_are_metadata():
    call = read_head(head((b"grpc-previous-rpc-attempts", b"1"), (b"grpc-trace-bin", b"AA")))
    assert call.metadata[1:] == (("grpc-previous-rpc-attempts", "1"), ("grpc-trace-bin", b"\0"))


def test_text_beyond_ascii_is_not_lost():
    call = read_head(head((b"x-a", "ü".encode()), (b"x-b", b"\xff")))
    assert call.metadata[1:] == (("x-a", "ü"), ("x-b", "ÿ"))


@pytest.mark.parametrize(
    "content_type", [b"application/grpc", b"application/grpc+proto", b"application/grpc;charset=utf-8"]
)
def test_content_types_of_grpc(content_type):
    assert read_head(head((b"content-type", content_type), without=b"content-type")).content_type == content_type


@pytest.mark.parametrize("content_type", [b"application/json", b"application/grpc-web", b"", b"application/grpcx"])
def test_another_content_type_is_refused(content_type):
    fields = refusal(head((b"content-type", content_type), without=b"content-type"))
    assert (fields[b":status"], fields[b"grpc-status"]) == (b"415", b"2")


def test_no_content_type_is_refused():
    assert refusal(head(without=b"content-type"))[b":status"] == b"415"


def test_other_methods_are_refused():
    fields = refusal(head(method=b"GET"))
    assert (fields[b":status"], fields[b"allow"], fields[b"grpc-status"]) == (b"405", b"POST", b"2")


def test_a_proxy_that_would_lose_trailers_is_found():
    fields = refusal(head(without=b"te"))
    assert (fields[b":status"], fields[b"grpc-status"]) == (b"400", b"13")


@pytest.mark.parametrize("timeout", [b"", b"S", b"5", b"123456789S", b"-1S", b"1 S", b"1s", b"1.5S"])
def test_a_timeout_that_is_none_is_refused(timeout):
    fields = refusal(head((b"grpc-timeout", timeout)))
    assert (fields[b":status"], fields[b"grpc-status"]) == (b"200", b"13")


def test_binary_metadata_that_is_none_is_refused():
    fields = refusal(head((b"x-bin", b"A")))
    assert (fields[b":status"], fields[b"grpc-status"], fields[b"grpc-message"]) == (
        b"200",
        b"13",
        b"metadata x-bin is not base64",
    )


def test_codings():
    assert read_head(head((b"grpc-encoding", b"identity"))).decompress is None
    assert read_head(head((b"grpc-encoding", b"gzip"))).decompress is not None
    fields = refusal(head((b"grpc-encoding", b"zstd")))
    assert (fields[b"grpc-status"], fields[b"grpc-accept-encoding"]) == (b"12", b"identity, gzip, deflate")


def test_names_are_remembered_within_bounds():
    for number in range(2 * module._NAMES_KEPT):
        read_head(head((b"x-%d" % number, b"1"), (b"y" * 100 + b"%d" % number, b"1")))
    assert len(module._names) <= module._NAMES_KEPT
    assert max(map(len, module._names)) <= module._NAME_BYTES
    assert read_head(head((b"grpc-timeout", b"1S"))).timeout == 1.0


# --- Fields beside those of another call -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "own",
    [
        [(b"grpc-timeout", b"5S")],
        [(b"x-trace", b"1"), (b"grpc-timeout", b"70m"), (b"x-trace", b"2")],
        [(b"x-bin", b"AAE, /w"), (b"x-b", "ü".encode())],
        [(b"host", b"ignored"), (b"grpc-message-type", b"M")],
    ],
)
def test_a_head_in_two_parts_says_what_the_whole_does(own):
    whole = read_head(head(*own))
    parts = read_own(read_head(head()), own)
    assert parts is not None
    for name in ("accept_encoding", "content_type", "decompress", "metadata", "path", "timeout"):
        assert getattr(parts, name) == getattr(whole, name)


def test_a_field_that_says_more_wants_the_whole_read():
    common = read_head(head())
    for field in ((b"grpc-encoding", b"gzip"), (b"content-type", b"text/plain"), (b"grpc-accept-encoding", b"gzip")):
        assert read_own(common, [(b"x-a", b"1"), field]) is None


@pytest.mark.parametrize("field", [(b"grpc-timeout", b"soon"), (b"x-bin", b"!")])
def test_a_part_that_breaks_the_rules_is_refused(field):
    common = read_head(head())
    with pytest.raises(Refusal) as raised:
        read_own(common, [field])
    assert dict(raised.value.fields) == refusal(head(field))
    assert read_own(common, [(b"grpc-timeout", b"1S")]).timeout == 1.0  # and nobody else's call with it
