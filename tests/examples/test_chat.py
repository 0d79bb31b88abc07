"""The chat example's conversations: what each says, that company changes nothing of it, and what runs together.

Most of it is asked of a tiny network with random weights, whose tokens are bytes. The last few tests are of the real
model, and of the documented call of tools.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from runner.errors import Cancelled, InvalidInput, ModelError  # noqa: E402
from runner.testing import serve  # noqa: E402
from tests.examples.chatting import (  # noqa: E402
    MISSING,
    Tiny,
    chat,
    first_difference,
    loaded,
    vocabulary,
)
from tests.execution.stage import Stage  # noqa: E402
from tests.running import Latch, on_loop, turns  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
LENGTH = chat.model.LENGTH
SYSTEM = chat.template.SYSTEM
FOREVER = {"max_tokens": 2000, "temperature": 0.0, "chat_history": [{"role": "system", "content": ""}]}


class Long(Tiny):
    """Never ends an answer by itself."""

    def source(self) -> Any:
        source = super().source()
        words = vocabulary()
        words.ends = ()
        source.vocabulary = lambda: words
        return source


class Held(Long):
    """Holds the device while the test says so."""

    latch: Latch | None = None

    def _read(self, steps: Sequence[Any]) -> list[list[int]]:
        if self.latch is not None:
            self.latch.pass_through()
        return super()._read(steps)


@asynccontextmanager
async def stage(model_class: type[Tiny] = Long) -> AsyncIterator[Stage]:
    """Run the model in an executor on this loop. At the end every slot is back."""
    async with Stage(model_class) as found:
        found.model.load_model()
        yield found
    assert (found.model.slots.leased, found.model.slots.waiting) == (0, 0)


@pytest.fixture(scope="module")
def tiny(one_thread: None) -> Any:
    return loaded(Long)


def predict(model: Any, *args: Any, **options: Any) -> str:
    return asyncio.run(model.predict(*args, **{"temperature": 0.0, **options}))


def generate(model: Any, *args: Any, **options: Any) -> list[str]:
    async def run() -> list[str]:
        return [piece async for piece in model.generate(*args, **{"temperature": 0.0, **options})]

    return asyncio.run(run())


def prompt_of(model: Any, text: str) -> list[int]:
    return model.vocabulary.tokens(chat.template.conversation(text, None))


def said_by(model: Any) -> list[int]:
    """Return the tokens that the one conversation since the last `clear` was given to read, and the prompt's length."""
    return [token for (step,) in model.steps for token in step.piece.tokens]


# --- What is said ---------------------------------------------------------------------------------------------------


def test_greedy_is_what_the_plain_pass_says(tiny):
    tiny.steps.clear()
    prompt = prompt_of(tiny, "Tell me.")
    answer = predict(tiny, "Tell me.", max_tokens=40)
    read = said_by(tiny)
    assert read[: len(prompt)] == prompt
    said = read[len(prompt) :]
    assert len(said) == 39  # the last one is said, and never read
    assert first_difference(tiny.net, prompt, said) == ""
    assert bytes(token for token in said if token < 256).decode("utf-8", "replace")[:20] == answer[:20]


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_a_prompt_read_in_pieces_is_the_same_prompt(tiny, piece, monkeypatch):
    expected = predict(tiny, "Tell me." * 20, max_tokens=8)
    monkeypatch.setattr(tiny, "piece", piece)
    assert predict(tiny, "Tell me." * 20, max_tokens=8) == expected


def test_pieces_are_the_answer(tiny):
    whole = predict(tiny, "Tell me.", max_tokens=30)
    pieces = generate(tiny, "Tell me.", max_tokens=30)
    assert "".join(pieces) == whole
    assert len(pieces) > 10


def test_a_stop_text_ends_the_answer_and_takes_no_further_step(tiny):
    whole = predict(tiny, "Tell me.", max_tokens=30)
    stop = whole[8:12]
    tiny.steps.clear()
    assert predict(tiny, "Tell me.", max_tokens=30, stop=[stop]) == whole[: whole.index(stop)]
    assert len(said_by(tiny)) < len(prompt_of(tiny, "Tell me.")) + 30
    assert "".join(generate(tiny, "Tell me.", max_tokens=30, stop=[stop, "\x00"])) == whole[: whole.index(stop)]


def test_the_shortest_answer_takes_the_steps_of_its_prompt(tiny):
    tiny.steps.clear()
    predict(tiny, "Tell me.", max_tokens=1)
    assert said_by(tiny) == prompt_of(tiny, "Tell me.")
    assert generate(tiny, "Tell me.", max_tokens=0) == [""]  # as a plain object; callers are refused


def test_an_empty_prompt_has_the_model_begin(tiny):
    tiny.steps.clear()
    predict(tiny, max_tokens=1)
    assert bytes(token for token in said_by(tiny) if token < 256).decode() == f"system\n{SYSTEM}\nassistant\n"


def test_an_answer_ends_where_its_slot_does(tiny):
    empty = len(prompt_of(tiny, ""))
    room = 20
    text = "x" * (LENGTH - empty - len("user\n\n") - 2 - room)
    assert len(prompt_of(tiny, text)) == LENGTH - room
    tiny.steps.clear()
    predict(tiny, text, max_tokens=LENGTH)
    assert len(said_by(tiny)) == LENGTH  # one more is said
    assert len(prompt_of(tiny, text + "x" * room)) == LENGTH
    predict(tiny, text + "x" * room, max_tokens=LENGTH)
    with pytest.raises(InvalidInput, match=f"has {LENGTH + 1} tokens or more, and {LENGTH} is the most"):
        predict(tiny, text + "x" * (room + 1))


def test_a_prompt_that_is_far_too_long_is_refused_unread(tiny, monkeypatch):
    monkeypatch.setattr(tiny.vocabulary, "encode", None)
    with pytest.raises(InvalidInput, match="tokens or more"):
        predict(tiny, "x" * 10_000_000)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"stop": list("abcde")}, "stop: has 5 texts"),
        ({"stop": ["x" * 257]}, r"stop\[0\]: has 257 characters"),
        ({"tool_choice": "always"}, "tool_choice"),
        ({"tools": [{}]}, r"tools\[0\]"),
        ({"chat_history": [{"text": "y"}]}, r"chat_history\[0\]"),
    ],
)
def test_what_is_refused(tiny, options, match):
    with pytest.raises(InvalidInput, match=match):
        predict(tiny, "x", **options)
    assert tiny.slots.leased == 0


def test_a_seed_repeats_the_chance(tiny):
    def ask(seed: int) -> str:
        return predict(tiny, "Tell me.", max_tokens=20, temperature=1.5, top_p=1.0, seed=seed)

    assert ask(1) == ask(1)
    assert len({ask(seed) for seed in range(1, 5)}) > 1
    assert ask(-1) != ask(-1)


def test_usage_is_told_with_the_last_piece(tiny):
    prompt = len(prompt_of(tiny, "Tell me."))

    async def run(**options: Any) -> Any:
        usage = None
        async for _ in tiny.generate("Tell me.", temperature=0.0, **options):
            usage = tiny.context.take_usage()
        return usage

    assert asyncio.run(run(max_tokens=9)) == (prompt, 9, 0)
    whole = predict(tiny, "Tell me.", max_tokens=30)
    *_, count = asyncio.run(run(max_tokens=30, stop=[whole[8:12]]))[:2]
    assert 9 < count <= 30


def test_tools_are_in_the_prompt_and_a_forced_call_is_begun(tiny):
    tool = {"name": "f", "parameters": {}}
    tiny.steps.clear()
    pieces = generate(tiny, "Do it.", tools=[tool], tool_choice="required", max_tokens=5)
    read = bytes(token for token in said_by(tiny) if token < 256).decode("utf-8", "replace")
    assert '<tools>[{"name": "f"' in read
    assert '\nassistant\n<tool_call>[{"name": "f", "arguments": {' in read
    assert pieces[0].startswith('<tool_call>[{"name": "f", "arguments": {')


def test_company_changes_nothing(tiny):
    questions = [f"Tell me {'more ' * number}." for number in range(16)]
    alone = [predict(tiny, question, max_tokens=12) for question in questions]

    class Loaded(Tiny):
        def load_model(self) -> None:
            self.__dict__.update(tiny.__dict__, slots=tiny.slots)

    async def run() -> tuple[list[str], Any]:
        async with serve(Loaded) as model:
            await model.available_methods()
            return await asyncio.gather(*(model.predict(q, max_tokens=12, temperature=0.0) for q in questions))

    tiny.steps.clear()
    together = asyncio.run(run())
    assert max(map(len, tiny.steps)) > 1
    # Batches of other sizes round otherwise; these logits are nowhere closer than that.
    assert together == alone


# --- What runs together ---------------------------------------------------------------------------------------------


@on_loop
async def test_sixteen_streams_are_one_batch_in_each_step():
    async with stage() as on:
        calls = [on.call("generate", prompt=f"Tell me {number}.", **FOREVER) for number in range(16)]
        for call in calls:
            await on.items(call, 1)
        await asyncio.gather(*(on.items(call, 5) for call in calls))
        begun = len(on.model.steps)
        # Nobody gives credit here, so that a stream stops at 64 items: the first to come near ends the steady part.
        await on.until(lambda: any(len(on.outputs[call]) >= 60 for call in calls))
        steady = on.model.steps[begun:]
        for call in calls:
            on.executor.cancel(call)
        for call in calls:
            with pytest.raises(Cancelled):
                await on.end(call)
    sizes = [len(steps) for steps in steady]
    assert len(sizes) > 20
    assert sum(sizes) / len(sizes) >= 15


@on_loop
async def test_running_streams_get_a_token_in_every_step_while_a_long_prompt_is_read():
    async with stage() as on:
        running = [on.call("generate", prompt=f"Tell me {number}.", **FOREVER) for number in range(4)]
        for call in running:
            await on.items(call, 3)
        slots = {step.piece.slot for steps in on.model.steps for step in steps}
        assert len(slots) == 4
        long = on.call("generate", prompt="x" * 1200, **FOREVER)
        await on.items(long, 1)
        # Read in pieces: in each step one of them, and a token of each stream.
        with_a_piece = [steps for steps in on.model.steps if any(step.piece.slot not in slots for step in steps)]
        pieces = [steps for steps in with_a_piece if any(len(step.piece.tokens) > 1 for step in steps)]
        assert len(pieces) >= 1200 // on.model.piece
        for steps in pieces:
            assert {step.piece.slot for step in steps if len(step.piece.tokens) == 1} >= slots
            assert sum(len(step.piece.tokens) for step in steps) <= on.model.budget
        for call in (*running, long):
            on.executor.cancel(call)
            with pytest.raises(Cancelled):
                await on.end(call)


@on_loop
async def test_many_prompts_at_once_stay_within_the_budget():
    async with stage() as on:
        calls = [on.call("predict", prompt="x" * 300, max_tokens=2, temperature=0.0) for _ in range(12)]
        await asyncio.gather(*map(on.end, calls))
        loads = [sum(len(step.piece.tokens) for step in steps) for steps in on.model.steps]
    assert max(loads) <= on.model.budget
    assert max(loads) > on.model.piece


# --- Who leaves, and who waits --------------------------------------------------------------------------------------


@on_loop
async def test_who_leaves_takes_no_further_step():
    async with stage(Held) as on:
        calls = [on.call("generate", prompt=f"Tell me {number}.", **FOREVER) for number in range(8)]
        for call in calls:
            await on.items(call, 2)
        on.model.latch = Latch()
        await turns(20)  # the device is held with a step in progress, and nothing else moves
        leaving = calls[::2]
        for call in leaving:
            on.executor.cancel(call)
        for call in leaving:
            with pytest.raises(Cancelled):
                await on.end(call)
        assert on.model.slots.leased == 4  # back before the device is done with the step
        held, on.model.latch = on.model.latch, None
        before = len(on.model.steps)
        held.open()
        for call in calls[1::2]:
            await on.items(call, 10)
        # One step was in progress; in all that began later there are the other four alone.
        assert {len(steps) for steps in on.model.steps[before + 1 :]} == {4}
        for call in calls[1::2]:
            on.executor.cancel(call)
            with pytest.raises(Cancelled):
                await on.end(call)


@on_loop
async def test_who_comes_when_all_slots_are_taken_waits_for_one():
    async with stage() as on:
        on.model.slots = chat.model.Slots(2)
        first = [on.call("generate", prompt="Tell me.", **FOREVER) for _ in range(2)]
        for call in first:
            await on.items(call, 2)
        third = on.call("predict", prompt="Tell me.", max_tokens=3)
        leaves = on.call("predict", prompt="Tell me.", max_tokens=3)
        for call in first:
            await on.items(call, 20)
        assert on.model.slots.waiting == 2
        on.executor.cancel(leaves)
        with pytest.raises(Cancelled):
            await on.end(leaves)
        assert on.model.slots.waiting == 1
        on.executor.cancel(first[0])
        assert isinstance(await on.end(third), str)
        on.executor.cancel(first[1])
        for call in first:
            with pytest.raises(Cancelled):
                await on.end(call)


def test_the_line_for_slots_is_in_the_server():
    config = (chat.model.__spec__.origin or "").replace("model.py", "config.yaml")
    with open(config) as file:
        assert f"max_coroutines: {chat.model.CONVERSATIONS}\n" in file.read()


class Scarce(Long):
    """Has no memory for more than two steps at once."""

    def _read(self, steps: Sequence[Any]) -> list[list[int]]:
        if self.vocabulary.start is not None and len(steps) > self.most:
            self.failures += 1
            raise torch.OutOfMemoryError("scarce")
        return super()._read(steps)

    most, failures = 100, 0


@on_loop
async def test_a_step_that_does_not_fit_into_memory_is_taken_in_parts(monkeypatch):
    async with stage(Scarce) as on:
        expected = await on.end(on.call("predict", prompt="Tell me.", max_tokens=6, temperature=0.0))
        on.model.most = 2
        calls = [on.call("predict", prompt="Tell me.", max_tokens=6, temperature=0.0) for _ in range(5)]
        assert [await on.end(call) for call in calls] == [expected] * 5
        assert on.model.failures
        on.model.most = 0
        with pytest.raises(ModelError, match="OutOfMemoryError"):
            await on.end(on.call("predict", prompt="Tell me.", max_tokens=6))


def test_with_little_memory_there_are_fewer_slots(tiny, monkeypatch, caplog):
    real = chat.network.Cache

    def cache(shape: Any, slots: int, *others: Any) -> Any:
        if slots > 16:
            raise torch.OutOfMemoryError("scarce")
        return real(shape, slots, *others)

    monkeypatch.setattr(chat.model, "Cache", cache)
    model = loaded(Tiny)
    assert (model.slots.size, model.cache.slots) == (16, 16)
    assert "no memory for 64 conversations at once; trying 32" in caplog.text
    monkeypatch.setattr(chat.model, "Cache", lambda *_: cache(None, 17))
    with pytest.raises(torch.OutOfMemoryError):
        loaded(Tiny)


# --- Several tokens from one step, as on a GPU ----------------------------------------------------------------------


class Ahead(Long):
    """Takes steps as it would on a GPU, but for the recording."""

    def _memory(self, slots: int, dtype: Any, *, on_gpu: bool) -> Any:
        cache, _ = super()._memory(slots, dtype, on_gpu=on_gpu)
        self.ahead = 4
        return cache, chat.decoder.Decoder(self.net, cache, record=False)


@pytest.fixture(scope="module")
def ahead(one_thread: None) -> Any:
    return loaded(Ahead)


@pytest.mark.parametrize("options", [{}, {"temperature": 1.2, "seed": 5}])
def test_several_tokens_from_one_step_are_the_same_tokens(tiny, ahead, options):
    for most in (1, 2, 5, 23):
        ahead.steps.clear()
        answer = predict(ahead, "Tell me.", max_tokens=most, **options)
        assert answer == predict(tiny, "Tell me.", max_tokens=most, **options)
        decoded = [step for (step,) in ahead.steps if len(step.piece.tokens) == 1]
        assert len(decoded) == -(-(most - 1) // 4)
        assert all(step.wanted <= 4 for step in decoded)


def test_an_answer_that_ends_within_a_step_ends_there(tiny, ahead):
    whole = predict(tiny, "Tell me.", max_tokens=30)
    for stop in (whole[5:7], whole[9:12], whole[14:15]):
        assert predict(ahead, "Tell me.", max_tokens=30, stop=[stop]) == whole[: whole.index(stop)]


@on_loop
async def test_several_tokens_from_one_step_in_company():
    async with stage(Ahead) as on:
        questions = [f"Tell me {number}." for number in range(12)]
        calls = [on.call("predict", prompt=q, max_tokens=20 + n, temperature=0.0) for n, q in enumerate(questions)]
        together = [await on.end(call) for call in calls]
        again = []
        for number, question in enumerate(questions):
            call = on.call("predict", prompt=question, max_tokens=20 + number, temperature=0.0)
            again.append(await on.end(call))
    assert together == again


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_on_a_gpu_conversations_run_on_recorded_steps():
    class OnGpu(Long):
        device = "cuda:0"

    model = loaded(OnGpu)
    assert model.decoder._graphs
    assert model.cache.keys[0].dtype == torch.bfloat16
    whole = predict(model, "Tell me.", max_tokens=40)
    assert predict(model, "Tell me.", max_tokens=40) == whole
    assert predict(model, "Tell me.", max_tokens=10, temperature=1.0, seed=1) == predict(
        model, "Tell me.", max_tokens=10, temperature=1.0, seed=1
    )


# --- The real model -------------------------------------------------------------------------------------------------

slow = pytest.mark.timeout(240)  # seconds of work, and minutes where others compute on the same two cores
real = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (scripts/test installs them)")


@pytest.fixture(scope="module")
def smollm(one_thread: None) -> Any:
    class Real(chat.model.Chat):
        said: dict[tuple[int, ...], list[int]]

        def source(self) -> Any:
            return chat.weights.Gguf()

    model = loaded(Real)
    tokens = model.vocabulary.tokens

    def told(*args: Any) -> list[int]:
        return tokens(*args)

    model.vocabulary.tokens = told
    return model


class Listened(chat.answer.Answer):
    """An answer whose tokens are kept."""

    heard: list[list[int]] = []

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.tokens: list[int] = []
        self.heard.append(self.tokens)

    def take(self, tokens: Sequence[int]) -> None:
        before = self.count
        super().take(tokens)
        self.tokens += tokens[: self.count - before]


@pytest.mark.real
@slow
@real
def test_it_knows_a_capital_and_says_what_the_plain_pass_says(smollm, monkeypatch):
    monkeypatch.setattr(chat.model, "Answer", Listened)
    Listened.heard.clear()
    question = "What is the capital of France?"
    assert "Paris" in predict(smollm, question, max_tokens=8)
    (said,) = Listened.heard
    assert first_difference(smollm.net, prompt_of(smollm, question), said) == ""


@pytest.mark.real
@slow
@real
def test_with_fifteen_others_it_says_what_the_plain_pass_says(smollm, monkeypatch):
    monkeypatch.setattr(chat.model, "Answer", Listened)
    Listened.heard.clear()
    things = ("dog", "cat", "city", "river", "fruit", "planet", "song", "king")
    questions = [f"Name a {thing}." for thing in things] + [f"What is {number} plus 2?" for number in range(8)]
    brief = [{"role": "system", "content": "Be brief."}]
    prompts = [smollm.vocabulary.tokens(chat.template.conversation(question, brief)) for question in questions]

    class Loaded(chat.model.Chat):
        def load_model(self) -> None:
            self.__dict__.update(smollm.__dict__)

    async def run() -> list[str]:
        async with serve(Loaded) as model:
            await model.available_methods()
            options = {"chat_history": brief, "max_tokens": 5, "temperature": 0.0}
            return await asyncio.gather(*(model.predict(question, **options) for question in questions))

    answers = asyncio.run(run())
    assert len(Listened.heard) == 16
    words = smollm.vocabulary.pieces
    heard = {b"".join(words[token] for token in said).decode(): said for said in Listened.heard}
    # The device reads prompts in the order in which slots were taken, so answers are told apart by what they say.
    for prompt, answer in zip(prompts, answers, strict=True):
        assert first_difference(smollm.net, prompt, heard[answer]) == ""


@pytest.mark.real
@slow
@real
def test_the_documented_tools_lead_to_a_call(smollm):
    tools = [
        {
            "type": "function",
            "function": {
                "name": "get_weather",
                "description": "Get current temperature for a given location.",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "location": {"type": "string", "description": "City and country e.g. Bogotá, Colombia"},
                        "units": {
                            "type": "string",
                            "description": "Temperature units, e.g. Celsius or Fahrenheit",
                            "enum": ["Celsius", "Fahrenheit"],
                        },
                    },
                    "required": ["location"],
                    "additionalProperties": False,
                },
                "strict": True,
            },
        }
    ]
    question = "What is the temperature in Tokyo in Celsius?"
    options = {"tools": tools, "temperature": 0.5, "seed": 2, "max_tokens": 24}
    pieces = generate(smollm, question, tool_choice="required", **options)
    (call,) = json.loads("".join(pieces))
    assert call["function"]["name"] == "get_weather"
    assert isinstance(json.loads(call["function"]["arguments"]), dict)


@pytest.mark.real
@slow
@real
def test_its_vocabulary_reads_and_writes_any_text(smollm):
    text = "Año 2024: 日本 🙂\n\tx = 10  <|im_end|>"
    words = smollm.vocabulary
    tokens = words.encode(text)
    assert b"".join(words.pieces[token] for token in tokens).decode() == text
    assert not {words.start, words.end}.intersection(tokens)
    assert words.tokens([("user", "Hi")])[:4] == [1, *words.encode("user\nHi")[:3]]
    assert words.pieces[words.end] == b""
    assert set(words.ends) == {0, 2}
