"""A recommendation with its picture, which Slack is handed as a file."""

from base64 import b64decode
from typing import TYPE_CHECKING

import structlog

from chatops import messages
from chatops.blocks import picture
from chatops.messages import Message
from tools.calls import Caller
from tools.context import Recommendation
from tools.errors import ToolError

if TYPE_CHECKING:
    from chatops.slack.desk import Desk

log = structlog.get_logger(__name__)


async def with_picture(desk: "Desk", caller: Caller, found: Recommendation) -> Message:
    """The suggestion as a message; without its picture where there is none to be had."""
    from slack_sdk.errors import SlackApiError

    try:
        drawn = await desk.read(caller, "recommendation_picture", id=found.id, format="png")
        uploaded = await desk.client.files_upload_v2(
            filename=f"{found.id}.png",
            file=b64decode(drawn["data"], validate=True),
            title=found.title,
            alt_txt=found.reason[:1000],
        )
    except (SlackApiError, ToolError, ValueError) as error:
        log.info("slack: no picture", recommendation=found.id, why=str(error)[:200])
        return messages.recommendation(found)
    return messages.recommendation(found, picture(uploaded["file"]["id"], found.title))
