"""Texts, files and what is seen in them: our types to messages and back.

Each `decode_*` reads a message, each `fill_*` writes into an empty one. Beside our types the writers take what a
caller would naturally have: a str for a Text or a Concept, a Pillow image for an Image, and the message's JSON form
as a dict for any of them.
"""

from __future__ import annotations

import base64
import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from runner.types import Audio, Concept, Frame, Image, Region, Text, Video
from runner.wire.mismatch import EncodeError, describe, needs, plain

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from runner.wire.pb import inference_pb2 as pb


def decode_text(message: pb.Text) -> Text:
    """Read a text."""
    return Text(message.raw, message.url)


def fill_text(value: object, message: pb.Text) -> None:
    """Write a Text, a str or the JSON form of a text."""
    if isinstance(value, Text):
        message.raw = _str(value.text, ".text")
        message.url = _str(value.url, ".url")
    elif isinstance(value, str):
        message.raw = _str(value, "")
    elif isinstance(value, Mapping):
        _fill_from_json(cast(Mapping[str, Any], value), message)
    else:
        raise needs("a Text", value)


def decode_image(message: pb.Image) -> Image:
    """Read an image; its bytes are not looked at."""
    return Image(url=message.url, bytes=message.base64)


def fill_image(value: object, message: pb.Image) -> None:
    """Write an Image, a Pillow image (as PNG) or the JSON form of an image."""
    pillow: Any = sys.modules.get("PIL.Image")  # whoever has such an image has imported it
    if pillow is not None and isinstance(value, pillow.Image):
        try:
            value = Image.from_pil(cast(Any, value))
        except OSError as exc:
            advice = 'convert it first, for example with .convert("RGB")'
            raise EncodeError(f"this Pillow image cannot be sent as PNG ({exc}); {advice}") from exc
    _fill_file(value, message, Image)


def decode_audio(message: pb.Audio) -> Audio:
    """Read an audio."""
    return Audio(url=message.url, bytes=message.base64)


def fill_audio(value: object, message: pb.Audio) -> None:
    """Write an Audio or the JSON form of one."""
    _fill_file(value, message, Audio)


def decode_video(message: pb.Video) -> Video:
    """Read a video."""
    return Video(url=message.url, bytes=message.base64)


def fill_video(value: object, message: pb.Video) -> None:
    """Write a Video or the JSON form of one."""
    _fill_file(value, message, Video)


def _fill_file(
    value: object, message: pb.Image | pb.Audio | pb.Video, own: type[Image] | type[Audio] | type[Video]
) -> None:
    if isinstance(value, own):
        message.url = _str(value.url, ".url")
        if not isinstance(cast(object, value.bytes), bytes | bytearray | memoryview):  # bytes(10) are ten zeros
            raise EncodeError(f"needs bytes, got {describe(value.bytes)}", path=".bytes")
        message.base64 = bytes(value.bytes)
    elif isinstance(value, Mapping):
        _fill_from_json(cast(Mapping[str, Any], value), message)
    else:
        raise needs(f"{'a' if own is Video else 'an'} {own.__name__}", value)


def decode_concept(message: pb.Concept) -> Concept:
    """Read a concept."""
    return Concept(message.name, message.value, message.id)


def fill_concept(value: object, message: pb.Concept) -> None:
    """Write a Concept, a name or the JSON form of a concept."""
    if isinstance(value, str):
        value = Concept(value)
    if isinstance(value, Concept):
        message.id = _str(value.id, ".id")
        message.name = _str(value.name, ".name")
        message.value = _float(value.value, "value")
    elif isinstance(value, Mapping):
        _fill_from_json(cast(Mapping[str, Any], value), message)
    else:
        raise needs("a Concept", value)


def decode_region(message: pb.Region) -> Region:
    """Read a region."""
    info = message.region_info
    box = point = None
    if info.HasField("bounding_box"):
        corners = info.bounding_box
        box = [corners.left_col, corners.top_row, corners.right_col, corners.bottom_row]
    if info.HasField("point"):
        point = (info.point.col, info.point.row, info.point.z)
    return Region(
        box=box,
        concepts=[decode_concept(concept) for concept in message.data.concepts],
        mask=decode_image(info.mask.image) if info.HasField("mask") else None,
        point=point,
        text=message.data.text.raw,
        track_id=message.track_id,
        id=message.id,
    )


def fill_region(value: object, message: pb.Region) -> None:
    """Write a Region or the JSON form of one."""
    if isinstance(value, Mapping):
        _fill_from_json(cast(Mapping[str, Any], value), message)
        return
    if not isinstance(value, Region):
        raise needs("a Region", value)
    message.id = _str(value.id, ".id")
    message.track_id = _str(value.track_id, ".track_id")
    info = message.region_info
    if value.box is not None:
        left, top, right, bottom = _numbers(value.box, 4, "box")
        corners = info.bounding_box
        corners.SetInParent()
        corners.left_col, corners.top_row, corners.right_col, corners.bottom_row = left, top, right, bottom
    if value.point is not None:
        x, y, z = _numbers(value.point, 3, "point")
        info.point.SetInParent()
        info.point.col, info.point.row, info.point.z = x, y, z
    if value.mask is not None:
        info.mask.image.SetInParent()
        _within(".mask", fill_image, value.mask, info.mask.image)
    if value.text:
        message.data.text.raw = _str(value.text, ".text")
    for index, concept in enumerate(value.concepts):
        _within(f".concepts[{index}]", fill_concept, concept, message.data.concepts.add())


def decode_frame(message: pb.Frame) -> Frame:
    """Read a frame."""
    data = message.data
    return Frame(
        image=decode_image(data.image) if data.HasField("image") else None,
        regions=[decode_region(region) for region in data.regions],
        time=message.frame_info.time / 1000,
        index=message.frame_info.index,
        id=message.id,
    )


def fill_frame(value: object, message: pb.Frame) -> None:
    """Write a Frame or the JSON form of one."""
    if isinstance(value, Mapping):
        _fill_from_json(cast(Mapping[str, Any], value), message)
        return
    if not isinstance(value, Frame):
        raise needs("a Frame", value)
    time = _float(value.time, "time")
    if not (0 <= time < math.inf):
        raise EncodeError(f"needs seconds, 0 or more, got {describe(value.time)}", path=".time")
    if not 0 <= value.index < 2**32:
        raise EncodeError(f"needs an index from 0 to 2^32 - 1, got {describe(value.index)}", path=".index")
    message.id = _str(value.id, ".id")
    message.frame_info.time = round(time * 1000)
    message.frame_info.index = value.index
    if value.image is not None:
        message.data.image.SetInParent()
        _within(".image", fill_image, value.image, message.data.image)
    for index, region in enumerate(value.regions):
        _within(f".regions[{index}]", fill_region, region, message.data.regions.add())


def _within(step: str, fill: Any, value: object, message: Message) -> None:
    """Fill a part of a message, and say which part it is if the value does not fit."""
    try:
        fill(value, message)
    except EncodeError as error:
        error.path = step + error.path
        raise


def _str(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise EncodeError(f"needs a str, got {describe(value)}", path=path)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise EncodeError(f"{describe(value)} cannot be sent as UTF-8", path=path) from None
    return value


def _float(value: object, name: str) -> float:
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, float | int):
        raise EncodeError(f"needs a float, got {describe(value)}", path=f".{name}")
    return number


def _numbers(values: Any, count: int, name: str) -> list[float]:
    numbers = [_float(value, f"{name}[{index}]") for index, value in enumerate(values)]
    if len(numbers) != count:
        raise EncodeError(f"needs {count} numbers, got {len(numbers)}", path=f".{name}")
    return numbers


_ALIASES: Final = {"bytes": "base64", "text": "raw"}
"""What a caller may call a field, where its own name is odd."""


def _fill_from_json(value: Mapping[str, Any], message: Message) -> None:
    """Fill a message from its JSON form, in which bytes are base64 text or what Node.js makes of a buffer.

    Fields not known here are left out, since clients add some of their own, but if none is known the value is wrong.
    """
    from google.protobuf import json_format

    known = message.DESCRIPTOR.fields_by_name
    fields: dict[str, Any] = {}
    for name, item in value.items():
        alias = _ALIASES.get(name, name)
        fields[alias if alias in known and name not in known else name] = _base64_text(item)
    try:
        json_format.ParseDict(fields, message, ignore_unknown_fields=True)
    except json_format.ParseError as exc:
        raise EncodeError(f"this object is no {type(message).__name__}: {exc}") from None
    if fields and not any(name in known or name in message.DESCRIPTOR.fields_by_camelcase_name for name in fields):
        raise EncodeError(f"this object is no {type(message).__name__}: it has {', '.join(map(repr, fields))}")


def _base64_text(item: Any) -> Any:
    """Return bytes as base64 text: Python's, Node's Buffer `{type, data}`, or a Uint8Array `{"0": .., "1": ..}`."""
    try:
        if isinstance(item, Mapping) and item:
            octets = cast(Mapping[str, Any], item)
            if octets.get("type") == "Buffer":
                item = bytes(octets["data"])
            elif all(name == str(index) for index, name in enumerate(octets)):
                item = bytes(octets.values())
        if isinstance(item, bytes):
            return base64.b64encode(item).decode("ascii")
    except (KeyError, TypeError, ValueError):
        raise EncodeError("this object is no buffer of bytes") from None
    return cast(Any, item)
