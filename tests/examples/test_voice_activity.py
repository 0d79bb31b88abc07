"""The voice-activity example: it hears what the package's own loop hears, alone and with fifteen others."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import sys
import warnings
import wave
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner.errors import InvalidInput
from runner.testing import serve

torch = pytest.importorskip("torch")
if missing := [name for name in ("silero_vad", "packaging") if importlib.util.find_spec(name) is None]:
    pytest.skip(f"not installed: {', '.join(missing)} (scripts/test installs them)", allow_module_level=True)

ROOT = Path(__file__).parents[2]
DIRECTORY = ROOT / "examples" / "models" / "voice-activity"
MODULES = ("model", "network", "speech")
WINDOW = 512


@pytest.fixture(scope="module", autouse=True)
def threads() -> Iterator[None]:
    """Put back what the package and the model say about torch's threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def voice() -> Iterator[Any]:
    """Return the example's module, with a loaded model as `it`."""
    held = {name: sys.modules.pop(name, None) for name in MODULES}
    sys.path.insert(0, str(DIRECTORY))
    try:
        module = importlib.import_module("model")
        module.it = module.VoiceActivity()
        module.it.load_model()
        module.speech = sys.modules["speech"]
        yield module
    finally:
        sys.path.remove(str(DIRECTORY))
        for name, known in held.items():
            sys.modules.pop(name, None)
            if known is not None:
                sys.modules[name] = known


@pytest.fixture(scope="module")
def audio() -> Any:
    with wave.open(str(ROOT / "tests" / "data" / "speech.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


@pytest.fixture(scope="module")
def package() -> Any:
    """Return the package, and its model with a state of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        silero_vad = importlib.import_module("silero_vad")
        return silero_vad, silero_vad.load_silero_vad()


def windows(audio: Any) -> list[Any]:
    samples = torch.from_numpy(audio.astype(np.float32) / 32768)
    return list(torch.nn.functional.pad(samples, (0, -len(samples) % WINDOW)).split(WINDOW))


def probabilities_of(package: Any, audio: Any) -> list[float]:
    """Return what the package says, window by window, with one stream."""
    _, net = package
    net.reset_states()
    with torch.no_grad():
        return [net(window, 16_000).item() for window in windows(audio)]


def events_of(package: Any, audio: Any) -> list[tuple[str, float]]:
    """Return where the package's own iterator says that speech begins and ends."""
    silero_vad, net = package
    iterator = silero_vad.VADIterator(net)
    found = [event for window in windows(audio) if (event := iterator(window))]
    return [(kind, place / 16_000) for event in found for kind, place in event.items()]


async def pieces(audio: Any, lengths: Sequence[int]) -> AsyncIterator[Any]:
    """Cut audio into pieces whose lengths come in turn."""
    place = turn = 0
    while place < len(audio):
        length = lengths[turn % len(lengths)]
        yield audio[place : place + length]
        place, turn = place + length, turn + 1


def told(events: list[dict[str, Any]]) -> list[tuple[str, float]]:
    return [(event["event"], event["seconds"]) for event in events]


def variants(audio: Any) -> list[Any]:
    """Return sixteen recordings that differ: each begins elsewhere in the first, and is as loud as it is."""
    return [(np.roll(audio, -2000 * number) * (1 - number / 32)).astype(np.int16) for number in range(16)]


def test_alone_it_hears_what_the_package_hears(voice, package, audio):
    async def run() -> tuple[list[float], list[dict[str, Any]]]:
        heard = [each async for each in voice.it.probabilities(pieces(audio, (700, 1, 3000)))]
        return heard, [each async for each in voice.it.detect(pieces(audio, (160,)))]

    heard, events = asyncio.run(run())
    assert heard == pytest.approx(probabilities_of(package, audio), abs=1e-5)
    assert told(events) == events_of(package, audio)
    assert [kind for kind, _ in told(events)] == ["start", "end", "start", "end"]
    assert voice.it.slots.leased == 0


def test_floats_are_heard_like_integers(voice, audio):
    async def run(audio: Any) -> list[float]:
        return [each async for each in voice.it.probabilities(pieces(audio, (4000,)))]

    assert asyncio.run(run(audio.astype(np.float32) / 32768)) == asyncio.run(run(audio))


def test_served_with_fifteen_others_it_hears_the_same(package, audio):
    recordings = variants(audio)
    together = asyncio.Barrier(16)

    async def run() -> tuple[list[Any], Any]:
        async with serve(DIRECTORY) as model:

            async def sent(audio: Any, number: int) -> AsyncIterator[Any]:
                await together.wait()  # or the first ones would be through before the last ones begin
                async for piece in pieces(audio, (512 + 64 * number,)):
                    yield piece

            async def heard(audio: Any, number: int) -> list[float]:
                return [each async for each in model.probabilities(chunks=sent(audio, number))]

            async def found(audio: Any, number: int) -> list[dict[str, Any]]:
                return [each async for each in model.detect(chunks=sent(audio, number))]

            await model.available_methods()
            calls = [found if number % 4 == 0 else heard for number in range(16)]
            answers = await asyncio.gather(*(call(recordings[n], n) for n, call in enumerate(calls)))
            counted = await model.statistics()
            while not counted.points:  # told ten times a second
                counted = await model.statistics()
            return answers, counted

    answers, statistics = asyncio.run(run())
    for number, (answer, recording) in enumerate(zip(answers, recordings, strict=True)):
        if number % 4 == 0:
            wanted = events_of(package, recording)
            said = told(answer)
            if len(said) > len(wanted):  # speech that goes on to the end of the recording is over there for us
                wanted.append(("end", len(recording) / 16_000))
            assert said == wanted, number
        else:
            assert answer == pytest.approx(probabilities_of(package, recording), abs=1e-4), number
    (point,) = [point for point in statistics.points if point.name == "listen"]
    assert point.mean_size > 4  # they ran together


def test_speech_is_told_while_audio_still_comes(voice, audio):
    async def run() -> None:
        heard = asyncio.Event()

        async def microphone() -> AsyncIterator[Any]:
            async for piece in pieces(audio[: 16_000 * 3 // 4], (512,)):
                yield piece
            await heard.wait()  # nothing more comes until the beginning was told
            async for piece in pieces(audio[16_000 * 3 // 4 :], (512,)):
                yield piece

        async with serve(DIRECTORY) as model:
            events: list[dict[str, Any]] = []
            async for event in model.detect(chunks=microphone()):
                events.append(event)
                heard.set()
        assert [event["event"] for event in events] == ["start", "end", "start", "end"]

    asyncio.run(run())


def test_speech_that_goes_on_to_the_end_ends_there(voice, audio):
    async def run() -> list[dict[str, Any]]:
        return [each async for each in voice.it.detect(pieces(audio[:20_000], (900,)))]

    assert told(asyncio.run(run()))[-1] == ("end", 20_000 / 16_000)


def test_who_leaves_gives_the_row_back_and_the_next_one_begins_anew(voice, package, audio):
    async def run() -> list[float]:
        async with contextlib.aclosing(voice.it.probabilities(pieces(audio, (512,)))) as stream:
            for _ in range(40):
                await anext(stream)
            assert voice.it.slots.leased == 1
        assert voice.it.slots.leased == 0
        return [each async for each in voice.it.probabilities(pieces(audio[:8000], (512,)))]

    assert asyncio.run(run()) == pytest.approx(probabilities_of(package, audio[:8000]), abs=1e-5)


def test_no_audio_is_no_speech(voice):
    async def run(*chunks: Any) -> list[Any]:
        async def given() -> AsyncIterator[Any]:
            for chunk in chunks:
                yield chunk

        return [each async for each in voice.it.detect(given())]

    assert asyncio.run(run()) == []
    assert asyncio.run(run(np.zeros(0, np.int16))) == []
    with pytest.raises(InvalidInput, match="one row of samples"):
        asyncio.run(run(np.zeros((2, 5), np.float32)))


def test_a_wrong_chunk_ends_its_stream_with_a_reason():
    async def run() -> None:
        async with serve(DIRECTORY) as model:
            with pytest.raises(InvalidInput, match=r"^chunks: a chunk is one row of samples"):
                _ = [each async for each in model.detect(chunks=[np.zeros((2, 5), np.float32)])]
            with pytest.raises(InvalidInput, match="margin_ms"):
                _ = [each async for each in model.detect(chunks=[], margin_ms=float("inf"))]

    asyncio.run(run())


def test_a_short_pause_is_part_of_speech(voice):
    speech = voice.speech.Speech(0.5, 100, 30)
    found = [speech.hear(value) for value in [0.1, 0.6, 0.4, 0.2, 0.2, 0.9, 0.3, 0.3, 0.3, 0.3, 0.3]]
    said = [(place, event) for place, event in enumerate(found) if event]
    # It began with the second window, less 30 ms; the pause of two windows was too short; four quiet ones are enough.
    assert said == [(1, ("start", 512 - 480)), (10, ("end", 6 * 512 + 480))]
    assert speech.finish(11 * 512) is None
