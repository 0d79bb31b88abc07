"""Contexts that are made when somebody asks for them are those that would have been made at once."""

from __future__ import annotations

from runner.context import NO_METADATA
from runner.execution.contexts import Contexts


def three(deadlines: list[float | None] | None = None) -> Contexts:
    return Contexts(7, ["a", "b", "c"], deadlines, [NO_METADATA])


def test_each_is_what_is_known_of_its_call() -> None:
    under_test = Contexts(7, ["a", "b"], [None, 5.0], [{"of": "a"}, lambda: {"of": "b"}])
    one, other = under_test[0], under_test[1]
    assert (one.request_id, one.deadline, one.metadata, one.member) == ("a", None, {"of": "a"}, 7)
    assert (other.request_id, other.deadline, other.metadata, other.member) == ("b", 5.0, {"of": "b"}, 8)
    assert len(under_test) == 2
    assert [each.request_id for each in under_test] == ["a", "b"]
    assert one in under_test
    assert one not in three()


def test_everybody_gets_the_same_one() -> None:
    under_test = three()
    assert under_test[1] is under_test[1] is next(iter(under_test.of(range(1, 3))))
    made = three().make_all()
    assert [each.request_id for each in made] == ["a", "b", "c"]
    assert [each.member for each in made] == [7, 8, 9]
    under_test = three([1.0, None, 3.0])
    made = under_test.make_all()
    assert [each.deadline for each in made] == [1.0, None, 3.0]
    assert [under_test[place] for place in range(3)] == made


def test_none_is_made_for_those_who_only_count_them() -> None:
    under_test = three([9.0, 4.0, None])
    some = under_test.of((0, 1))
    assert len(some) == 2
    assert under_test.earliest((0, 1)) == 4.0
    assert under_test.earliest((2,)) is None
    assert three().earliest(range(3)) is None
    under_test.cancel(0)
    assert under_test.made(range(3)) == []
    assert [each.request_id for each in some] == ["a", "b"]
    assert [each.request_id for each in under_test.made(range(3))] == ["a", "b"]
    assert under_test[0] in some
    assert under_test[2] not in some
    assert repr(under_test) == "<Contexts of 3 calls, 3 made>"


def test_one_that_is_cancelled_is_so_whenever_it_is_made() -> None:
    under_test = three()
    early = under_test[0]
    under_test.cancel(0)
    under_test.cancel(1)
    assert early.cancelled
    assert under_test[1].cancelled
    assert not under_test[2].cancelled
    assert under_test.gone == {0, 1}
