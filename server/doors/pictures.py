"""Pictures of recommendations, for whoever may see the recommendation: the page, and Slack.

The picture is an answer of the tool `recommendation_picture`, so that the gate says who gets it.
"""

import base64
from typing import Literal

from tools.calls import Caller, Gate
from tools.errors import Code, ToolError

Format = Literal["svg", "png"]
MEDIA: dict[Format, str] = {"svg": "image/svg+xml", "png": "image/png"}


async def picture(gate: Gate, caller: Caller, id: str, format: Format, dark: bool = False) -> bytes:
    """The picture of a recommendation. Raises `ToolError`: not_found where there is none that this
    caller may see."""
    which = {"id": id, "format": format, "dark": dark}
    outcome = await gate.call(caller, "recommendation_picture", which)
    if outcome.error:
        problem = outcome.error
        raise ToolError(problem.code, problem.message, problem.hint)
    answer = outcome.answer or {}
    if "cut" in answer:
        raise ToolError(
            Code.RESOURCE_EXHAUSTED, "The picture is too large.", "Raise limits.answer_kb."
        )
    return base64.b64decode(answer["data"]) if format == "png" else answer["data"].encode()
