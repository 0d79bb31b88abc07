"""The Huffman code of RFC 7541, section 5.2 and appendix B.

The code is canonical: symbols in the order of the length of their codes, and of their values where those are equal, get
consecutive codes. So the lengths say it all, and codes are computed from them.

Most texts are decoded by zlib, which is C and takes a third of the time. A block of Deflate (RFC 1951, section 3.2.7)
may bring its own canonical code of up to 15 bits. Ours gives all of ASCII that a header holds in practice 15 bits at
most, and the codes beyond share one beginning: fifteen ones. That is exactly the code that Deflate gives to its own
"end of block", symbol 256, if we say that it has 15 bits. So a decompressor that has read the head of such a block
goes on with our text, once the bits of each byte are reversed, and fifteen ones behind it end the block.

What zlib could be wrong about is left to a state machine that takes eight bits a step. A state is a node inside the
code's tree, that is, the bits of a symbol that began and has not ended; there are 256. What a state does with a byte is
worked out when it first happens, and is a look-up ever after.
"""

from __future__ import annotations

import zlib
from typing import Any

from runner.http2.hpack.errors import CompressionError

_EOS = 256

# Bits of the code of each symbol: the 256 bytes, and the end-of-string symbol, which no text may contain.
# fmt: off
_LENGTHS: tuple[int, ...] = (
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,  # control characters
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,          # space to /
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,               # digits
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,                 # @, upper case
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,                 # `, lower case
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,  # beyond ASCII
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,                                                              # end of string
)
# fmt: on

_END_OF_BLOCK = 15
"""Bits of Deflate's own symbol: it takes the place that is left between our codes of 15 bits and the longer ones."""

_ENDS = 256
"""The key of a state beside its 256 bytes: whether a text may end there."""

_SHORT = 8
"""Up to so many bytes, making ready for zlib takes longer than the state machine does."""


def _canonical(lengths: dict[int, int]) -> dict[int, str]:
    """Return the canonical code of symbols with these lengths, as texts of 0 and 1: slow to build, quick to join."""
    codes: dict[int, str] = {}
    code = length = 0
    for symbol in sorted(lengths, key=lambda symbol: (lengths[symbol], symbol)):
        code <<= lengths[symbol] - length
        length = lengths[symbol]
        codes[symbol] = f"{code:0{length}b}"
        code += 1
    return codes


_CODES = _canonical(dict(enumerate(_LENGTHS)))
_SYMBOLS: dict[str, int] = {code: symbol for symbol, code in _CODES.items()}


def decode(coded: bytes) -> bytes:
    """Return the text.

    Raises:
        CompressionError: it holds the end-of-string symbol, or what pads its last byte is not the beginning of that.
    """
    # Let p be the number of ones that pad the text, so that p + 15 of them stand before the last zero. zlib finds its
    # end of block in the first 15, and p ones and the zero stay behind: a whole byte, if p is 7. What else may be:
    # - The padding holds a zero: zlib takes it and some ones behind it for a symbol. Fewer than 15 are left, no end.
    # - The text holds a code of over 15 bits: its first 15 are the end, and two bytes or more stay behind.
    # - p is 8 or more, which is an error: then the last byte is all ones, and we look.
    if len(coded) > _SHORT:
        decompressor = _at_first_symbol()
        text = decompressor.decompress(coded.translate(_REVERSED) + _TAIL, _LONGEST * len(coded))
        ended = decompressor.eof and len(decompressor.unused_data) < 2
        if ended and (coded[-1] != 0xFF or _padded_by_seven(coded, text[-1])):
            return text
    return _by_states(coded)


def _padded_by_seven(coded: bytes, last: int) -> bool:
    """Return whether the code of the last symbol ends seven bits before the end, where more than ones follow it.

    If it ended before that, it would have to look the same moved along the ones, and so be all ones itself.
    """
    return f"{int.from_bytes(coded[-5:], 'big'):040b}"[:-7].endswith(_CODES[last])


def encode(text: bytes) -> bytes:
    """Return the coded text, padded with ones."""
    bits = "".join(map(_CODES.__getitem__, text))
    length = -(-len(bits) // 8)
    return int(bits.ljust(length * 8, "1") or "0", 2).to_bytes(length, "big")


# The state machine.


class _State(dict[int, Any]):
    """A node of the tree: by byte, the symbols that end within it, and the state after it."""

    __slots__ = ("_begun",)

    def __init__(self, begun: str) -> None:
        super().__init__()
        self._begun = begun
        # What is left over at the end must be the beginning of the end-of-string symbol, all ones, and under a byte.
        self[_ENDS] = len(begun) < 8 and "0" not in begun

    def __missing__(self, byte: int) -> tuple[bytes, _State]:
        bits = self._begun + f"{byte:08b}"
        symbols = bytearray()
        start = 0
        for end in range(len(self._begun) + 1, len(bits) + 1):
            symbol = _SYMBOLS.get(bits[start:end])
            if symbol is not None:
                if symbol == _EOS:
                    raise CompressionError("a Huffman-coded text contains the end-of-string symbol")
                symbols.append(symbol)
                start = end
        begun = bits[start:]
        state = _STATES.get(begun)
        if state is None:
            state = _STATES[begun] = _State(begun)
        step = self[byte] = bytes(symbols), state
        return step


_ROOT = _State("")
_STATES = {"": _ROOT}


def _by_states(coded: bytes) -> bytes:
    parts: list[bytes] = []
    add = parts.append
    state = _ROOT
    for byte in coded:
        part, state = state[byte]
        add(part)
    if not state[_ENDS]:
        raise CompressionError("a Huffman-coded text is padded wrongly")
    return b"".join(parts)


# What is needed for zlib.

_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
"""In which Deflate names the lengths of the code that its lengths are in."""

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Deflate fills a byte from its low end, HPACK from its high end."""

_TAIL = b"\xff\x7f"
"""Fifteen ones and a zero, from the low end. One more of either, and a text padded with zeros might pass."""

_LONGEST = 2
"""Bytes of text from a byte of code: 8/5, rounded up. Without a limit zlib would take 32 KiB for every text."""

_WINDOW_BITS = -9
"""No head, and the smallest window: nothing here repeats."""


def _head() -> bytes:
    """Return a block of Deflate up to its first symbol, with our code. It ends with a byte."""
    lengths = [length if length <= _END_OF_BLOCK else 0 for length in _LENGTHS[:_EOS]]
    lengths += [_END_OF_BLOCK, 0]  # the zero: there are no distances, since nothing is said twice
    # The lengths are coded themselves. Eleven different ones: five codes of three bits and six of four are complete.
    often = sorted(set(lengths), key=lengths.count, reverse=True)[:5]
    coded = {length: 3 if length in often else 4 for length in lengths}
    codes = _canonical(coded)
    bits = "1" + "01" + "00000" + "00000" + "1111"  # the last block, with codes of its own: of 257, 1 and 19 lengths
    bits += "".join(f"{coded.get(length, 0):03b}"[::-1] for length in _ORDER)
    bits += "".join(codes[length] for length in lengths)
    while len(bits) % 8:
        bits = "0" + "10" + "0000000" + bits  # an empty block before it, with Deflate's fixed code: ten bits
    return bytes(int(bits[start : start + 8][::-1], 2) for start in range(0, len(bits), 8))


_READY = zlib.decompressobj(_WINDOW_BITS)
_READY.decompress(_head())
_at_first_symbol = _READY.copy
