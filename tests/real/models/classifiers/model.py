"""The page's two classifiers, with rules of thumb for networks."""

from __future__ import annotations

from runner import Image, ModelClass, Text


class Classifiers(ModelClass):
    """Single-input methods; the server runs a list of inputs side by side."""

    @ModelClass.method
    def predict_image(self, image: Image) -> dict[str, float]:
        """Ginger is a cat, blue is a train."""
        red, _, blue = image.to_numpy()[..., :3].mean(axis=(0, 1)) / 255
        return {"cat": red / (red + blue), "train": blue / (red + blue)}

    @ModelClass.method
    def predict(self, text: Text) -> float:
        """Return how positive a text is, from 0 to 1."""
        return 0.75 if "ositive" in text.text else 0.25
