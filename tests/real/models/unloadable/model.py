"""A model whose weights are missing."""

from runner import ModelClass


class Unloadable(ModelClass):
    def load_model(self) -> None:
        raise FileNotFoundError("weights.bin is not here")

    @ModelClass.method
    def predict(self, text: str) -> str:
        return text
