from __future__ import annotations

import pytest

from runner.http2.errors import ConnectionFailure, ErrorCode
from runner.http2.limits import Limits
from runner.http2.open_block import OpenBlock

LIMITS = Limits(max_continuations=3, max_header_block_bytes=10)


def test_its_parts_are_put_together():
    block = OpenBlock(5, True, b"abc", LIMITS)
    block.add(5, b"d")
    block.add(5, b"")
    block.add(5, b"efghij")
    assert block.whole() == b"abcdefghij"
    assert block.ends_stream


def test_a_frame_of_another_stream_is_refused():
    with pytest.raises(ConnectionFailure, match="without its HEADERS") as refused:
        OpenBlock(5, False, b"abc", LIMITS).add(7, b"d")
    assert refused.value.code is ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize("parts", [[b""] * 4, [b"d" * 8]], ids=["too many", "too long"])
def test_it_ends(parts: list[bytes]):
    block = OpenBlock(5, False, b"abc", LIMITS)
    for part in parts[:-1]:
        block.add(5, part)
    with pytest.raises(ConnectionFailure, match="without end") as ended:
        block.add(5, parts[-1])
    assert ended.value.code is ErrorCode.ENHANCE_YOUR_CALM
