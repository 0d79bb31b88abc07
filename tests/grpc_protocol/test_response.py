from __future__ import annotations

from urllib.parse import unquote

import pytest

from runner.grpc_protocol import response as module
from runner.grpc_protocol.response import HEAD, OK, response_head, response_trailers, trailers_only


def test_the_usual_ones_are_constants():
    assert response_trailers() is OK
    assert response_head() == HEAD


def test_a_head_with_everything():
    head = response_head(content_type=b"application/grpc+proto", encoding="gzip", metadata=[("x-a", "1")])
    assert head == (
        (b":status", b"200"),
        (b"content-type", b"application/grpc+proto"),
        (b"grpc-accept-encoding", b"identity, gzip, deflate"),
        (b"grpc-encoding", b"gzip"),
        (b"x-a", b"1"),
    )


def test_trailers_with_everything():
    assert response_trailers(13, "süß", b"\0\1", [("x-bin", b"\xff")]) == (
        (b"grpc-status", b"13"),
        (b"grpc-message", b"s%C3%BC%C3%9F"),
        (b"grpc-status-details-bin", b"AAE"),
        (b"x-bin", b"/w"),
    )


def test_a_response_without_messages_is_one_section():
    assert trailers_only(OK) == (*HEAD, *OK)


@pytest.mark.parametrize("shift", range(4))
def test_a_long_message_is_cut_between_two_escapes(shift):
    fields = dict(response_trailers(2, "x" * shift + "\n" * module._TEXT_BYTES))
    message = fields[b"grpc-message"]
    assert module._TEXT_BYTES - 3 < len(message) <= module._TEXT_BYTES
    assert unquote(message.decode()).strip("x\n") == ""


@pytest.mark.parametrize("size", [10, 5000, 5376, 5377, 100_000])
def test_what_clients_take_is_not_exceeded(size):
    fields = response_trailers(2, "ü" * 10_000, b"x" * size)
    assert (b"grpc-status-details-bin" in dict(fields)) == (size <= 5376), "whole or not at all"
    assert len(dict(fields)[b"grpc-message"]) > module._LEAST_MESSAGE - 3
    assert sum(len(name) + len(value) + 32 for name, value in fields) < 8192
