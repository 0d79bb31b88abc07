"""YAML as the configuration takes it: a document of keys and values, in which nothing is said twice."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from runner.errors import ConfigError


def load_yaml(text: str) -> object:
    """Return the document of a text.

    Raises:
        yaml.YAMLError: it is none, or says something twice.
        ValueError: a scalar is none of the kind that it looks like, such as a date.
        RecursionError: it is nested too deep.
    """
    document: object = yaml.load(text, _Loader)
    return document


def read_yaml(path: Path) -> Mapping[str, object]:
    """Return the document of a file; without keys if the file is empty.

    Raises:
        ConfigError: it cannot be read, or is no such document. The text names file and line.
    """
    try:
        document = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    except yaml.MarkedYAMLError as exc:
        line = f"line {exc.problem_mark.line + 1}: " if exc.problem_mark else ""
        raise ConfigError(f"{path}: {line}is not valid YAML: {exc.problem or exc.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise ConfigError(f"{path}: is not valid YAML: {str(exc).splitlines()[0]}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: got {type(document).__name__}, needs keys with values")
    return cast(dict[str, object], document)


class _Loader(yaml.SafeLoader):
    """As `yaml.SafeLoader`, but what is said twice is refused: of two values, one would be without effect."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        said: set[str] = set()
        for key, _ in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
            if isinstance(key, yaml.ScalarNode):
                name = cast(str, key.value)
                if name in said:
                    raise yaml.constructor.ConstructorError(
                        problem=f"{name} is there twice", problem_mark=key.start_mark
                    )
                said.add(name)
        return super().construct_mapping(node, deep)
