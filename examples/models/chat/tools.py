"""Calls of tools in what a model has said."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple, cast

_MARKED = re.compile(r"<tool_call>(.*?)(?:</tool_call>|$)", re.DOTALL)


class ToolCall(NamedTuple):
    """A function that the model wants called."""

    name: str
    arguments: dict[str, Any]

    def as_json(self, number: int) -> dict[str, Any]:
        """Return it in the form that clients of chat APIs know."""
        function = {"name": self.name, "arguments": json.dumps(self.arguments)}
        return {"id": f"call_{number}", "type": "function", "function": function}


def parse(text: str) -> list[ToolCall]:
    """Return the calls in a text: between marks, or where the whole text is JSON. None if there are none."""
    marked = _MARKED.findall(text)
    calls: list[ToolCall] = []
    for part in marked or [text]:
        try:
            document: object = json.loads(part)
        except ValueError:
            continue
        for item in cast("list[object]", document) if isinstance(document, list) else [document]:
            if isinstance(item, dict):
                name, arguments = cast(dict[str, Any], item).get("name"), cast(dict[str, Any], item).get("arguments")
                if isinstance(name, str) and isinstance(arguments, dict):
                    calls.append(ToolCall(name, cast(dict[str, Any], arguments)))
    return calls
