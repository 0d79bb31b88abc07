"""Replacing what is served, in front of scripted workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runner.config import ModelIdentity, ServerConfig, load_server_config
from runner.errors import ConfigError, LoadError
from runner.server.catalog import Catalog
from runner.server.replacement import Replacement
from runner.signature.dialect import Dialect
from runner.wire.pb import inference_pb2 as pb
from runner.workers.messages import Load
from tests.engine.scripted import METHODS, Scripted, scripted
from tests.running import on_loop


def directory(path: Path, config: str = "") -> Path:
    path.mkdir()
    (path / "model.py").touch()
    (path / "config.yaml").write_text(config)
    return path


def configure(model_dir: Path) -> ServerConfig:
    return load_server_config(None, {"num_threads": 2}, model_dir=model_dir)


class Served:
    def __init__(self, workers: Scripted, catalog: Catalog, replacement: Replacement) -> None:
        self.workers = workers
        self.catalog = catalog
        self.replacement = replacement

    @property
    def version(self) -> str:
        reply = self.catalog.reply(Dialect.NATIVE, "GetModelVersion", b"")
        return pb.SingleModelVersionResponse.FromString(reply).model_version.id


@asynccontextmanager
async def served(model_dir: Path) -> AsyncIterator[Served]:
    async with scripted() as workers:
        catalog = Catalog(ModelIdentity(version_id="first"))
        catalog.publish(METHODS)
        replacement = Replacement(workers.engine, catalog, model_dir, configure, grace=60.0)
        yield Served(workers, catalog, replacement)
        await replacement.close()


@on_loop
async def test_another_directory_brings_its_configuration_and_its_version(tmp_path):
    first = directory(tmp_path / "first")
    second = directory(tmp_path / "second", "model: {version_id: v2}\nmax_streams: 7\nport: 1\nreplicas: 9\n")
    async with served(first) as under_test:
        swap = asyncio.ensure_future(under_test.replacement.swap(second))
        worker = await under_test.workers.worker(2)
        (load,) = worker.of(Load)
        assert (load.model_dir, load.max_streams, load.num_threads) == (str(second), 7, 2)
        assert under_test.version == "first"
        worker.ready()
        done = await swap
        assert (done.model_dir, done.version_id) == (second, "v2")
        assert under_test.version == "v2"
        again = asyncio.ensure_future(under_test.replacement.answer({"swap": {"model_dir": None, "version_id": "v3"}}))
        worker = await under_test.workers.worker(3)
        assert worker.of(Load)[0].model_dir == str(second)
        worker.ready()
        assert (await again)["version_id"] == "v3"
        assert under_test.version == "v3"


@on_loop
async def test_what_cannot_be_loaded_changes_nothing(tmp_path, capsys):
    first = directory(tmp_path / "first")
    wrong = directory(tmp_path / "wrong", "num_threads: many\n")
    async with served(first) as under_test:
        with pytest.raises(ConfigError, match="num_threads: got 'many'"):
            await under_test.replacement.swap(wrong)
        with pytest.raises(LoadError, match="is not a directory"):
            await under_test.replacement.swap(tmp_path / "none")
        with pytest.raises(ConfigError, match="knows nothing of this request"):
            await under_test.replacement.answer({"swap": 5})
        assert len(under_test.workers.workers) == 1
        under_test.replacement.request()
        (await under_test.workers.worker(2)).cannot_load("no weights", "the model's own traceback")
        await under_test.replacement._requested
        assert under_test.version == "first"
    told = capsys.readouterr().err
    assert told == "runner: the model is served as it was: no weights\nthe model's own traceback\n"


@on_loop
async def test_a_newer_request_takes_the_place_of_one_that_is_loading(tmp_path):
    async with served(directory(tmp_path / "first")) as under_test:
        under_test.replacement.request()
        second = await under_test.workers.worker(2)
        under_test.replacement.request()
        third = await under_test.workers.worker(3)
        assert second.stopped
        third.ready()
        await under_test.replacement._requested
        assert not third.stopped


@on_loop
async def test_one_replacement_goes_on_at_a_time(tmp_path):
    async with served(directory(tmp_path / "first")) as under_test:
        swaps = [asyncio.ensure_future(under_test.replacement.swap(None, name)) for name in ("a", "b")]
        for number in (2, 3):
            (await under_test.workers.worker(number)).ready()
        assert [(await swap).version_id for swap in swaps] == ["a", "b"]
        assert under_test.version == "b"


@on_loop
async def test_closing_gives_up_what_was_requested(tmp_path):
    async with served(directory(tmp_path / "first")) as under_test:
        under_test.replacement.request()
        worker = await under_test.workers.worker(2)
        await under_test.replacement.close()
        await worker.gone()
        assert under_test.version == "first"
