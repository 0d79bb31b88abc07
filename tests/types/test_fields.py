"""Named fields are read both ways, and JSON is a wrapper with a name."""

import copy
import pickle

import pytest

from runner.types import JSON, NamedFields


def test_fields_are_attributes_and_items():
    point = NamedFields(x=1, y=2)
    assert (point.x, point["y"]) == (1, 2)
    point.x = 5
    point["z"] = 3
    assert dict(point) == {"x": 5, "y": 2, "z": 3}
    assert (list(point), len(point), "z" in point) == (["x", "y", "z"], 3, True)
    assert (list(point.values()), next(iter(point.items()))) == ([5, 2, 3], ("x", 5))
    del point.z
    assert list(point.keys()) == ["x", "y"]


def test_any_name_is_a_field():
    odd = NamedFields(items=1, self=2, **{"two words": 3})
    assert (odd["items"], odd.self, odd["two words"]) == (1, 2, 3)
    assert list(odd.items()) == [("items", 1), ("self", 2), ("two words", 3)]


def test_a_missing_field_says_which_there_are():
    with pytest.raises(AttributeError, match=r"no field 'b'.*a, c"):
        _ = NamedFields(a=1, c=2).b
    with pytest.raises(KeyError):
        _ = NamedFields(a=1)["b"]


def test_fields_compare_and_copy():
    fields = NamedFields(a=1, b=[2])
    assert fields == NamedFields(b=[2], a=1) != NamedFields(a=1)
    assert fields != {"a": 1, "b": [2]}
    for twin in (copy.copy(fields), copy.deepcopy(fields), pickle.loads(pickle.dumps(fields))):
        assert twin == fields
    assert repr(fields) == "NamedFields(a=1, b=[2])"


def test_fields_have_a_hash_if_their_values_have_one():
    assert hash(NamedFields(a=1, b="x")) == hash(NamedFields(b="x", a=1))
    with pytest.raises(TypeError):
        hash(NamedFields(a=[1]))


def test_json_compares_by_value():
    assert JSON([1]) == JSON([1]) != JSON([2])
    assert JSON(1) != 1
    assert repr(JSON({"a": None})) == "JSON({'a': None})"
