"""Serve the methods of a Python class as typed remote functions.

What a model's author needs is here; what a caller needs is in `runner.client`, what a test needs in `runner.testing`,
and what can go wrong in `runner.errors`.
"""

from runner.batch import END, SKIP, Batch
from runner.context import CallContext
from runner.model import ModelClass
from runner.options import Pad
from runner.params import Param
from runner.rows import Rows
from runner.slots import Slots
from runner.types import JSON, Audio, Concept, Frame, Image, NamedFields, Region, Text, Video

__all__ = [
    "END",
    "JSON",
    "SKIP",
    "Audio",
    "Batch",
    "CallContext",
    "Concept",
    "Frame",
    "Image",
    "ModelClass",
    "NamedFields",
    "Pad",
    "Param",
    "Region",
    "Rows",
    "Slots",
    "Text",
    "Video",
]
