"""The network in the Clarifai SDK's own server, which has no dynamic batching: each call runs by itself."""

import numpy as np
from clarifai.runners.models.model_class import ModelClass
from network import Network


class Mlp(ModelClass):
    """The network, a row at a time."""

    def load_model(self) -> None:
        self._network = Network()

    @ModelClass.method
    def predict(self, row: np.ndarray) -> np.ndarray:
        return self._network(row[None])[0]
