"""Our messages have the layout that the official clients use: same names, numbers, types and JSON names."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from runner.wire.pb import inference_pb2 as pb

pytest.importorskip("clarifai_grpc")

from clarifai_grpc.grpc.api import resources_pb2, service_pb2
from clarifai_grpc.grpc.api.status import status_pb2

OURS_ALONE = {"ErrorDetail", "Histogram", "Latency", "RpcStatus"} | {
    name for name in pb.DESCRIPTOR.message_types_by_name if "Statistics" in name
}
FILES = (resources_pb2, service_pb2, status_pb2)


def theirs(name: str) -> Descriptor:
    return next(getattr(file, name).DESCRIPTOR for file in FILES if hasattr(file, name))


def wire_type(field: FieldDescriptor) -> int:
    """The field's type; an enum is an int32 on the wire."""
    return FieldDescriptor.TYPE_INT32 if field.type == FieldDescriptor.TYPE_ENUM else field.type


@pytest.mark.parametrize("name", sorted(set(pb.DESCRIPTOR.message_types_by_name) - OURS_ALONE))
def test_layout(name: str):
    ours = pb.DESCRIPTOR.message_types_by_name[name]
    published = theirs(name).fields_by_name
    for field in ours.fields:
        other = published[field.name]
        assert field.number == other.number, field.name
        assert wire_type(field) == wire_type(other), field.name
        assert field.is_repeated == other.is_repeated, field.name
        assert field.json_name == other.json_name, field.name
        if field.message_type is not None:
            assert field.message_type.name == other.message_type.name, field.name


@pytest.mark.parametrize(
    ("ours", "published"),
    [
        (pb.ModelTypeField.DataType.DESCRIPTOR, resources_pb2.ModelTypeField.DataType.DESCRIPTOR),
        (pb.MethodSignature.MethodType.DESCRIPTOR, resources_pb2.RunnerMethodType.DESCRIPTOR),
    ],
)
def test_enums_have_the_same_names_and_numbers(ours, published):  # type: ignore[no-untyped-def]
    assert {value.name: value.number for value in ours.values} == {
        value.name: value.number for value in published.values
    }


def test_the_generated_code_asks_for_no_version_of_protobuf():
    with open(pb.__file__) as file:
        assert "runtime_version" not in file.read()
