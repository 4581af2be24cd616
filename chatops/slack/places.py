"""Where an answer goes: the one who asked always sees it, others only where the channel is bound
to the tenant that it tells of."""

import time
from dataclasses import dataclass
from typing import Any

import structlog

from chatops.messages import NOBODY, Message
from chatops.slack.desk import Desk
from chatops.store import PLATFORM, Card

log = structlog.get_logger(__name__)

URL_USES = 5  # how often Slack takes an answer at a response_url
EDIT_S = 1.2  # between two edits of one message: Slack takes about one a second
NOT_TAKEN = "invalid_blocks"  # also of a file that Slack has not looked at yet
ABSENT = ("not_in_channel", "channel_not_found", "is_archived", "restricted_action")


@dataclass
class Place:
    """Where somebody asked. `own` says that nobody else reads there (a direct message to us);
    `bound` is the tenant that the channel is about. One message is posted, and then edited."""

    desk: Desk
    user: str
    channel: str
    bound: str = ""
    thread: str = ""
    own: bool = False
    url: str = ""
    _ts: str = ""
    _uses: int = 0
    _edited: float = 0.0
    _open: bool = False

    def public(self, about: str | None) -> bool:
        """May everybody in the channel read what is told about this?"""
        if self.own or self.bound == PLATFORM:
            return True
        return bool(self.bound) and about not in (NOBODY, None) and about == self.bound

    def beside(self) -> "Place":
        """The same place, for another message."""
        return Place(
            self.desk, self.user, self.channel, self.bound, self.thread, self.own, self.url
        )

    async def progress(self, message: Message) -> None:
        """Shown unless something was a moment ago; what cannot be edited is not cluttered."""
        now = time.monotonic()
        if now - self._edited < EDIT_S:
            return
        editable = self.public(message.about) or (self.url and self._uses < URL_USES - 2)
        if editable:
            self._edited = now
            await self.show(message)

    async def show(self, message: Message) -> None:
        body: dict[str, Any] = {"text": message.text, "blocks": list(message.blocks)}
        if self._ts and not self.public(message.about):
            # What it turned out to be about is not for this channel: the first word goes.
            await self.desk.client.chat_delete(channel=self.channel, ts=self._ts)
            self._ts = ""
        if self._ts:
            await self.desk.client.chat_update(channel=self.channel, ts=self._ts, **body)
        elif self.public(message.about) and await self._post(body):
            pass
        elif self.url and self._uses < URL_USES:
            await self._answer(body)
        else:
            await self._whisper(body)
        if message.call_id and self._ts:
            card = Card(message.call_id, self.channel, self._ts, message.shown)
            await self.desk.house.keep_card(card)
            if self.desk.refresh:  # it may have gone on while it was being posted
                self.desk.jobs.start(self.desk.refresh(message.call_id))

    async def add(self, message: Message, part: Message) -> bool:
        """Show more of what is shown already, or that `part` beside it where nothing can be edited.
        False where Slack does not take the blocks."""
        from slack_sdk.errors import SlackApiError

        body: dict[str, Any] = {"text": message.text, "blocks": list(message.blocks)}
        try:
            if self._ts:
                await self.desk.client.chat_update(channel=self.channel, ts=self._ts, **body)
            elif self._open and self._uses < URL_USES:
                self._uses += 1
                answer = await self.desk.at(self.url).send(
                    **body, response_type="ephemeral", replace_original=True
                )
                return answer.status_code == 200 and NOT_TAKEN not in (answer.body or "")
            else:
                await self._whisper({"text": part.text, "blocks": list(part.blocks)})
        except SlackApiError as error:
            if error.response.get("error") != NOT_TAKEN:
                raise
            return False
        return True

    async def _post(self, body: dict[str, Any]) -> bool:
        from slack_sdk.errors import SlackApiError

        try:
            posted = await self.desk.client.chat_postMessage(
                channel=self.channel, thread_ts=self.thread or None, unfurl_links=False, **body
            )
        except SlackApiError as error:
            if error.response.get("error") in ABSENT:
                return False
            raise
        self._ts, self.channel = str(posted["ts"]), str(posted["channel"])
        return True

    async def _answer(self, body: dict[str, Any]) -> None:
        """To whoever asked, at the address that Slack sent along."""
        first, self._uses = not self._uses, self._uses + 1
        answer = await self.desk.at(self.url).send(
            **body, response_type="ephemeral", replace_original=not first and self._open
        )
        self._open = answer.status_code == 200
        if answer.status_code != 200:
            log.warning("slack: response_url refused", status=answer.status_code)
            self._uses = URL_USES
            await self._whisper(body)

    async def _whisper(self, body: dict[str, Any]) -> None:
        from slack_sdk.errors import SlackApiError

        try:
            await self.desk.client.chat_postEphemeral(
                channel=self.channel, user=self.user, thread_ts=self.thread or None, **body
            )
        except SlackApiError as error:
            if error.response.get("error") not in (*ABSENT, "user_not_in_channel"):
                raise
            # We are not there: in a direct message, then.
            await self.desk.client.chat_postMessage(channel=self.user, **body)
