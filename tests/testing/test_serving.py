from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import Batch, ModelClass
from runner.client import Model, Unreachable
from runner.errors import Cancelled, ConfigError, LoadError, ModelError
from runner.testing import serve

HELLO = Path(__file__).parents[2] / "examples" / "models" / "hello"


class Probe(ModelClass):
    """Tells where it runs."""

    def load_model(self) -> None:
        self.word = "loaded"

    @ModelClass.method
    def where(self) -> dict:
        return {"pid": os.getpid(), "word": self.word, "request": self.context.request_id}

    @ModelClass.method
    def count(self) -> Iterator[int]:
        yield from range(1000)

    @ModelClass.method
    def fail(self) -> str:
        raise RuntimeError("no")


def test_a_class_is_served_in_this_process():
    with serve(Probe) as model:
        found = model.where()
        assert (found["pid"], found["word"]) == (os.getpid(), "loaded")
        assert found["request"].startswith("memory-")
        assert sum(1 for _ in model.count()) == 1000
        with pytest.raises(ModelError, match="RuntimeError: no"):
            model.fail()


def test_a_class_is_served_by_workers():
    with serve(Probe, workers=True) as model:
        found = model.where()
        assert found["pid"] != os.getpid()
        assert found["word"] == "loaded"


@pytest.mark.parametrize("workers", [False, True])
def test_a_directory_is_served(workers):
    with serve(HELLO, workers=workers) as model:
        assert model.predict("Ada") == "Hello, Ada!"
    with serve(str(HELLO)) as model:
        assert model.predict() == "Hello, world!"


def test_the_same_for_asyncio():
    async def main() -> None:
        async with serve(Probe) as model:
            assert (await model.where())["pid"] == os.getpid()
            assert sum([number async for number in model.count()]) == 499500

    asyncio.run(main())


def test_where_the_time_went_is_told_here_too():
    with serve(Probe) as model:
        assert model.where.timed()[1]["run"] > 0
        stream = model.count()
        assert list(stream)
        assert stream.times["run"] > 0

    async def main() -> None:
        async with serve(Probe) as model:
            assert (await model.where.timed())[1]["run"] > 0
            stream = await model.count()
            assert [item async for item in stream]
            assert stream.times["run"] > 0

    asyncio.run(main())


def test_a_call_has_the_id_that_its_caller_gave_it():
    with serve(Probe) as model:
        named = Model.over(model._session.transport, metadata={"x-request-id": "mine"})
        assert named.where()["request"] == "mine"


def test_nothing_is_left_behind():
    before = set(threading.enumerate())
    with serve(Probe) as model:
        model.where()
        counting = model.count()
        assert next(counting) == 0
    assert [thread for thread in set(threading.enumerate()) - before if "server" in thread.name] == []
    with pytest.raises(Cancelled):
        list(counting)


def test_settings_are_those_of_a_server():
    with (
        pytest.raises(ConfigError, match="num_thread: no such key, did you mean num_threads"),
        serve(Probe, num_thread=1),
    ):
        pass
    with serve(Probe, hide_model_errors=True) as model, pytest.raises(ModelError) as hidden:
        model.fail()
    assert "RuntimeError" not in str(hidden.value)


class Broken(ModelClass):
    def load_model(self) -> None:
        raise FileNotFoundError("weights.bin")

    @ModelClass.method
    def predict(self) -> str: ...


@pytest.mark.parametrize("workers", [False, True])
def test_a_model_that_cannot_be_loaded_says_why(workers):
    why = r"Broken failed to load: FileNotFoundError: weights\.bin"
    with pytest.raises(LoadError, match=why) as error, serve(Broken, workers=workers):
        pass
    assert "raise FileNotFoundError" in error.value.details


class Weighed(ModelClass):
    """Says how many calls ran together, and has a gate that holds them until all are there."""

    entered = threading.Event()

    def load_model(self) -> None:
        self.gate = threading.Event()

    def letters(self, text: str) -> float:
        return len(text)

    @ModelClass.method
    def open(self) -> bool:
        self.gate.set()
        return True

    @ModelClass.method(max_batch_size=2)
    def together(self, text: Batch[str]) -> Batch[int]:
        self.entered.set()
        self.gate.wait(10)
        return [len(text)] * len(text)


def test_options_of_methods_are_those_of_the_configuration():
    def sizes(**options: object) -> list[int]:
        async def main() -> list[int]:
            async with serve(Weighed, methods={"together": options}) as model:
                Weighed.entered.clear()
                first = asyncio.ensure_future(model.together("first"))
                await asyncio.to_thread(Weighed.entered.wait, 10)  # the device has it, and the rest waits
                rest = [asyncio.ensure_future(model.together("abcd")) for _ in range(6)]
                while (record := await model.statistics()).replicas[0].running + record.waiting_calls < 7:
                    pass  # they are on their way
                await model.open()
                await first
                return list(await asyncio.gather(*rest))

        return asyncio.run(main())

    assert max(sizes()) == 2
    assert sizes(max_batch_size=6) == [6] * 6
    assert sizes(max_batch_size=6, cost="letters", max_batch_cost=4) == [1] * 6
    assert sizes(max_batch_size=6, cost="letters", max_batch_cost=12) == [3] * 6
    with pytest.raises(LoadError, match="cost='nothing', but the class has no such method"):
        sizes(cost="nothing")


def test_every_key_of_the_configuration_is_a_keyword():
    with serve(HELLO, model={"id": "greeter"}) as model:
        assert model.predict("Ada") == "Hello, Ada!"
    with pytest.raises(ConfigError, match=r"model\.ident: no such key"), serve(HELLO, model={"ident": "greeter"}):
        pass


def test_a_class_in_a_function_has_no_way_into_a_worker():
    class Local(ModelClass):
        @ModelClass.method
        def predict(self) -> str:
            return "x"

    with serve(Local) as model:
        assert model.predict() == "x"
    with pytest.raises(ValueError, match=r"Local has to be defined at the top level"), serve(Local, workers=True):
        pass


def test_a_file_that_serves_where_it_is_imported_is_told_so(tmp_path):
    """It would start a server, whose worker imports the file, which starts a server, and so on."""
    (tmp_path / "script.py").write_text(
        "from runner import ModelClass\n"
        "from runner.testing import serve\n"
        "class Model(ModelClass):\n"
        "    @ModelClass.method\n"
        "    def predict(self) -> str: ...\n"
        "with serve(Model, workers=True): ...\n"
    )
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=50)
    assert done.returncode == 1
    assert 'put that under `if __name__ == "__main__":`' in done.stderr


@pytest.mark.parametrize(
    ("what", "text"),
    [(Probe(), "an instance of Probe; give the class"), (int, "got <class 'int'>"), (5, "got 5")],
)
def test_what_is_no_model_is_refused_at_once(what, text):
    with pytest.raises(TypeError, match=text):
        serve(what)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_client_that_is_kept_over_its_block_says_so(asynchronous):
    async def main() -> None:
        async with serve(Probe) as model:
            pass
        with pytest.raises(Unreachable, match="the server in this process is closed"):
            await model.where()

    if asynchronous:
        asyncio.run(main())
        return
    with serve(Probe) as model:
        where, count = model.where, model.count
    for call in (where, count):
        with pytest.raises(Unreachable, match="the server in this process is closed"):
            call()
