"""The echo in the Clarifai SDK's own server."""

from clarifai.runners.models.model_class import ModelClass


class Echo(ModelClass):
    """Texts come back."""

    def load_model(self) -> None:
        pass

    @ModelClass.method
    def echo(self, text: str) -> str:
        return text
