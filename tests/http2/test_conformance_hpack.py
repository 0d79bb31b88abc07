"""RFC 7541, section by section: what a decoder has to do, and the examples of appendix C for both directions."""

from __future__ import annotations

import json
from pathlib import Path

import hpack
import pytest

from runner.http2.hpack import CompressionError, HeaderDecoder, HeaderEncoder, HeaderListTooLarge
from runner.http2.hpack.decoder import _NEWEST
from runner.http2.hpack.static import STATIC, cost_of

RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.json"))


def hexed(text: str) -> bytes:
    return bytes.fromhex(text)


def fields(text: str) -> list[tuple[bytes, bytes]]:
    """Return the fields of lines such as `:method: GET`."""
    lines = [line.strip() for line in text.strip().splitlines()]
    split = [(line[:1] + line[1:].partition(": ")[0], line[1:].partition(": ")[2]) for line in lines]
    return [(name.encode(), value.encode()) for name, value in split]


def dynamic(decoder: HeaderDecoder) -> list[tuple[bytes, bytes]]:
    return decoder._table[_NEWEST:]


def refused(*blocks: str, decoder: HeaderDecoder | None = None) -> None:
    """The last of the blocks is an error."""
    decoder = decoder or HeaderDecoder()
    for block in blocks[:-1]:
        decoder.decode(hexed(block))
    with pytest.raises(CompressionError):
        decoder.decode(hexed(blocks[-1]))


# --- 2.3: Indexing tables --------------------------------------------------------------------------------------------


def test_2_3_1_static_table():
    assert len(STATIC) == 61
    for index, field in enumerate(STATIC, 1):
        assert HeaderDecoder().decode(bytes((0x80 | index,))) == [field]
    assert list(STATIC) == list(hpack.table.HeaderTable.STATIC_TABLE)


def test_2_3_2_dynamic_table_is_first_in_first_out():
    decoder = HeaderDecoder()
    decoder.decode(b"\x40\x01a\x011\x40\x01b\x012")
    assert decoder.decode(b"\xbe\xbf") == [(b"b", b"2"), (b"a", b"1")]


def test_2_3_2_dynamic_table_may_hold_a_field_twice():
    decoder = HeaderDecoder()
    decoder.decode(b"\x40\x01a\x011\x40\x01a\x011")
    assert decoder.decode(b"\xbe\xbf") == [(b"a", b"1"), (b"a", b"1")]


def test_2_3_3_index_beyond_both_tables():
    refused("be")
    refused("40 01 61 01 31", "bf")
    refused("ff 00")
    refused("7f 00 01 31")


def test_2_3_3_indexes_of_several_bytes():
    decoder = HeaderDecoder()
    for number in range(100):
        decoder.decode(b"\x40\x01a\x03%03d" % number)
    assert decoder.decode(hexed("ff 22")) == [(b"a", b"000")]
    assert decoder.decode(hexed("7f 62 01 78")) == [(b"a", b"x")]
    assert decoder.decode(hexed("0f 93 01 01 78")) == [(b"a", b"x")]


# --- 3.2: Field representations ---------------------------------------------------------------------------------------


def test_3_2_1_order_is_kept():
    assert HeaderDecoder().decode(b"\x00\x01b\x011\x82\x00\x01a\x012") == [
        (b"b", b"1"),
        (b":method", b"GET"),
        (b"a", b"2"),
    ]


def test_3_2_a_block_may_be_empty():
    assert HeaderDecoder().decode(b"") == []


# --- 4: Management of the dynamic table -------------------------------------------------------------------------------


def test_4_1_size_of_an_entry():
    decoder = HeaderDecoder()
    decoder.decode(b"\x40\x01a\x0212")
    assert decoder._used == 35


def test_4_2_reduced_size_must_be_told_in_the_next_block():
    decoder = HeaderDecoder()
    decoder.set_max_table_bytes(100)
    refused("82", decoder=decoder)
    decoder = HeaderDecoder()
    decoder.set_max_table_bytes(100)
    refused("", decoder=decoder)
    decoder = HeaderDecoder()
    decoder.set_max_table_bytes(100)
    assert decoder.decode(hexed("3f 45 82")) == [(b":method", b"GET")]
    assert decoder.decode(hexed("82")) == [(b":method", b"GET")]


def test_4_2_smallest_size_between_two_blocks_must_be_told():
    decoder = HeaderDecoder()
    decoder.set_max_table_bytes(0)
    decoder.set_max_table_bytes(4096)
    refused("82", decoder=decoder)


def test_4_2_size_need_not_be_told_if_it_was_not_reduced():
    decoder = HeaderDecoder(max_table_bytes=8192)
    decoder.set_max_table_bytes(5000)
    assert decoder.decode(hexed("82")) == [(b":method", b"GET")]


def test_4_2_update_stands_before_all_fields():
    refused("82 20")
    refused("40 01 61 01 31 20")


def test_4_2_two_updates_in_one_block():
    decoder = HeaderDecoder()
    decoder.decode(b"\x40\x01a\x011")
    assert decoder.decode(hexed("20 3f e1 1f 82")) == [(b":method", b"GET")]
    assert (dynamic(decoder), decoder._capacity) == ([], 4096)


def test_4_3_eviction_when_the_size_changes():
    decoder = HeaderDecoder()
    decoder.decode(b"\x40\x01a\x011\x40\x01b\x012")
    decoder.decode(hexed("3f 04"))  # 35: room for one
    assert dynamic(decoder) == [(b"b", b"2")]


def test_4_4_eviction_when_fields_join():
    decoder = HeaderDecoder()
    decoder.decode(hexed("3f 25"))  # 68: room for two
    decoder.decode(b"\x40\x01a\x011\x40\x01b\x012\x40\x01c\x013")
    assert dynamic(decoder) == [(b"c", b"3"), (b"b", b"2")]


def test_4_4_field_larger_than_the_table_empties_it():
    decoder = HeaderDecoder()
    decoder.decode(hexed("3f 25"))
    assert decoder.decode(b"\x40\x01a\x011\x40\x01b\x40" + b"x" * 64)[1] == (b"b", b"x" * 64)
    assert (dynamic(decoder), decoder._used) == ([], 0)


def test_4_4_name_of_an_entry_that_is_evicted_by_its_own_field():
    decoder = HeaderDecoder()
    decoder.decode(hexed("3f 04"))  # 35
    decoder.decode(b"\x40\x01a\x0211")
    assert decoder.decode(b"\x7e\x0222") == [(b"a", b"22")]
    assert dynamic(decoder) == [(b"a", b"22")]


# --- 5: Primitive types ----------------------------------------------------------------------------------------------


def test_5_1_integers_of_the_appendix():
    # C.1.1 to C.1.3 are in tests/http2/hpack/test_integers.py; here as lengths of texts
    decoder = HeaderDecoder()
    assert decoder.decode(b"\x00\x01a\x7f\xba\x09" + b"x" * 1337) == [(b"a", b"x" * 1337)]


def test_5_1_integers_that_are_too_long():
    refused("ff 80 80 80 80 80 00")
    refused("00 01 61 7f ff ff ff ff ff 01")


def test_5_1_integers_that_end_with_the_block():
    refused("ff")
    refused("ff 80")
    refused("3f")
    refused("7f")


def test_5_2_texts_that_end_with_the_block():
    refused("00")
    refused("00 02 61")
    refused("00 01 61")
    refused("00 01 61 02 31")
    refused("00 7f")
    refused("82 41")


def test_5_2_huffman_padding_longer_than_seven_bits():
    refused("00 01 61 82 1f ff")
    refused("00 01 61 81 ff")


def test_5_2_huffman_padding_that_is_not_the_end_of_string():
    refused("00 01 61 81 18")


def test_5_2_huffman_end_of_string_symbol():
    refused("00 01 61 84 ff ff ff ff")
    refused("00 85 f8 ff ff ff ff 01 31")


def test_5_2_huffman_name_and_value():
    assert HeaderDecoder().decode(hexed("00 81 1f 81 1f")) == [(b"a", b"a")]


# --- 6: Binary format ------------------------------------------------------------------------------------------------


def test_6_1_index_of_zero():
    refused("80")
    refused("82 80")


@pytest.mark.parametrize(
    ("block", "joins"), [("40 01 61 01 31", True), ("00 01 61 01 31", False), ("10 01 61 01 31", False)]
)
def test_6_2_literals_with_a_new_name(block, joins):
    decoder = HeaderDecoder()
    assert decoder.decode(hexed(block)) == [(b"a", b"1")]
    assert dynamic(decoder) == ([(b"a", b"1")] if joins else [])


@pytest.mark.parametrize(("block", "joins"), [("41 01 31", True), ("01 01 31", False), ("11 01 31", False)])
def test_6_2_literals_with_a_known_name(block, joins):
    decoder = HeaderDecoder()
    assert decoder.decode(hexed(block)) == [(b":authority", b"1")]
    assert dynamic(decoder) == ([(b":authority", b"1")] if joins else [])


def test_6_2_3_what_is_secret_is_never_indexed():
    block = HeaderEncoder().encode([(b"authorization", b"Key x")], {b"authorization"})
    (field,) = hpack.Decoder().decode(block, raw=True)
    assert isinstance(field, hpack.NeverIndexedHeaderTuple)


def test_6_3_size_over_what_was_agreed():
    refused("3f e2 1f")
    assert HeaderDecoder(max_table_bytes=4097).decode(hexed("3f e2 1f 82")) == [(b":method", b"GET")]


# --- 7: Security considerations ---------------------------------------------------------------------------------------


def test_7_3_memory_of_the_table_is_bounded():
    decoder = HeaderDecoder(max_list_bytes=1 << 20, max_fields=1 << 20)
    for number in range(500):
        decoder.decode(b"\x40\x01a\x7f\x80\x01%0255d" % number)
        assert decoder._used == sum(map(cost_of, dynamic(decoder))) <= 4096


def test_7_4_a_list_that_is_too_large_leaves_the_table_in_step():
    decoder = HeaderDecoder(max_list_bytes=64)
    with pytest.raises(HeaderListTooLarge):
        decoder.decode(b"\x40\x01a\x0211\x40\x01b\x0222")
    assert decoder.decode(b"\xbe") == [(b"b", b"22")]


# --- Appendix C ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "expected", "table"),
    [
        (
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            "custom-key: custom-header",
            "custom-key: custom-header",
        ),
        ("040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path", ""),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret", ""),
        ("82", ":method: GET", ""),
    ],
)
def test_c_2_representations(block, expected, table):
    decoder = HeaderDecoder()
    assert decoder.decode(hexed(block)) == fields(expected)
    assert dynamic(decoder) == (fields(table) if table else [])


REQUESTS = [
    """
    :method: GET
    :scheme: http
    :path: /
    :authority: www.example.com
    """,
    """
    :method: GET
    :scheme: http
    :path: /
    :authority: www.example.com
    cache-control: no-cache
    """,
    """
    :method: GET
    :scheme: https
    :path: /index.html
    :authority: www.example.com
    custom-key: custom-value
    """,
]
C_3 = [
    "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
    "8286 84be 5808 6e6f 2d63 6163 6865",
    "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
]
C_4 = [
    "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
    "8286 84be 5886 a8eb 1064 9cbf",
    "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
]


@pytest.mark.parametrize("blocks", [C_3, C_4], ids=["C.3", "C.4"])
def test_c_3_and_c_4_requests(blocks):
    decoder = HeaderDecoder()
    sizes = []
    for block, expected in zip(blocks, REQUESTS, strict=True):
        assert decoder.decode(hexed(block)) == fields(expected)
        sizes.append(decoder._used)
    assert sizes == [57, 110, 164]


RESPONSES = [
    """
    :status: 302
    cache-control: private
    date: Mon, 21 Oct 2013 20:13:21 GMT
    location: https://www.example.com
    """,
    """
    :status: 307
    cache-control: private
    date: Mon, 21 Oct 2013 20:13:21 GMT
    location: https://www.example.com
    """,
    """
    :status: 200
    cache-control: private
    date: Mon, 21 Oct 2013 20:13:22 GMT
    location: https://www.example.com
    content-encoding: gzip
    set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1
    """,
]
C_5 = """
    4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120
    474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d

    4803 3330 37c1 c0bf

    88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738
    666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33
    3630 303b 2076 6572 7369 6f6e 3d31
"""
C_6 = """
    4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718
    63c7 8f0b 97c8 e9ae 82ae 43d3

    4883 640e ffc1 c0bf

    88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7
    b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07
"""


@pytest.mark.parametrize("blocks", [C_5, C_6], ids=["C.5", "C.6"])
def test_c_5_and_c_6_responses_with_a_table_of_256_bytes(blocks):
    decoder = HeaderDecoder()
    decoder.set_max_table_bytes(256)
    sizes = []
    for number, (block, expected) in enumerate(zip(blocks.split("\n\n"), RESPONSES, strict=True)):
        update = "3fe101" if number == 0 else ""
        assert decoder.decode(hexed(update + block)) == fields(expected)
        sizes.append(decoder._used)
    assert sizes == [222, 222, 215]


@pytest.mark.parametrize("lists", [REQUESTS, RESPONSES], ids=["requests", "responses"])
def test_c_examples_are_written_so_that_others_read_them(lists):
    encoder, other = HeaderEncoder(), hpack.Decoder()
    for expected in [*lists, *lists]:
        block = encoder.encode(fields(expected))
        assert [(bytes(name), bytes(value)) for name, value in other.decode(block, raw=True)] == fields(expected)
        assert other.header_table._current_size == encoder._used


# --- Blocks of real clients -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
def test_recorded_blocks_mean_to_us_what_they_mean_to_the_oracle(file):
    decoder, other = HeaderDecoder(), hpack.Decoder()
    for block in map(bytes.fromhex, json.loads(file.read_text())):
        for _ in range(2):  # the second time it may be remembered
            assert decoder.decode(block) == [(bytes(n), bytes(v)) for n, v in other.decode(block, raw=True)]
        assert decoder._used == other.header_table._current_size


def test_there_are_recordings():
    assert {file.stem for file in RECORDED} >= {"curl", "grpc_js", "grpcio", "grpcio_aio", "h2load", "nghttp"}
