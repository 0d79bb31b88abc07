"""Run a model behind the real service, in a test.

    from runner.testing import serve

    def test_greeting():
        with serve(Hello) as model:
            assert model.predict("Ada") == "Hello, Ada!"

`runner.testing.plugin` offers the same as pytest fixtures.
"""

from runner.testing.serving import serve

__all__ = ["serve"]
