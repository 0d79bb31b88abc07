"""A model with everything that `runner check` and `runner call` have a word for."""

from collections.abc import Iterator

from runner import Image, ModelClass, Param


class Odd(ModelClass):
    @ModelClass.method
    def size(self, picture: Image) -> dict[str, int]:
        """Tell the size of `picture`."""
        print("a print is not a report")
        width, height = picture.to_pil().size
        return {"width": width, "height": height}

    @ModelClass.method
    def flip(self, picture: Image) -> Image:
        return Image.from_pil(picture.to_pil().transpose(0))

    @ModelClass.method
    def add(self, items: Iterator[int], start: int = Param(0, "added to each", min_value=0)) -> Iterator[int]:
        for item in items:
            yield item + start

    @ModelClass.method
    def picky(self, prompt: str) -> str:
        raise RuntimeError("not today")

    @ModelClass.method
    def wrong(self) -> int:
        return "text"

    @ModelClass.method
    def endless(self) -> Iterator[str]:
        while True:
            yield "x"

    @ModelClass.method
    def named(self, timeout: float, help: str = "", arg: str = "", shout: bool = False) -> str:
        text = f"{timeout} {help} {arg}"
        return text.upper() if shout else text

    @ModelClass.method
    def top(self, labels: list[str] | None = None, top_k: int = 1, shift: float = 0.0) -> str:
        return f"{top_k} {shift}"
