"""Concepts, regions and frames: defaults, and lists that are never shared."""

import PIL.Image
import pytest

from runner.types import Concept, Frame, Image, Region


@pytest.mark.parametrize(
    ("name", "made"),
    [("cat", "cat"), ("Tabby cat!", "Tabby-cat"), ("a_b-c.d", "abcd"), ("", ""), ("süß 1", "süß-1")],
)
def test_a_concept_without_id_gets_one_from_its_name(name: str, made: str):
    assert Concept(name).id == Concept(name, id="").id == made
    assert Concept(name, id="own").id == "own"


def test_a_concepts_score_is_one_unless_given():
    assert Concept("cat").value == 1.0
    assert repr(Concept("cat", 0.5)) == "Concept('cat', 0.5)"
    assert repr(Concept("cat", id="n1")) == "Concept('cat', 1.0, id='n1')"


def test_a_region_without_anything():
    region, other = Region(), Region()
    assert (region.box, region.mask, region.point, region.text, region.track_id) == (None, None, None, "", "")
    assert region.id != other.id
    region.concepts.append(Concept("x"))
    assert other.concepts == []


def test_equal_if_all_of_it_is():
    assert Region(box=(0, 0, 1, 1), id="a") == Region(box=[0, 0, 1, 1], id="a") != Region(id="a")
    assert Frame(time=1.0) == Frame(time=1.0) != Frame(time=2.0)
    assert Frame().regions is not Frame().regions


def test_pillow_images_are_encoded():
    picture = PIL.Image.new("L", (2, 2))
    assert Region(mask=picture).mask == Frame(image=picture).image == Image.from_pil(picture)


def test_a_repr_tells_what_is_there():
    assert repr(Region(box=[0, 0, 1, 1], id="r")) == "Region(box=[0, 0, 1, 1], id='r')"
    assert repr(Frame(image=Image(bytes=b"abc"), index=2)) == "Frame(image=Image(<3 bytes>), index=2)"
