"""The mutator: what it makes is nearly right, and the same again for the same seed."""

from __future__ import annotations

from random import Random

from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from runner.wire.pb import inference_pb2 as pb
from tests.fuzz import seeds
from tests.fuzz.mutation import Mutator, put_together, repeated, take_apart

REQUESTS = list(enumerate(seeds.requests()))


def test_what_is_taken_apart_can_be_put_together() -> None:
    for _, request in REQUESTS:
        fields = take_apart(request)
        assert fields
        assert put_together(fields) == request


@given(st.binary(max_size=40))
def test_any_bytes_can_be_looked_at(data: bytes) -> None:
    fields = take_apart(data)
    assert not fields or put_together(fields) == data


def test_a_seed_is_a_sequence_of_messages() -> None:
    once, again = Mutator(Random(3), REQUESTS), Mutator(Random(3), REQUESTS)
    assert [once.message() for _ in range(50)] == [again.message() for _ in range(50)]


def test_many_messages_are_valid_and_many_are_not() -> None:
    mutator = Mutator(Random(1), REQUESTS)
    valid = different = 0
    for _ in range(400):
        _, message = mutator.message()
        different += all(message != request for _, request in REQUESTS)
        try:
            pb.PostModelOutputsRequest.FromString(message)
        except DecodeError:
            continue
        valid += 1
    assert different > 300
    assert 100 < valid < 380


def test_repeated_fields_lie_where_they_should() -> None:
    message = pb.Input.FromString(repeated(b"\x9a\x01\x00", 300, 2))
    assert len(message.data.parts) == 100
