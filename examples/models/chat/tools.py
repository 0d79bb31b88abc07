"""Tools that a model may have called, and the calls in what it has said."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from runner.errors import InvalidInput

MARK = "<tool_call>"
_MARKED = re.compile(rf"{MARK}(.*?)(?:</tool_call>|$)", re.DOTALL)
CHOICES = ("auto", "required", "none")


@dataclass(frozen=True)
class Tools:
    """What a caller lets the model call."""

    functions: Sequence[Mapping[str, Any]] = ()
    """Each with a name; empty: none."""
    begin: str = ""
    """How the answer has to begin; empty: as it likes."""


def read_tools(tools: Sequence[Mapping[str, Any]] | None, choice: str | None) -> Tools:
    """Return what was said with `tools` and `tool_choice`.

    Raises:
        InvalidInput: a tool has no name, or the choice is neither a word that means something nor a tool's name.
    """
    functions = [_function(tool, f"tools[{place}]") for place, tool in enumerate(tools or ())]
    names = [function["name"] for function in functions]
    choice = choice or "auto"
    if choice not in CHOICES and choice not in names:
        known = ", ".join([*CHOICES, *names])
        raise InvalidInput(f"is {choice!r:.100}, and has to be one of {known}", path="tool_choice")
    if choice == "required" and not functions:
        raise InvalidInput("is 'required', and there are no tools", path="tool_choice")
    if choice == "none" or not functions:
        return Tools()
    if choice == "auto":
        return Tools(functions)
    # An answer that has to be a call begins like one: up to its name, or past it where only one may be called.
    name = choice if choice in names else names[0] if len(names) == 1 else None
    begin = f'{MARK}[{{"name": "'
    if name is not None:
        takes_some = _properties(functions[names.index(name)])
        begin += f'{name}", "arguments": {{' + ('"' if takes_some else "")
    return Tools(functions, begin)


def _function(tool: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    function = tool.get("function", tool)
    if not isinstance(function, dict) or not isinstance(cast(dict[str, Any], function).get("name"), str):
        raise InvalidInput("has no function with a name", path=path)
    return cast(dict[str, Any], function)


def _properties(function: Mapping[str, Any]) -> bool:
    """Tell whether a function takes arguments."""
    parameters = function.get("parameters")
    return isinstance(parameters, dict) and bool(cast(dict[str, Any], parameters).get("properties"))


class ToolCall(NamedTuple):
    """A function that the model wants called."""

    name: str
    arguments: dict[str, Any]

    def as_json(self, number: int) -> dict[str, Any]:
        """Return it in the form that clients of chat APIs know."""
        function = {"name": self.name, "arguments": json.dumps(self.arguments)}
        return {"id": f"call_{number}", "type": "function", "function": function}


def may_be_calls(text: str) -> bool:
    """Tell whether a text that is not at its end yet may turn out to be calls: it begins with a mark, or as JSON."""
    text = text.lstrip()
    return text.startswith((MARK, "[", "{")) or MARK.startswith(text)


def parse(text: str) -> list[ToolCall]:
    """Return the calls in a text: between marks, or where the whole text is JSON. None if there are none."""
    calls: list[ToolCall] = []
    for part in _MARKED.findall(text) or [text]:
        try:
            document: object = json.loads(part)
        except (ValueError, RecursionError):
            continue
        for item in cast("list[object]", document) if isinstance(document, list) else [document]:
            if isinstance(item, dict):
                name, arguments = cast(dict[str, Any], item).get("name"), cast(dict[str, Any], item).get("arguments")
                if isinstance(name, str) and isinstance(arguments, dict):
                    calls.append(ToolCall(name, cast(dict[str, Any], arguments)))
    return calls
