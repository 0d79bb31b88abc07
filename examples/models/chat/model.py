"""A chat with SmolLM2-135M-Instruct: every conversation is a coroutine, and their steps run together.

A conversation holds a slot of the cache for as long as it lasts. Its prompt is read in pieces, so that a long one does
not hold up the others, and then each token is a step: `read` is a coalescing point, so whatever conversations wait when
the device is free are one forward pass, pieces of prompts and single tokens alike.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

import torch
from network import Cache, Llama, Piece
from sampling import choose
from template import begin_of_call, conversation
from tools import parse
from torch import Tensor
from weights import Gguf

from runner import ModelClass, Param, Slots

CONVERSATIONS = 64  # at once; who comes later waits for a slot
LENGTH = 1024  # tokens of a conversation, prompt and answer
PIECE = 64  # tokens of a prompt that are read at once
STOPS = 4  # texts at which an answer may be told to stop


class Step(NamedTuple):
    """One piece of work, and how the token behind it is chosen."""

    piece: Piece
    temperature: float
    top_p: float
    generator: torch.Generator | None


class Chat(ModelClass):
    """Talks, and calls tools."""

    def load_model(self) -> None:
        """Read the weights, and run once to warm up."""
        file = Gguf()
        dtype = torch.bfloat16 if self.device.startswith("cuda") else torch.float32
        self.tokenizer = file.tokenizer()
        self.end = file.end
        self.net = Llama(file.shape, file.tensors(dtype), self.device)
        self.cache = Cache(file.shape, CONVERSATIONS, LENGTH, self.device, dtype)
        self.slots = Slots(CONVERSATIONS)
        self.net.forward([Piece(0, 0, [self.end])], self.cache)

    @ModelClass.method
    async def predict(
        self,
        prompt: str = "",
        chat_history: list[dict] | None = None,
        tools: list[dict] | None = None,
        tool_choice: str | None = None,
        max_tokens: int = Param(256, description="Longest answer, in tokens", min_value=1, max_value=LENGTH),
        temperature: float = Param(0.2, description="How freely to choose; 0 takes the likeliest", min_value=0),
        top_p: float = Param(0.9, description="Share of the likeliest tokens", min_value=0, max_value=1),
        stop: list[str] | None = None,
        seed: int = Param(-1, description="Of the chance; -1 takes another each time"),
    ) -> str:
        """Answer a prompt. With tools, what the model wants called comes as a JSON list of tool calls.

        `tool_choice`: "auto" leaves it to the model whether to call one, "required" has it call one, "none" forbids it.
        """
        counts = Counts()
        pieces = self._answer(
            prompt, chat_history, tools, tool_choice, max_tokens, temperature, top_p, stop, seed, counts
        )
        answer = "".join([piece async for piece in pieces])
        self.set_output_context(prompt_tokens=counts.prompt, completion_tokens=counts.completion)
        calls = parse(answer) if tools and tool_choice != "none" else []
        return json.dumps([call.as_json(number) for number, call in enumerate(calls)]) if calls else answer

    @ModelClass.method
    async def generate(
        self,
        prompt: str = "",
        chat_history: list[dict] | None = None,
        tools: list[dict] | None = None,
        tool_choice: str | None = None,
        max_tokens: int = Param(256, description="Longest answer, in tokens", min_value=1, max_value=LENGTH),
        temperature: float = Param(0.2, description="How freely to choose; 0 takes the likeliest", min_value=0),
        top_p: float = Param(0.9, description="Share of the likeliest tokens", min_value=0, max_value=1),
        stop: list[str] | None = None,
        seed: int = Param(-1, description="Of the chance; -1 takes another each time"),
    ) -> AsyncIterator[str]:
        """Answer a prompt piece by piece, as the model says it."""
        counts = Counts()
        async for piece in self._answer(
            prompt, chat_history, tools, tool_choice, max_tokens, temperature, top_p, stop, seed, counts
        ):
            self.set_output_context(prompt_tokens=counts.prompt, completion_tokens=counts.completion)
            yield piece

    @ModelClass.batched(max_batch_size=CONVERSATIONS, cost=lambda step: len(step.piece.tokens), max_batch_cost=256)
    def read(self, steps: list[Step]) -> list[int]:
        """Run pieces of many conversations in one pass; return the token behind each."""
        order = sorted(
            range(len(steps)), key=lambda index: (len(steps[index].piece.tokens) > 1, steps[index].piece.slot)
        )
        logits = self.net.forward([steps[index].piece for index in order], self.cache)
        found = [0] * len(steps)
        for row, index in enumerate(order):
            found[index] = self._chosen(logits[row], steps[index])
        return found

    @staticmethod
    def _chosen(logits: Tensor, step: Step) -> int:
        return choose(logits, temperature=step.temperature, top_p=step.top_p, generator=step.generator)

    async def _answer(
        self,
        prompt: str,
        history: Sequence[dict] | None,
        tools: Sequence[dict] | None,
        tool_choice: str | None,
        max_tokens: int,
        temperature: float,
        top_p: float,
        stop: Sequence[str] | None,
        seed: int,
        counts: Counts,
    ) -> AsyncIterator[str]:
        text = conversation(prompt, history, None if tool_choice == "none" else tools)
        begin = begin_of_call(tools) if tools and tool_choice == "required" else ""
        text += begin
        tokens = self.tokenizer.encode(text, add_special_tokens=False).ids
        if len(tokens) >= LENGTH:
            raise ValueError(f"the conversation has {len(tokens)} tokens, and {LENGTH - 1} is the most")
        if len(stop or ()) > STOPS:
            raise ValueError(f"stop: {len(stop or ())} texts, and {STOPS} is the most")
        counts.prompt = len(tokens)
        generator = None
        if seed >= 0:
            generator = torch.Generator(self.device).manual_seed(seed)
        if begin:
            yield begin
        async with self.slots.lease() as slot:
            place = 0
            token = self.end
            while place < len(tokens):
                piece = tokens[place : place + PIECE]
                token = await self.read(Step(Piece(slot, place, piece), temperature, top_p, generator))
                place += len(piece)
            said = Said(stop or ())
            while token != self.end and counts.completion < max_tokens and place < LENGTH:
                counts.completion += 1
                said.tokens.append(token)
                if piece := said.more(self.tokenizer.decode(said.tokens)):
                    yield piece
                if said.stopped:
                    return
                token = await self.read(Step(Piece(slot, place, [token]), temperature, top_p, generator))
                place += 1
            if piece := said.rest():
                yield piece


class Counts:
    """Tokens of one call."""

    def __init__(self) -> None:
        self.prompt = 0
        self.completion = 0


class Said:
    """What of an answer can be told already: whole characters, and nothing that may be the begin of a stop text."""

    def __init__(self, stop: Sequence[str]) -> None:
        self.tokens: list[int] = []
        self.stopped = False
        self._stop = [text for text in stop if text]
        self._text = ""
        self._told = 0

    def more(self, text: str) -> str:
        """Return what may be told of the answer so far."""
        if text.endswith("\ufffd"):  # a character of several tokens, and not all of them are there
            return ""
        self._text = text
        found = [
            place for place in (text.find(stop, max(self._told - len(stop), 0)) for stop in self._stop) if place >= 0
        ]
        if found:
            self.stopped = True
            end = min(found)
        else:
            end = len(text) - max((self._begun(text, stop) for stop in self._stop), default=0)
        return self._tell(end)

    def rest(self) -> str:
        """Return what was held back; the answer is over."""
        return self._tell(len(self._text))

    def _tell(self, end: int) -> str:
        piece = self._text[self._told : end]
        self._told = max(self._told, end)
        return piece

    @staticmethod
    def _begun(text: str, stop: str) -> int:
        """Return how many characters at the end of a text are the begin of a stop text."""
        return next((size for size in range(len(stop) - 1, 0, -1) if text.endswith(stop[:size])), 0)
