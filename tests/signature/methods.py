# ruff: noqa: B006, B008, E741, F821, RUF013, UP006, UP035 - written as authors of such models write
"""The same methods declared with our types and with those of the official SDK: what they publish has to agree."""

import types as python_types
from typing import Dict, Iterator, List, Tuple

import numpy as np


def declare(t):
    """Return functions by name; `t` holds the data types and `Param`."""

    def predict(self, prompt: str = "") -> str:
        """Answer.

        With a second paragraph.
        """

    def classify(self, image: t.Image) -> Dict[str, float]: ...

    def chat(
        self,
        prompt: str,
        image: t.Image = None,
        images: List[t.Image] = None,
        tools: List[dict] = None,
        history: list = None,
        max_tokens: int = t.Param(512, "How many at most", min_value=1, max_value=4096),
        temperature: float = t.Param(0.7, "How wild", min_value=0.0, max_value=2.0),
        top_p: float = t.Param(0.8, max_value=1.0),
        effort: str = t.Param("low", choices=["low", "medium", "high"]),
        level: int = t.Param(1, choices=[1, 2]),
    ) -> Iterator[str]: ...

    def defaults(
        self,
        a: int = 5,
        b: float = 1.0,
        c: bool = True,
        d: bytes = b"abc",
        e: float = float("inf"),
        f: list = [],
        g: dict = {"k": 1},
        h: Tuple[int, str] = (1, "a"),
        i: np.ndarray = np.array([1, 2]),
        j: str = "null",
        k: float = 1,
        l: str = None,
    ) -> bool: ...

    def containers(
        self,
        a: List[str],
        b: List[List[float]],
        c: Tuple[str, t.Image],
        d: t.NamedFields(x=str, y=int),
        e: t.JSON,
        f: (str, int),
        g: {"p": str, "q": t.Text},
    ) -> Tuple[List[t.Region], np.ndarray]: ...

    def data_types(
        self, a: bytes, b: t.Text, c: t.Concept, d: t.Region, e: t.Frame, f: t.Audio, g: t.Video, h: np.ndarray
    ) -> List[t.Concept]: ...

    def transcribe_audio(self, audio: Iterator[t.Audio]) -> Iterator[t.Text]: ...

    def track(self, frames: Iterator[t.Frame], every: int = 1) -> Iterator[List[t.Region]]: ...

    functions = (predict, classify, chat, defaults, containers, data_types, transcribe_audio, track)
    return {function.__name__: function for function in functions}


def ours():
    """Return the functions with our types."""
    import runner

    return declare(runner)


def official():
    """Return the functions with the official SDK's types."""
    from clarifai.runners.utils import data_types
    from clarifai.runners.utils.data_utils import Param

    return declare(python_types.SimpleNamespace(**vars(data_types), Param=Param))
