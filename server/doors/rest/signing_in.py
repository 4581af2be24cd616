"""Signing in with a password, and inviting: what of it is not a tool's, for no tool, journal or
log is to see a password or an invitation."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server.doors.rest.calling import answer, body_of, options_of
from server.doors.rest.inside import Inside, caller_of, token_of
from server.identity import new_token
from server.identity.sessions import Signed
from server.identity.signing_in import SignIn
from tools.errors import Code, ToolError
from tools.people import EMAIL
from tools.schemas import compact

Password = Annotated[str, Field(min_length=1, max_length=1024)]
Email = Annotated[str, Field(pattern=EMAIL)]
Secret = Annotated[str, Field(min_length=1, max_length=256)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


T = TypeVar("T", bound=Body)


class Register(Body):
    email: Email
    password: Password
    name: Annotated[str, Field(max_length=200)] = ""
    invitation: Annotated[str, Field(max_length=256)] = ""


class Login(Body):
    email: Email
    password: Password


class Refresh(Body):
    refresh_token: Secret


class Logout(Body):
    refresh_token: Annotated[str, Field(max_length=256)] = ""


class Change(Body):
    old_password: Password
    new_password: Password


class Tokens(BaseModel):
    """As OAuth answers them; lifetimes in seconds."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  no password
    expires_in: int
    refresh_token: str
    refresh_expires_in: int


class Registered(BaseModel):
    subject: str
    email: str
    name: str


class Done(BaseModel):
    done: bool = True


async def register(inside: Inside, request: Request) -> Response:
    """No tokens yet: whoever registered signs in, and nobody learns more by trying this."""
    asked = await _asked(Register, request)
    row = await _sign_in(inside).register(asked.email, asked.password, asked.name, asked.invitation)
    made = Registered(subject=row["subject"], email=row["email"], name=row["name"])
    return JSONResponse(made.model_dump(), 201)


async def login(inside: Inside, request: Request) -> Response:
    asked = await _asked(Login, request)
    _, signed = await _sign_in(inside).login(asked.email, asked.password)
    return _tokens(signed)


async def refresh(inside: Inside, request: Request) -> Response:
    asked = await _asked(Refresh, request)
    return _tokens(await _sign_in(inside).refresh(asked.refresh_token))


async def logout(inside: Inside, request: Request) -> Response:
    asked = await _asked(Logout, request)
    await _sign_in(inside).logout(asked.refresh_token or token_of(request))
    return JSONResponse(Done().model_dump())


async def change_password(inside: Inside, request: Request) -> Response:
    asked = await _asked(Change, request)
    await _sign_in(inside).change_password(
        token_of(request), asked.old_password, asked.new_password
    )
    return JSONResponse(Done().model_dump())


async def invite(inside: Inside, request: Request) -> Response:
    """A user, and the code that they register with, which is shown this once."""
    caller = await caller_of(inside, request, "user_create")
    body = await body_of(request)
    code, sha256 = new_token("pi_")
    own = "invitation" in body or "password_hash" in body
    if not own:
        body["invitation"] = sha256
    outcome = await inside.gate.call(caller, "user_create", body, **options_of(request))
    if outcome.error or own:
        return answer(outcome)
    told = outcome.model_copy(update={"answer": (outcome.answer or {}) | {"invitation": code}})
    return answer(told)


async def _asked(kind: type[T], request: Request) -> T:
    """The body. What is wrong with it is said without what was sent. Raises `ToolError`."""
    body = await body_of(request)
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        said = [f"{'.'.join(map(str, f['loc']))[:64]}: {f['msg'][:200]}" for f in faults[:5]]
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"{'; '.join(said)}.",
            f"It takes: {', '.join(kind.model_fields)}.",
        ) from None


def _sign_in(inside: Inside) -> SignIn:
    if inside.sign_in is None:
        raise ToolError(
            Code.FAILED_PRECONDITION, "Nobody signs in here.", "Ask the server that has users."
        )
    return inside.sign_in


def _tokens(signed: Signed) -> Response:
    tokens = Tokens(
        access_token=signed.access,
        expires_in=round(signed.access_s),
        refresh_token=signed.refresh,
        refresh_expires_in=round(signed.refresh_s),
    )
    return JSONResponse(tokens.model_dump())


def schema(kind: type[BaseModel]) -> Mapping[str, Any]:
    return compact(kind.model_json_schema())
