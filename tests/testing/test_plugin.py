from __future__ import annotations

import os
import textwrap
import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def installed(tmp_path) -> str:
    """A directory in which the package's entry points stand as they would be installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    information = tmp_path / "installed" / "runner_under_test-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: runner-under-test\nVersion: 1.0\n")
    plugins = (f"{name} = {module}\n" for name, module in project["entry-points"]["pytest11"].items())
    (information / "entry_points.txt").write_text("[pytest11]\n" + "".join(plugins))
    return str(information.parent)


@pytest.mark.parametrize("how", ["asked for", "installed", "both"])
def test_the_fixtures_serve_models(pytester, monkeypatch, installed, how):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *([installed] if how != "asked for" else ())]))
    if how != "installed":
        pytester.makeconftest('pytest_plugins = ["runner.testing.plugin"]')
    pytester.makepyfile(
        textwrap.dedent(
            """
            from runner import ModelClass

            LOADED = []


            class Hello(ModelClass):
                def load_model(self):
                    LOADED.append(self)

                @ModelClass.method
                def predict(self, prompt: str) -> str:
                    return f"Hello, {prompt}!"


            def test_one(serve):
                assert serve(Hello).predict("Ada") == "Hello, Ada!"
                assert serve(Hello, num_threads=2).predict("Ada") == "Hello, Ada!"


            def test_two(serve_session):
                assert serve_session(Hello) is serve_session(Hello)
                assert serve_session(Hello).predict("Ada") == "Hello, Ada!"


            def test_three(serve_session):
                assert serve_session(Hello).predict("Ada") == "Hello, Ada!"
                assert len(LOADED) == 3
            """
        )
    )
    # In a process of its own: what pytest has loaded here must not stand in for what the plugin has to bring.
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=3)
