"""Read by type checkers only: decorating a method and using `Param` keep its signature as the author wrote it.

`assert_type` says what has to be inferred. Each `pyright: ignore` marks a mistake that has to be reported; one that is
not is an error itself.
"""

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

from runner import CallContext, Image, ModelClass, Param


class Model(ModelClass):
    def load_model(self) -> None:
        self.names = ["cat"]
        assert_type(self.device, str)

    @ModelClass.method
    def predict(self, image: Image, top_k: int = Param(5, min_value=1)) -> dict[str, float]:
        assert_type(top_k, int)
        assert_type(self.context, CallContext)
        self.set_output_context(prompt_tokens=1)
        return dict.fromkeys(self.names[:top_k], 1.0)

    @ModelClass.method(idempotent=True)
    def generate(self, prompt: str, effort: str = Param("low", choices=["low", "high"])) -> Iterator[str]:
        yield prompt + effort

    @ModelClass.method
    async def track(self, frames: AsyncIterator[Image]) -> AsyncIterator[int]:
        async for frame in frames:
            yield len(frame.bytes)

    @ModelClass.method
    async def ask(self, question: str, limit: float | None = Param(None, max_value=1)) -> str:
        return f"{question} {limit}"

    @ModelClass.method
    def wrong_default(self, n: int = Param("5")) -> int:  # pyright: ignore[reportArgumentType]
        return n

    @ModelClass.method
    def wrong_choice(self, n: int = Param(5, choices=["a"])) -> int:  # pyright: ignore[reportArgumentType]
        return n

    @ModelClass.method(idempotnt=True)  # pyright: ignore[reportCallIssue]
    def wrong_option(self) -> int:
        return 1


async def use(model: Model) -> None:
    assert_type(model.predict(Image()), dict[str, float])
    assert_type(model.predict(image=Image(), top_k=3), dict[str, float])
    assert_type(model.generate("x"), Iterator[str])
    assert_type(await model.ask("x"), str)
    assert_type([size async for size in model.track(frames())], list[int])
    model.predict("x")  # pyright: ignore[reportArgumentType]
    model.predict(Image(), topk=3)  # pyright: ignore[reportCallIssue]


async def frames() -> AsyncIterator[Image]:
    yield Image()
