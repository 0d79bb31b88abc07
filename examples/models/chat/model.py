"""A chat with SmolLM2-135M-Instruct: every conversation is a coroutine, and their steps run together.

A conversation holds a slot of the cache for as long as it lasts. Its prompt is read in pieces, so that a long one does
not hold up the others, and then each token is a step: `read` is a coalescing point, so whatever conversations wait when
the device is free are one forward pass, pieces of prompts and single tokens alike.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, closing
from typing import Any, NamedTuple

import torch
from answer import Answer
from decoder import Decoder
from network import Cache, Llama, Piece
from sampling import GREEDY, Choice, Chooser, Sampling
from template import conversation
from tools import Tools, may_be_calls, parse, read_tools

from runner import ModelClass, Param, Slots
from runner.errors import InvalidInput

CONVERSATIONS = 64  # at once; config.yaml has the same number, so that whoever comes later waits in the server
LENGTH = 2048  # tokens of a conversation, prompt and answer
STOPS = 4  # texts at which an answer may be told to stop
STOP_LENGTH = 256  # characters of one of them: each token is compared with them all

logger = logging.getLogger("chat")


class Step(NamedTuple):
    """One piece of work, and how the tokens behind it are chosen."""

    piece: Piece
    wanted: int
    """Tokens at most: 0 behind a piece of a prompt that goes on."""
    choice: Choice


class Chat(ModelClass):
    """Talks, and calls tools."""

    piece = 64  # tokens of a prompt that are read at once
    budget = 256  # tokens of all pieces that are read at once
    ahead = 1  # tokens that a running answer gets from one step

    def load_model(self) -> None:
        """Read the weights, and run once to warm up."""
        on_gpu = self.device.startswith("cuda")
        if on_gpu:
            # There a token of all conversations takes a millisecond, and Python two between two steps: fewer of them.
            self.piece, self.budget, self.ahead = 256, 2048, 16
            # It has plans for some shapes only, and finds out late for which.
            torch.backends.cuda.enable_cudnn_sdp(False)
        source = self.source()
        dtype = torch.bfloat16 if on_gpu else torch.float32
        self.vocabulary = source.vocabulary()
        self.net = Llama(source.shape, source.tensors(dtype), self.device)
        self.cache, self.decoder = self._memory(CONVERSATIONS, dtype, on_gpu=on_gpu)
        self.slots = Slots(self.cache.slots)
        warm_up = [
            Piece(0, 0, [self.vocabulary.end] * self.piece),
            Piece(self.cache.slots - 1, 0, [self.vocabulary.end]),
        ]
        self._read([Step(piece, 1, GREEDY) for piece in warm_up])

    def source(self) -> Any:
        """Return what has the weights and the vocabulary. A class derived from this one may have others."""
        from weights import Gguf  # here, so that such a class does without the packages that this takes

        return Gguf()

    def _memory(self, slots: int, dtype: torch.dtype, *, on_gpu: bool) -> tuple[Cache, Decoder | None]:
        """Return a cache with so many slots, or with fewer if they do not fit into the GPU's memory."""
        try:
            cache = Cache(self.net.shape, slots, LENGTH, self.device, dtype)
            return cache, Decoder(self.net, cache, record=True) if on_gpu else None
        except torch.OutOfMemoryError:
            if slots == 1:
                raise
        torch.cuda.empty_cache()
        logger.warning("no memory for %d conversations at once; trying %d", slots, slots // 2)
        return self._memory(slots // 2, dtype, on_gpu=on_gpu)

    @ModelClass.method
    async def predict(
        self,
        prompt: str = "",
        chat_history: list[dict] | None = None,
        tools: list[dict] | None = None,
        tool_choice: str | None = None,
        max_tokens: int = Param(256, description="Longest answer, in tokens", min_value=1, max_value=LENGTH),
        temperature: float = Param(0.2, description="0 takes the likeliest", min_value=0, max_value=2),
        top_p: float = Param(0.9, description="Share of the likeliest tokens", min_value=0, max_value=1),
        stop: list[str] | None = None,
        seed: int = Param(-1, description="Of the chance; -1 takes another each time"),
    ) -> str:
        """Answer a prompt. With tools, an answer that calls some is a JSON list of the calls.

        `tool_choice`: "auto" leaves it to the model whether to call one, "required" has it call one, a tool's name has
        it call that one, "none" forbids it.
        """
        sampling = Sampling(temperature, top_p, None if seed < 0 else seed)
        wanted = read_tools(tools, tool_choice)
        async with aclosing(self._answer(prompt, chat_history, wanted, max_tokens, sampling, stop or ())) as pieces:
            return "".join([piece async for piece in pieces])

    @ModelClass.method
    async def generate(
        self,
        prompt: str = "",
        chat_history: list[dict] | None = None,
        tools: list[dict] | None = None,
        tool_choice: str | None = None,
        max_tokens: int = Param(256, description="Longest answer, in tokens", min_value=1, max_value=LENGTH),
        temperature: float = Param(0.2, description="0 takes the likeliest", min_value=0, max_value=2),
        top_p: float = Param(0.9, description="Share of the likeliest tokens", min_value=0, max_value=1),
        stop: list[str] | None = None,
        seed: int = Param(-1, description="Of the chance; -1 takes another each time"),
    ) -> AsyncIterator[str]:
        """Answer as `predict` does, piece by piece, as the model says it; calls of tools are one piece."""
        sampling = Sampling(temperature, top_p, None if seed < 0 else seed)
        wanted = read_tools(tools, tool_choice)
        async with aclosing(self._answer(prompt, chat_history, wanted, max_tokens, sampling, stop or ())) as pieces:
            async for piece in pieces:
                yield piece

    # The device's work.

    @ModelClass.batched(max_batch_size=CONVERSATIONS, cost="share", max_batch_cost=1)
    def read(self, steps: list[Step]) -> list[Any]:
        """Run pieces of many conversations in one pass; return the tokens behind each, or its exception."""
        return self._read_what_fits(steps)

    def share(self, step: Step) -> float:
        """Return what a step takes of a batch's budget."""
        return len(step.piece.tokens) / self.budget

    def _read_what_fits(self, steps: Sequence[Step]) -> list[Any]:
        try:
            return self._read(steps)
        except torch.OutOfMemoryError as error:
            if len(steps) == 1:
                return [error]
        # What the cache got already it gets again, the same.
        torch.cuda.empty_cache()
        half = len(steps) // 2
        return [*self._read_what_fits(steps[:half]), *self._read_what_fits(steps[half:])]

    def _read(self, steps: Sequence[Step]) -> list[list[int]]:
        if self.decoder is not None and all(len(step.piece.tokens) == 1 for step in steps):
            count = min(self.ahead, max(1, *(step.wanted for step in steps)))
            choices = [GREEDY] * self.cache.slots
            for step in steps:
                choices[step.piece.slot] = step.choice
            found = self.decoder.run([step.piece for step in steps], count, Chooser(choices, count, self.device))
            return [tokens[: step.wanted] for step, tokens in zip(steps, found, strict=True)]
        x = self.net.forward([step.piece for step in steps], self.cache)
        wanting = [row for row, step in enumerate(steps) if step.wanted]
        tokens: list[list[int]] = [[] for _ in steps]
        if wanting:
            rows = x if len(wanting) == len(steps) else x[torch.tensor(wanting, device=self.device)]
            choose = Chooser([steps[row].choice for row in wanting], 1, self.device)
            logits = self.net.logits(rows)
            chosen = logits.argmax(-1)
            choose(logits, 0, chosen)
            for row, token in zip(wanting, chosen.tolist(), strict=True):
                tokens[row] = [token]
        return tokens

    # A conversation.

    async def _answer(
        self,
        prompt: str,
        history: Sequence[dict] | None,
        tools: Tools,
        max_tokens: int,
        sampling: Sampling,
        stop: Sequence[str],
    ) -> AsyncIterator[str]:
        _check(stop)
        tokens = await self._tokens(prompt, history, tools)
        size = len(tokens)
        # The last token of an answer is never read, so it needs no place.
        answer = Answer(self.vocabulary, stop, min(max_tokens, LENGTH - size + 1))
        told = Telling(tools)
        reported = -1
        async with self.slots.lease() as slot:
            said: list[int] = []
            for start in range(0, size, self.piece):
                piece = Piece(slot, start, tokens[start : start + self.piece])
                wanted = 1 if piece.end == size else 0
                said = await self.read(Step(piece, wanted, sampling.ahead(wanted)))
            place = size
            while True:
                answer.take(said)
                if answer.over:
                    break
                sampling.move_on(len(said))
                ahead = min(self.ahead, answer.left)
                piece = Piece(slot, place + len(said) - 1, said[-1:])
                # The next tokens are asked for before these are told, so that the device works meanwhile.
                with closing(self.read(Step(piece, ahead, sampling.ahead(ahead)))) as asked:
                    await asyncio.sleep(0)  # until all others have asked, too: it is telling that takes time
                    if text := told.more(answer.text()):
                        reported = self._report(size, answer)
                        yield text
                    place += len(said)
                    said = await asked
        text = told.more(answer.text()) + told.rest()
        if text or reported != answer.count:  # usage travels with a piece, be it an empty one
            self._report(size, answer)
            yield text

    async def _tokens(self, prompt: str, history: Sequence[dict] | None, tools: Tools) -> list[int]:
        messages = conversation(prompt, history, tools.functions)
        size = self.vocabulary.fewest(messages)
        if size <= LENGTH:
            # In a thread: a long text takes a while, in which the loop would stand still for all.
            tokens = await asyncio.to_thread(self.vocabulary.tokens, messages, tools.begin)
            if len(tokens) <= LENGTH:
                return tokens
            size = len(tokens)
        raise InvalidInput(f"the conversation has {size} tokens or more, and {LENGTH} is the most")

    def _report(self, size: int, answer: Answer) -> int:
        self.set_output_context(prompt_tokens=size, completion_tokens=answer.count)
        return answer.count


class Telling:
    """What is told of an answer that may be calls of tools: those as one piece of JSON, any other text as it comes."""

    def __init__(self, tools: Tools) -> None:
        self._held: str | None = tools.begin if tools.functions else None
        """What may turn out to be calls; None: it is none."""

    def more(self, text: str) -> str:
        """Return what can be told, given more of the answer."""
        if self._held is None:
            return text
        self._held += text
        if may_be_calls(self._held):
            return ""
        text, self._held = self._held, None
        return text

    def rest(self) -> str:
        """Return what was held back; the answer is over."""
        calls = parse(self._held) if self._held else []
        return json.dumps([call.as_json(number) for number, call in enumerate(calls)]) if calls else self._held or ""


def _check(stop: Sequence[str]) -> None:
    if len(stop) > STOPS:
        raise InvalidInput(f"has {len(stop)} texts, and {STOPS} is the most", path="stop")
    for place, text in enumerate(stop):
        if len(text) > STOP_LENGTH:
            raise InvalidInput(f"has {len(text)} characters, and {STOP_LENGTH} is the most", path=f"stop[{place}]")
