"""A model that takes longer to load than any test wants to wait."""

import time

from runner import ModelClass


class SlowToLoad(ModelClass):
    def load_model(self) -> None:
        time.sleep(60)

    @ModelClass.method
    def predict(self, text: str) -> str:
        return text
