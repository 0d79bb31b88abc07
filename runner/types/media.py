"""Text, image, audio and video: content as bytes (or a string), or the URL where it is.

An image's bytes are opaque until someone asks for its pixels; numpy and Pillow are imported only then.
"""

from __future__ import annotations

import base64
import functools
import io
from typing import TYPE_CHECKING, Any, Self

from runner.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray

MAX_PIXELS = 100_000_000
"""An image with more is refused by its header, before memory is taken for its pixels."""

_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "ICO", "TGA", "JPEG2000", "AVIF")
"""Formats that are decoded. Pillow knows more, one of which (EPS) runs another program on the bytes."""


class Text:
    """A text, or the URL where it is. Both are strings, empty if not given."""

    __slots__ = ("_path", "text", "url")

    def __init__(self, text: str = "", url: str | None = None) -> None:
        self.text = text
        self.url = url or ""
        self._path = ""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Text):
            return NotImplemented
        return self.text == other.text and self.url == other.url

    def __repr__(self) -> str:
        url = f", url={self.url!r}" if self.url else ""
        text = self.text if len(self.text) <= 60 else self.text[:57] + "..."
        return f"Text({text!r}{url})"


class _File:
    """A file's bytes, or the URL where it is."""

    __slots__ = ("_path", "bytes", "url")

    def __init__(self, *, url: str | None = None, bytes: bytes | None = None) -> None:
        self.url = url or ""
        self.bytes = bytes or b""
        self._path = ""

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Return one whose bytes are still to be fetched: the server does it before the method runs."""
        return cls(url=url)

    def to_base64_str(self) -> str:
        """Return the bytes as base64 text."""
        return base64.b64encode(self.bytes).decode("ascii")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        return self.bytes == other.bytes and self.url == other.url

    def __repr__(self) -> str:
        parts = [f"url={self.url!r}"] if self.url else []
        if self.bytes or not parts:
            parts.append(f"<{len(self.bytes)} bytes>")
        return f"{type(self).__name__}({', '.join(parts)})"


class Audio(_File):
    """An audio file: `bytes` and `url`, empty if not given."""

    __slots__ = ()


class Video(_File):
    """A video file: `bytes` and `url`, empty if not given."""

    __slots__ = ()


class Image(_File):
    """An image file: `bytes` in any usual format, and `url`; empty if not given."""

    __slots__ = ()

    @classmethod
    def from_pil(cls, image: PIL.Image.Image, img_format: str = "PNG") -> Self:
        """Return a Pillow image encoded in `img_format`.

        Raises:
            OSError: the format cannot hold an image of this mode.
        """
        file = io.BytesIO()
        image.save(file, format=img_format)
        return cls(bytes=file.getvalue())

    @classmethod
    def from_numpy(cls, pixels: NDArray[Any], img_format: str = "PNG") -> Self:
        """Return pixels encoded in `img_format`.

        Args:
            pixels: uint8, (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA; a tensor on the CPU will do.
            img_format: a format's name as Pillow knows it.

        Raises:
            TypeError: no image has this shape or dtype, or none of this format.
        """
        import numpy as np
        import PIL.Image

        array = np.asarray(pixels)
        what = f"no {img_format} image has {array.dtype} pixels of shape {array.shape}"
        if array.ndim not in (2, 3):
            raise TypeError(f"{what}; needs (H, W), (H, W, 3) or (H, W, 4)")
        try:
            return cls.from_pil(PIL.Image.fromarray(array), img_format)
        except (OSError, TypeError, ValueError) as exc:  # Pillow's own names its modes, which nobody asked for
            raise TypeError(f"{what}; needs uint8, 0 to 255, and (H, W), (H, W, 3) or (H, W, 4)") from exc

    def to_pil(self) -> PIL.Image.Image:
        """Return the decoded image, in the mode of the file.

        Raises:
            InvalidInput: there are no bytes, they are not an image, or it has more than `MAX_PIXELS` pixels.
        """
        import PIL.Image

        if not self.bytes:
            what = "an image given by URL was not fetched" if self.url else "an image without bytes"
            raise InvalidInput(f"{what}, so it has no pixels", path=self._path)
        try:
            image = PIL.Image.open(io.BytesIO(self.bytes), formats=_known_formats())
        except PIL.Image.DecompressionBombError:
            message = f"the image has too many pixels, at most {MAX_PIXELS:,} are taken"
            raise InvalidInput(message, path=self._path) from None
        except Exception:
            # Pillow's own text names the buffer object; what helps is how the bytes begin.
            begin = self.bytes[:8]
            message = f"these {len(self.bytes)} bytes are not an image of a known format (they begin with {begin!r})"
            raise InvalidInput(message, path=self._path) from None
        width, height = image.size
        if width * height > MAX_PIXELS:
            message = f"the image has {width} x {height} pixels, at most {MAX_PIXELS:,} are taken"
            raise InvalidInput(message, path=self._path)
        try:
            image.load()
        except Exception as exc:  # decoders raise OSError, SyntaxError, struct.error, ValueError ...
            raise InvalidInput(f"the {image.format} image is damaged: {exc}", path=self._path) from exc
        return image

    def to_numpy(self) -> NDArray[np.uint8]:
        """Return the pixels as a writable array: (H, W) or (H, W, channels), uint8 for the usual modes.

        Raises:
            InvalidInput: as for `to_pil`.
        """
        import numpy as np

        return np.array(self.to_pil())


def path_of(media: Text | Image | Audio | Video) -> str:
    """Return which argument a decoded value came in, such as `images[3]`; empty for one made by hand."""
    return media._path  # pyright: ignore[reportPrivateUsage]  # no part of the value, so kept from view


def set_path(media: Text | Image | Audio | Video, path: str) -> None:
    """Remember which argument a decoded value came in, so that a later error can name it."""
    media._path = path  # pyright: ignore[reportPrivateUsage]  # as above


@functools.cache
def _known_formats() -> tuple[str, ...]:
    """Return those of `_FORMATS` that this Pillow was built with."""
    import PIL.Image

    PIL.Image.init()
    return tuple(name for name in _FORMATS if name in PIL.Image.OPEN)
