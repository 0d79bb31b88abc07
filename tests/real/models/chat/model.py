"""A chat model as the public page describes one: it says what it received, and never anything clever."""

from __future__ import annotations

import json
from collections.abc import Iterator

from runner import Image, ModelClass, Param


class Chat(ModelClass):
    """Its three methods are those the page lists, with the page's arguments."""

    def _reply(self, prompt: str, **received: object) -> str:
        return json.dumps({"prompt": prompt, **received})

    @ModelClass.method
    def predict(
        self,
        prompt: str = "",
        image: Image | None = None,
        images: list[Image] | None = None,
        chat_history: list[dict] | None = None,
        max_tokens: int = Param(512, description="Longest answer, in tokens", min_value=1, max_value=4096),
        temperature: float = Param(1.0, description="How freely to choose", min_value=0.0, max_value=2.0),
        top_p: float = Param(0.8, description="Share of the likeliest words", min_value=0.0, max_value=1.0),
        reasoning_effort: str = Param("low", description="How long to think", choices=["low", "medium", "high"]),
    ) -> str:
        """Answer a prompt, perhaps about a picture."""
        return self._reply(
            prompt,
            image=image and image.to_pil().size,
            images=images and [each.to_pil().size for each in images],
            chat_history=chat_history,
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            reasoning_effort=reasoning_effort,
        )

    @ModelClass.method
    def generate(
        self,
        prompt: str = "",
        image: Image | None = None,
        images: list[Image] | None = None,
        chat_history: list[dict] | None = None,
        tools: list[dict] | None = None,
        tool_choice: str | None = None,
        max_tokens: int = Param(512, description="Longest answer, in tokens", min_value=1, max_value=4096),
        temperature: float = Param(0.7, description="How freely to choose", min_value=0.0, max_value=2.0),
        top_p: float = Param(0.8, description="Share of the likeliest words", min_value=0.0, max_value=1.0),
        reasoning_effort: str = Param("low", description="How long to think", choices=["low", "medium", "high"]),
    ) -> Iterator[str]:
        """Answer a prompt piece by piece."""
        reply = self._reply(
            prompt,
            image=image and image.to_pil().size,
            images=images and [each.to_pil().size for each in images],
            chat_history=chat_history,
            tools=tools,
            tool_choice=tool_choice,
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            reasoning_effort=reasoning_effort,
        )
        for start in range(0, len(reply), 20):
            yield reply[start : start + 20]

    @ModelClass.method
    def chat(
        self,
        messages: list[dict] | None = None,
        max_tokens: int = Param(750, description="Longest answer, in tokens"),
        temperature: float = Param(0.7, description="How freely to choose"),
        top_p: float = Param(0.8, description="Share of the likeliest words"),
        reasoning_effort: str = Param("low", description="How long to think"),
    ) -> Iterator[str]:
        """Continue a conversation."""
        for message in messages or [{"role": "assistant", "content": "Hello"}]:
            yield f"{message['role']}: {message['content']}\n"
