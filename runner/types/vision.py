"""What is seen in an image or a video: concepts, regions, frames."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING

from runner.types.media import Image

if TYPE_CHECKING:
    import PIL.Image


class Concept:
    """A label and its score.

    Args:
        name: what people read.
        value: the score, usually 0 to 1; 32 bits on the wire.
        id: what programs compare; made from the name if not given.
    """

    __slots__ = ("id", "name", "value")

    def __init__(self, name: str, value: float = 1.0, id: str | None = None) -> None:
        self.name = name
        self.value = value
        self.id = id or concept_id(name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Concept):
            return NotImplemented
        return (self.id, self.name, self.value) == (other.id, other.name, other.value)

    def __repr__(self) -> str:
        own = "" if self.id == concept_id(self.name) else f", id={self.id!r}"
        return f"Concept({self.name!r}, {self.value!r}{own})"


def concept_id(name: str) -> str:
    """Return the id of a concept that was given none: `Tabby cat!` has `Tabby-cat`."""
    return "".join(char for char in name if char.isalnum() or char == " ").replace(" ", "-")


class Region:
    """A part of an image, and what is in it.

    Args:
        box: left, top, right and bottom, as fractions of the image's size.
        concepts: what it is.
        mask: an image; a Pillow image is encoded as PNG.
        point: x, y and z.
        text: what is written there.
        track_id: the same for the same object in successive frames.
        id: random if not given.
    """

    __slots__ = ("box", "concepts", "id", "mask", "point", "text", "track_id")

    def __init__(
        self,
        box: Iterable[float] | None = None,
        concepts: Iterable[Concept] | None = None,
        mask: Image | PIL.Image.Image | None = None,
        point: tuple[float, float, float] | None = None,
        *,
        text: str = "",
        track_id: str = "",
        id: str | None = None,
    ) -> None:
        self.box = None if box is None else list(box)
        self.concepts = [] if concepts is None else list(concepts)
        self.mask = mask if mask is None or isinstance(mask, Image) else Image.from_pil(mask)
        self.point = point
        self.text = text or ""
        self.track_id = track_id or ""
        self.id = uuid.uuid4().hex if id is None else id

    def _key(self) -> tuple[object, ...]:
        return self.id, self.box, self.concepts, self.mask, self.point, self.text, self.track_id

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Region):
            return NotImplemented
        return self._key() == other._key()

    def __repr__(self) -> str:
        parts = [f"{name}={value!r}" for name in self.__slots__ if (value := getattr(self, name))]
        return f"Region({', '.join(parts)})"


class Frame:
    """One image of a video, and what is in it.

    Args:
        image: the picture; a Pillow image is encoded as PNG.
        regions: what was found in it.
        time: seconds from the start; milliseconds on the wire.
        index: which frame it is, from 0.
        id: any name; empty if it has none.
    """

    __slots__ = ("id", "image", "index", "regions", "time")

    def __init__(
        self,
        image: Image | PIL.Image.Image | None = None,
        regions: Iterable[Region] | None = None,
        time: float = 0.0,
        index: int = 0,
        *,
        id: str = "",
    ) -> None:
        self.image = image if image is None or isinstance(image, Image) else Image.from_pil(image)
        self.regions = [] if regions is None else list(regions)
        self.time = time or 0.0
        self.index = index or 0
        self.id = id

    def _key(self) -> tuple[object, ...]:
        return self.id, self.image, self.index, self.regions, self.time

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Frame):
            return NotImplemented
        return self._key() == other._key()

    def __repr__(self) -> str:
        parts = [f"{name}={value!r}" for name in self.__slots__ if (value := getattr(self, name))]
        return f"Frame({', '.join(parts)})"
