"""The Bolt application: what Slack sends, acknowledged at once, and handed on to be done."""

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from chatops.slack import home
from chatops.slack.desk import Desk
from chatops.slack.hearing import hear
from chatops.slack.jobs import Once
from chatops.slack.places import Place
from chatops.slack.presses import Presses
from chatops.slack.receiving import ODD

if TYPE_CHECKING:
    from slack_bolt.async_app import AsyncApp

log = structlog.get_logger(__name__)

SLACK = "https://slack.com/api/"
SIGNED_S = 600.0  # twice what Bolt still takes as fresh
BUSY = "Too much is asked for at the moment. Try again in a minute."
BUTTONS = re.compile(r"(approve|reject|decline|diff|undo|apply|say|fill)(:.*)?")
FORMS = re.compile(r"tool|call_reject|recommendation_reject")
PROMPTS = ("What waits for a decision?", "tenants", "recommendations", "help")


@dataclass(frozen=True)
class Config:
    """Slack's side: tokens, the slash command, and where its Web API is."""

    bot_token: str
    signing_secret: str = ""
    app_token: str = ""
    command: str = "/pilot"
    url: str = SLACK


def bolt(config: Config, desk: Desk, presses: Presses) -> "AsyncApp":
    """Every handler acknowledges first; the work is done behind it. Nothing is done twice for
    what Slack sends twice."""
    from slack_bolt import BoltResponse
    from slack_bolt.async_app import AsyncApp
    from slack_bolt.authorization import AuthorizeResult

    async def authorize(**_: Any) -> AuthorizeResult:
        return AuthorizeResult.from_auth_test_response(
            bot_token=config.bot_token,
            auth_test_response=desk.me,
        )

    app = AsyncApp(
        name="pilothouse",
        # Over a socket nothing is signed; without a secret, nothing is taken over HTTP.
        signing_secret=config.signing_secret or secrets.token_hex(),
        authorize=authorize,
        process_before_response=False,
    )
    signatures = Once(SIGNED_S)

    @app.middleware
    async def fresh(req: Any, next: Any) -> Any:
        signature = req.headers.get("x-slack-signature", [""])[0]
        if req.mode != "socket_mode" and not signatures.first(signature):
            return BoltResponse(status=401, body={"error": "replayed request"})
        return await next()

    @app.error
    async def odd(error: Exception) -> Any:
        """What is not as Slack sends it is not taken, and is no fault of ours."""
        if not isinstance(error, ODD):
            raise error
        log.warning("not as Slack sends it", why=repr(error)[:200])
        return BoltResponse(status=400)

    @app.command(config.command)
    async def command(ack: Any, body: dict[str, Any]) -> None:
        if not desk.once.first(body["trigger_id"]):
            await ack()
            return
        place = Place(desk, body["user_id"], body["channel_id"], url=body["response_url"])
        if body.get("team_id", desk.team) != desk.team:
            await ack("Ask from your own workspace's Pilothouse.")
            return
        started = desk.jobs.start(_command(place, body))
        await (ack() if started else ack(BUSY))

    @app.event("app_mention")
    async def mention(body: dict[str, Any], event: dict[str, Any]) -> None:
        if _ours(desk, body):
            text = event.get("text", "").replace(f"<@{desk.bot}>", " ")
            desk.jobs.start(_message(desk, event, text, f"slack:{body['event_id']}"))

    @app.event("message")
    async def message(body: dict[str, Any], event: dict[str, Any]) -> None:
        direct = event.get("channel_type") == "im" and not event.get("subtype")
        if direct and not event.get("bot_id") and _ours(desk, body):
            text = event.get("text", "")
            desk.jobs.start(_message(desk, event, text, f"slack:{body['event_id']}"))

    @app.event("app_home_opened")
    async def opened_home(body: dict[str, Any], event: dict[str, Any]) -> None:
        if event.get("tab") == "home" and _ours(desk, body):
            desk.jobs.start(home.publish(desk, event["user"]))

    @app.event("assistant_thread_started")
    async def thread(body: dict[str, Any], event: dict[str, Any]) -> None:
        if _ours(desk, body):
            desk.jobs.start(_prompt(desk, event["assistant_thread"]))

    @app.event("assistant_thread_context_changed")
    async def looked_elsewhere(body: dict[str, Any]) -> None:
        pass

    @app.action({"type": "block_actions", "action_id": BUTTONS})
    async def press(ack: Any, body: dict[str, Any]) -> None:
        await ack()
        if desk.once.first(body["trigger_id"]):
            desk.jobs.start(presses.pressed(body))

    @app.view({"type": "view_submission", "callback_id": FORMS})
    async def submit(ack: Any, body: dict[str, Any]) -> None:
        if wrong := await presses.wrong(body):
            await ack(response_action="errors", errors=wrong)
            return
        await ack()
        if desk.once.first(f"{body['view']['id']}:{body['view'].get('hash', '')}"):
            desk.jobs.start(presses.submitted(body))

    return app


async def _command(place: Place, body: dict[str, Any]) -> None:
    place.bound = await place.desk.bound(place.channel)
    key, trigger = f"slack:{body['trigger_id']}", body["trigger_id"]
    await hear(place, body.get("text", ""), key, trigger)


async def _message(desk: Desk, event: dict[str, Any], text: str, key: str) -> None:
    own = event.get("channel_type") == "im"
    thread = event.get("thread_ts") or ("" if own else event["ts"])
    bound = await desk.bound(event["channel"])
    place = Place(desk, event["user"], event["channel"], bound, thread, own)
    await hear(place, text, key)


async def _prompt(desk: Desk, thread: dict[str, Any]) -> None:
    prompts = [{"title": text, "message": text} for text in PROMPTS]
    await desk.client.assistant_threads_setSuggestedPrompts(
        channel_id=thread["channel_id"],
        thread_ts=thread["thread_ts"],
        title="What shall be done?",
        prompts=prompts,
    )


def _ours(desk: Desk, body: dict[str, Any]) -> bool:
    """Somebody of this workspace, who says it for the first time."""
    event = body["event"]
    teams = {event.get("user_team"), event.get("source_team"), body.get("team_id")} - {None}
    return teams <= {desk.team} and desk.once.first(body["event_id"])
