from __future__ import annotations

import textwrap
from pathlib import Path

pytest_plugins = ["pytester"]


def test_the_fixtures_serve_models(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
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
