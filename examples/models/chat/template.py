"""A conversation as the text that the model was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

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


def conversation(
    prompt: str, history: Sequence[Mapping[str, Any]] | None, tools: Sequence[Mapping[str, Any]] | None
) -> str:
    """Return the text up to where the answer begins.

    Raises:
        ValueError: a message of the history has no role or no text.
    """
    messages: list[tuple[str, str]] = []
    for position, message in enumerate(history or ()):
        role, content = message.get("role"), message.get("content")
        if role not in ("system", "user", "assistant", "tool") or not isinstance(content, str):
            raise ValueError(f"chat_history[{position}]: needs a role and a text as content")
        messages.append((role, content))
    if prompt:
        messages.append(("user", prompt))
    if tools:
        functions = [tool.get("function", tool) for tool in tools]
        messages.insert(0, ("system", TOOLS.format(tools=json.dumps(functions))))
    elif not messages or messages[0][0] != "system":
        messages.insert(0, ("system", SYSTEM))
    # A text that says it is the end of a message must not be taken for one.
    parts = [f"<|im_start|>{role}\n{content.replace('<|im_', '<| im_')}<|im_end|>\n" for role, content in messages]
    return "".join(parts) + "<|im_start|>assistant\n"


def begin_of_call(tools: Sequence[Mapping[str, Any]]) -> str:
    """Return how an answer begins that has to be a call: up to its name, or past it where there is one tool only."""
    names = [tool.get("function", tool).get("name", "") for tool in tools]
    begin = '<tool_call>[{"name": "'
    return f'{begin}{names[0]}", "arguments": {{"' if len(names) == 1 else begin
