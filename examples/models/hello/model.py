"""The smallest useful model: strings, and the three kinds of call that a client meets first."""

from __future__ import annotations

from collections.abc import Iterator

from runner import ModelClass, Param


class Hello(ModelClass):
    """Greets people."""

    def load_model(self) -> None:
        """A real model loads its weights here, once in each worker."""
        self.greeting = "Hello"

    @ModelClass.method
    def predict(self, prompt: str = "world") -> str:
        """Greet `prompt`."""
        return f"{self.greeting}, {prompt}!"

    @ModelClass.method
    def generate(
        self, prompt: str, times: int = Param(3, "how many greetings", min_value=1, max_value=100)
    ) -> Iterator[str]:
        """Greet `prompt` again and again; each greeting is sent as soon as it is made."""
        for number in range(1, times + 1):
            yield f"{self.greeting} no. {number}, {prompt}!"

    @ModelClass.method
    def stream(self, input_iterator: Iterator[str]) -> Iterator[str]:
        """Greet everybody who comes in, each before the next one is there."""
        for prompt in input_iterator:
            yield f"{self.greeting}, {prompt}!"
