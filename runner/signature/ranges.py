"""The range of a `Param` as the published message holds it: two 32-bit floats without a word for "not given".

For the Clarifai service a missing bound is 0, as its own software writes it. On our service it is infinite, so that
nothing is lost.
"""

from __future__ import annotations

import math
import struct

from runner.signature.method import Limits
from runner.wire.pb import inference_pb2 as pb

__all__ = ["read_range", "write_range"]


def write_range(field: pb.ModelTypeField, limits: Limits, *, absent_as_infinity: bool) -> None:
    """Put the bounds into a field; nothing at all if there are none."""
    if limits.min_value is None and limits.max_value is None:
        return
    no_min, no_max = (-math.inf, math.inf) if absent_as_infinity else (0.0, 0.0)
    field.model_type_range_info.min = no_min if limits.min_value is None else limits.min_value
    field.model_type_range_info.max = no_max if limits.max_value is None else limits.max_value


def read_range(field: pb.ModelTypeField, *, whole: bool) -> tuple[float | None, float | None]:
    """Return the least and the greatest value, None where there is no bound.

    Args:
        field: the published argument.
        whole: the argument is an int, and so are its bounds.
    """
    if not field.HasField("model_type_range_info"):
        return None, None
    low, high = field.model_type_range_info.min, field.model_type_range_info.max
    if low > high:  # one of them is a 0 that means "not given"
        return (_bound(low, whole), None) if high == 0 else (None, _bound(high, whole))
    return _bound(low, whole), _bound(high, whole)


def _bound(value: float, whole: bool) -> float | None:
    if not math.isfinite(value):
        return None
    if whole and value == int(value):
        return int(value)
    # The shortest decimal that is this 32-bit float, so that 0.7 does not come back as 0.699999988079071.
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        if struct.unpack("f", struct.pack("f", short))[0] == value:
            return short
    return value
