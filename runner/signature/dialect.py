"""Which of the two published services a call or a signature is meant for."""

from __future__ import annotations

import enum


class Dialect(enum.Enum):
    """The services differ in how errors travel and in how a few types are published; the payloads are the same."""

    CLARIFAI = "clarifai.api.V2"  # errors inside the reply, gRPC status OK
    NATIVE = "runner.v1.Inference"  # errors as gRPC status with details
