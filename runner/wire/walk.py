"""Finding the media inside decoded values, and turning what was decoded into what the method asked for.

Both are compiled from the type, so that a method without media or tensors pays nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from runner.errors import InvalidInput
from runner.signature.tree import Array, ArrayType, FieldsOf, Kind, Leaf, ListOf, Node, OptionalOf, TupleOf
from runner.types import Audio, Frame, Image, NamedFields, Region, Text, Video

Media: TypeAlias = Text | Image | Audio | Video

See: TypeAlias = Callable[[Media, str], None]
"""Called with each medium and the path to it, such as `images[3]`."""

Visit: TypeAlias = Callable[[Any, str, See], None]
"""Shows every medium in a value that sits at a path."""

Finish: TypeAlias = Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A medium given by URL only. Whoever fetches it sets its `bytes`, or its `text` if it is a Text."""

    path: str
    media: Media


def is_unresolved(media: Media) -> bool:
    """Return whether a medium has a URL and no content."""
    return bool(media.url) and not (media.text if isinstance(media, Text) else media.bytes)


def visitor(node: Node) -> Visit | None:
    """Return what finds the media in a type's values, None if there can be none."""
    match node:
        case Leaf(kind=Kind.TEXT | Kind.IMAGE | Kind.AUDIO | Kind.VIDEO):
            return _visit_media
        case Leaf(kind=Kind.REGION):
            return _visit_region
        case Leaf(kind=Kind.FRAME):
            return _visit_frame
        case ListOf(item=item):
            visit = visitor(item)
            return None if visit is None else _visit_list(visit)
        case TupleOf(items=items):
            visits = [visitor(item) for item in items]
            return _visit_tuple(visits) if any(visits) else None
        case FieldsOf(fields=fields):
            named = {name: visit for name, item in fields if (visit := visitor(item)) is not None}
            return _visit_fields(named) if named else None
        case OptionalOf(item=item):
            visit = visitor(item)
            return None if visit is None else _visit_optional(visit)
        case _:
            return None


def _visit_media(value: object, path: str, see: See) -> None:
    if isinstance(value, Text | Image | Audio | Video):  # a default may be something else
        see(value, path)


def _visit_region(value: Region, path: str, see: See) -> None:
    if value.mask is not None:
        see(value.mask, f"{path}.mask")


def _visit_frame(value: Frame, path: str, see: See) -> None:
    if value.image is not None:
        see(value.image, f"{path}.image")
    for index, region in enumerate(value.regions):
        _visit_region(region, f"{path}.regions[{index}]", see)


def _visit_list(visit: Visit) -> Visit:
    def visit_all(values: Sequence[object], path: str, see: See) -> None:
        for index, value in enumerate(values):
            visit(value, f"{path}[{index}]", see)

    return visit_all


def _visit_tuple(visits: Sequence[Visit | None]) -> Visit:
    def visit_each(values: Sequence[object], path: str, see: See) -> None:
        for index, (visit, value) in enumerate(zip(visits, values, strict=True)):
            if visit is not None:
                visit(value, f"{path}[{index}]", see)

    return visit_each


def _visit_fields(visits: dict[str, Visit]) -> Visit:
    def visit_each(values: NamedFields, path: str, see: See) -> None:
        for name, visit in visits.items():
            visit(values[name], f"{path}.{name}", see)

    return visit_each


def _visit_optional(visit: Visit) -> Visit:
    def visit_unless_none(value: object, path: str, see: See) -> None:
        if value is not None:
            visit(value, path, see)

    return visit_unless_none


def finisher(node: Node) -> Finish | None:
    """Return what turns images into Pillow's and arrays into torch's where the method wants those, None if nowhere."""
    match node:
        case Leaf(pil=True):
            return _to_pil
        case Array(library=ArrayType.TORCH):
            return _to_tensor
        case ListOf(item=item):
            finish = finisher(item)
            return None if finish is None else lambda values: [finish(value) for value in values]
        case TupleOf(items=items):
            steps = [finisher(item) or _as_it_is for item in items]
            if all(step is _as_it_is for step in steps):
                return None
            return lambda values: tuple(step(value) for step, value in zip(steps, values, strict=True))
        case FieldsOf(fields=fields):
            named = {name: step for name, item in fields if (step := finisher(item)) is not None}
            return _finish_fields(named) if named else None
        case OptionalOf(item=item):
            finish = finisher(item)
            return None if finish is None else lambda value: None if value is None else finish(value)
        case _:
            return None


def opens_images(node: Node) -> bool:
    """Tell whether finishing a type's values decodes images, which takes milliseconds each."""
    match node:
        case Leaf(pil=pil):
            return pil
        case ListOf(item=item) | OptionalOf(item=item):
            return opens_images(item)
        case TupleOf(items=items):
            return any(map(opens_images, items))
        case FieldsOf(fields=fields):
            return any(opens_images(item) for _, item in fields)
        case _:
            return False


def _as_it_is(value: object) -> object:
    return value


def _to_pil(value: object) -> object:
    return value.to_pil() if isinstance(value, Image) else value  # a default may be a Pillow image already


def _to_tensor(value: object) -> object:
    torch: Any = sys.modules["torch"]  # the class was loaded with a torch hint
    if isinstance(value, torch.Tensor):
        return value
    try:
        return torch.from_numpy(value)
    except TypeError:
        raise InvalidInput(f"torch has no tensors of {cast(Any, value).dtype}; send another dtype") from None


def _finish_fields(steps: dict[str, Finish]) -> Finish:
    def finish(values: NamedFields) -> object:
        changed = {name: steps[name](value) if name in steps else cast(object, value) for name, value in values.items()}
        return NamedFields(**changed)

    return finish
