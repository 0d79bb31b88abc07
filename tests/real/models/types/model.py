"""One echo for each published type, and methods that answer with each zero value."""

from __future__ import annotations

import numpy as np
import PIL.Image

from runner import JSON, Audio, Concept, Frame, Image, ModelClass, NamedFields, Param, Region, Text, Video


class Types(ModelClass):
    """Each `echo_...` returns its argument as it came."""

    @ModelClass.method
    def echo_str(self, value: str) -> str:
        return value

    @ModelClass.method
    def echo_bytes(self, value: bytes) -> bytes:
        return value

    @ModelClass.method
    def echo_int(self, value: int) -> int:
        return value

    @ModelClass.method
    def echo_float(self, value: float) -> float:
        return value

    @ModelClass.method
    def echo_bool(self, value: bool) -> bool:
        return value

    @ModelClass.method
    def echo_ndarray(self, value: np.ndarray) -> np.ndarray:
        value += 0  # a method may write into what it receives
        return value

    @ModelClass.method
    def echo_dict(self, value: dict) -> dict:
        return value

    @ModelClass.method
    def echo_list(self, value: list) -> list:
        return value

    @ModelClass.method
    def echo_json(self, value: JSON) -> JSON:
        return value

    @ModelClass.method
    def echo_text(self, value: Text) -> Text:
        return value

    @ModelClass.method
    def echo_image(self, value: Image) -> Image:
        return value

    @ModelClass.method
    def echo_pil(self, value: PIL.Image.Image) -> PIL.Image.Image:
        return value

    @ModelClass.method
    def echo_concept(self, value: Concept) -> Concept:
        return value

    @ModelClass.method
    def echo_region(self, value: Region) -> Region:
        return value

    @ModelClass.method
    def echo_frame(self, value: Frame) -> Frame:
        return value

    @ModelClass.method
    def echo_audio(self, value: Audio) -> Audio:
        return value

    @ModelClass.method
    def echo_video(self, value: Video) -> Video:
        return value

    @ModelClass.method
    def echo_named(self, value: NamedFields(name=str, size=int)) -> NamedFields(name=str, size=int):
        return value

    @ModelClass.method
    def echo_tuple(self, value: tuple[str, int]) -> tuple[str, int]:
        return value

    @ModelClass.method
    def echo_ints(self, value: list[int]) -> list[int]:
        return value

    @ModelClass.method
    def echo_dicts(self, value: list[dict]) -> list[dict]:
        return value

    @ModelClass.method
    def echo_matrix(self, value: list[list[float]]) -> list[list[float]]:
        return value

    @ModelClass.method
    def echo_images(self, value: list[Image]) -> list[Image]:
        return value

    @ModelClass.method
    def echo_concepts(self, value: list[Concept]) -> list[Concept]:
        return value

    @ModelClass.method
    def echo_regions(self, value: list[Region]) -> list[Region]:
        return value

    @ModelClass.method
    def echo_frames(self, value: list[Frame]) -> list[Frame]:
        return value

    @ModelClass.method
    def echo_optional(self, value: Text | None = None) -> Text | None:
        return value

    @ModelClass.method
    def zero_str(self) -> str:
        return ""

    @ModelClass.method
    def zero_bytes(self) -> bytes:
        return b""

    @ModelClass.method
    def zero_int(self) -> int:
        return 0

    @ModelClass.method
    def zero_float(self) -> float:
        return 0.0

    @ModelClass.method
    def zero_bool(self) -> bool:
        return False

    @ModelClass.method
    def scale(self, text: str, factor: int = Param(2, min_value=1, max_value=5), unit: str = Param("m")) -> str:
        """Old-style calls put `factor` and `unit` into their inference parameters."""
        return f"{text} x{factor} {unit}"

    @ModelClass.method
    def predict(self, text: str, factor: int = Param(2, min_value=1, max_value=5)) -> str:
        """What an old-style call without a method name reaches."""
        return text * factor

    @ModelClass.method
    def image_size(self, image: Image) -> str:
        """Decode the picture: bytes that are none are a bad input from here on, not before."""
        width, height = image.to_pil().size
        return f"{width}x{height}"

    @ModelClass.method
    def colour(self, name: str = Param("red", choices=["red", "green"])) -> str:
        return name
