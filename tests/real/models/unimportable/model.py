"""A model with a dependency that nobody has."""

import a_package_that_does_not_exist  # noqa: F401

from runner import ModelClass


class Unimportable(ModelClass):
    @ModelClass.method
    def predict(self, text: str) -> str:
        return text
