"""Webhooks that come in: Alertmanager's."""

import base64
import binascii
import hmac

from pydantic import SecretStr, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chatops.alerts import Alerts, Notification
from server.doors.http import problem
from server.doors.rest.calling import body_of
from tools.errors import Code, ToolError


def hooks(alerts: Alerts, token: SecretStr) -> list[Route]:
    """`token` comes as a bearer token, or as the password of basic authentication."""

    async def alertmanager(request: Request) -> Response:
        try:
            _let_in(request, token.get_secret_value())
            ids = await alerts.receive(_notification(await body_of(request)))
        except ToolError as error:
            return problem(error)
        return JSONResponse({"incidents": ids})

    return [Route("/hooks/alertmanager", alertmanager, methods=["POST"])]


def _let_in(request: Request, token: str) -> None:
    if not token:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            "Alerts are not taken in: no token for them is set.",
            "Set alertmanager.token here, and the same in Alertmanager's webhook_config "
            "(http_config.authorization.credentials).",
        )
    if not hmac.compare_digest(_sent(request).encode(), token.encode()):
        raise ToolError(
            Code.UNAUTHENTICATED,
            "That is not the token for alerts.",
            "Send the setting alertmanager.token as bearer token or basic password.",
        )


def _sent(request: Request) -> str:
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return sent.strip() if scheme.lower() == "bearer" else ""
    try:
        return base64.b64decode(sent, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _notification(body: object) -> Notification:
    try:
        return Notification.model_validate(body)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))[:100]
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"{where}: {fault['msg']}.",
            "It is for Alertmanager's webhook, version 4.",
        ) from None
