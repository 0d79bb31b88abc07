"""The values that methods take and return beside Python's own: plain classes that hold plain values."""

from runner.types.fields import JSON, NamedFields
from runner.types.media import Audio, Image, Text, Video
from runner.types.vision import Concept, Frame, Region

__all__ = ["JSON", "Audio", "Concept", "Frame", "Image", "NamedFields", "Region", "Text", "Video"]
