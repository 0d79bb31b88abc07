from __future__ import annotations

from runner.server.metadata import MetadataPacker
from runner.workers.pairs import unpack_pairs


def test_the_model_sees_what_the_caller_sent_but_no_credentials():
    packed = MetadataPacker()(
        [
            ("language", "de"),
            ("authorization", "Key secret"),
            ("cookie", "secret"),
            ("x-clarifai-session-token", "secret"),
            ("grpc-accept-encoding", "gzip"),
            ("trace-bin", b"\x00\x01"),
            ("user-agent", "ua"),
        ]
    )
    assert unpack_pairs(packed) == (("language", "de"), ("user-agent", "ua"))


def test_an_overlong_block_is_left_out():
    assert MetadataPacker()([("a", "x" * 20_000)]) == b""
    assert MetadataPacker()([]) == b""


def test_the_packed_form_is_remembered_within_bounds():
    pack = MetadataPacker()
    first = pack([("a", "1")])
    assert pack([("a", "1")]) is first
    for number in range(3000):
        assert unpack_pairs(pack([("n", str(number))])) == (("n", str(number)),)
    assert len(pack._packed) <= 1024
