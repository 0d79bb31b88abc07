"""A conversation as the messages that the model was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from runner.errors import InvalidInput

SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"

TOOLS = """You are an expert in composing functions. You are given a question and a set of possible functions.
Based on the question, you will need to make one or more function/tool calls to achieve the purpose.
If none of the functions can be used, point it out and refuse to answer.
If the given question lacks the parameters required by the function, also point it out.

You have access to the following tools:
<tools>{tools}</tools>

The output MUST strictly adhere to the following format, and NO other text MUST be included.
The example format is as follows. Please make sure the parameter type is correct. If no function call is needed, please
make the tool calls an empty list '[]'.
<tool_call>[
{{"name": "func_name1", "arguments": {{"argument1": "value1", "argument2": "value2"}}}},
... (more tool calls as required)
]</tool_call>"""

ROLES = ("system", "user", "assistant", "tool")


def conversation(
    prompt: str, history: Sequence[Mapping[str, Any]] | None, functions: Sequence[Mapping[str, Any]] = ()
) -> list[tuple[str, str]]:
    """Return role and text of each message. A history looks as chat APIs have it.

    Raises:
        InvalidInput: a message has no role or no text.
    """
    messages = [_message(message, f"chat_history[{place}]") for place, message in enumerate(history or ())]
    if prompt:
        messages.append(("user", prompt))
    if functions:
        messages.insert(0, ("system", TOOLS.format(tools=json.dumps(list(functions)))))
    elif not messages or messages[0][0] != "system":
        messages.insert(0, ("system", SYSTEM))
    return messages


def _message(message: Mapping[str, Any], path: str) -> tuple[str, str]:
    role = message.get("role")
    if role not in ROLES:
        raise InvalidInput(f"is {role!r}, and has to be one of {', '.join(ROLES)}", path=f"{path}.role")
    content = message.get("content")
    if isinstance(content, list):  # in parts
        content = "".join(
            _text(part, f"{path}.content[{place}]") for place, part in enumerate(cast(list[Any], content))
        )
    if content is None and isinstance(message.get("tool_calls"), list):
        called = [_called(call, f"{path}.tool_calls[{place}]") for place, call in enumerate(message["tool_calls"])]
        content = f"<tool_call>{json.dumps(called)}</tool_call>"
    if not isinstance(content, str):
        raise InvalidInput(f"is {content!r:.100}, and has to be a text", path=f"{path}.content")
    return role, content


def _text(part: object, path: str) -> str:
    text: object = cast(dict[str, object], part).get("text") if isinstance(part, dict) else part
    if not isinstance(text, str):
        raise InvalidInput("only parts with a text can be read", path=path)
    return text


def _called(call: object, path: str) -> dict[str, object]:
    """Return a call that the model made earlier in the form in which it makes them."""
    function = cast(dict[str, Any], call).get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise InvalidInput("has no function", path=path)
    name, arguments = cast(dict[str, Any], function).get("name"), cast(dict[str, Any], function).get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            raise InvalidInput("is no JSON", path=f"{path}.function.arguments") from None
    return {"name": name, "arguments": arguments}
