"""The picture of a recommendation, which Slack is handed as a file and takes a moment to have."""

import asyncio
from base64 import b64decode
from typing import TYPE_CHECKING

import structlog

from chatops import messages
from chatops.blocks import picture
from chatops.messages import Message
from tools.calls import Caller
from tools.errors import ToolError
from tools.holdings import Recommendation

if TYPE_CHECKING:
    from chatops.slack.desk import Desk
    from chatops.slack.places import Place

log = structlog.get_logger(__name__)

PAUSES_S = (0.0, 1.0, 3.0, 8.0)  # before each time that Slack is asked to show it


async def add_picture(place: "Place", caller: Caller, found: Recommendation) -> None:
    """To a suggestion that is shown already; it goes without where there is none to be had."""
    file = await _uploaded(place.desk, caller, found)
    if not file:
        return
    image = picture(file, found.title)
    whole = messages.recommendation(found, image)
    for pause in PAUSES_S:
        await asyncio.sleep(pause)
        if await place.add(whole, Message(whole.text, (image,), whole.about)):
            return
    log.info("slack: the picture was not ready in time", recommendation=found.id)


async def _uploaded(desk: "Desk", caller: Caller, found: Recommendation) -> str:
    """The file's id in Slack, or nothing."""
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
        return ""
    return str(uploaded["file"]["id"])
