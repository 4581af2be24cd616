"""Tokens: made, believed, revoked, and never worth more than whom they belong to."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from server.identity import Identity, new_token, user
from server.journal import Journal
from tools.calls import Caller, Role
from tools.errors import Code, ToolError
from tools.holdings import TenantRef

ROOT = Caller.of("root", operator=True, door="cli")


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Tenants:
    """A directory of tenants; `made_anew` gives one a new uid."""

    def __init__(self) -> None:
        self.uids = {"acme": "uid-1", "globex": "uid-2"}

    async def find(self, name: str) -> TenantRef | None:
        uid = self.uids.get(name)
        return TenantRef(name=name, uid=uid, cluster="default") if uid else None

    async def all(self) -> Sequence[TenantRef]:
        return [t for n in self.uids if (t := await self.find(n))]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def identity(tmp_path: Path, clock: Clock) -> AsyncIterator[Identity]:
    journal = await Journal.open(f"duckdb:///{tmp_path / 'state.duckdb'}")
    made = await Identity.open(journal, Tenants(), clock)
    yield made
    await made.close()
    await journal.close()


async def make(identity: Identity, subject: str, **what: Any) -> tuple[str, str]:
    """A new token and its id."""
    token, sha256 = new_token()
    defaults = {
        "tenants": {}, "operator": False, "agent": False, "person": "", "expires_days": None
    }  # fmt: skip
    info = await identity.tokens.create(ROOT, sha256=sha256, subject=subject, **(defaults | what))
    return token, info.id


async def refused(code: Code, awaitable: Any) -> str:
    with pytest.raises(ToolError) as caught:
        await awaitable
    assert caught.value.code is code
    return str(caught.value)


async def test_a_token_says_who_calls_with_which_role_where(identity: Identity) -> None:
    await make(identity, "root", operator=True)
    token, _ = await make(identity, "alice", tenants={"acme": Role.ADMIN})
    caller = await identity.identify(token, "rest")
    assert caller is not None
    assert (caller.subject, caller.person, caller.agent, caller.operator, caller.door) == (
        "alice", "alice", False, False, "rest",
    )  # fmt: skip
    assert {t: (g.role, g.uid) for t, g in caller.grants.items()} == {"acme": ("admin", "uid-1")}
    assert await identity.identify("ph_" + "x" * 43, "rest") is None


async def test_the_token_itself_is_stored_nowhere(identity: Identity, tmp_path: Path) -> None:
    token, _ = await make(identity, "root", operator=True)
    await identity.identify(token, "rest")
    assert token.encode() not in (tmp_path / "state.duckdb").read_bytes()


async def test_what_comes_through_mcp_is_an_agent_whatever_its_token(identity: Identity) -> None:
    token, _ = await make(identity, "root", operator=True)
    over_mcp, over_rest = (
        await identity.identify(token, "mcp"),
        await identity.identify(token, "rest"),
    )
    assert over_mcp
    assert over_mcp.agent
    assert over_mcp.person == "root"
    assert over_rest
    assert not over_rest.agent


async def test_the_first_token_is_an_operators_who_is_a_person(identity: Identity) -> None:
    for what in ({"tenants": {"acme": Role.ADMIN}}, {"operator": True, "agent": True}):
        text = await refused(Code.FAILED_PRECONDITION, make(identity, "alice", **what))
        assert "--operator" in text
    await make(identity, "root", operator=True)


async def test_without_tokens_the_local_user_is_an_agent_and_makes_only_the_first(
    identity: Identity,
) -> None:
    local = identity.local("mcp")
    assert local
    assert local.agent
    assert local.operator
    assert local.subject == user()
    first = identity.local("cli", "token_create")
    assert first
    assert not first.agent
    over_mcp = identity.local("mcp", "token_create")
    assert over_mcp
    assert over_mcp.agent
    _, token = await make(identity, "root", operator=True)
    assert identity.local("mcp") is None
    assert identity.local("cli", "token_create") is None
    await make(identity, "root2", operator=True)
    await identity.tokens.revoke(token)
    assert identity.local("cli", "token_create") is None


async def test_a_revoked_token_is_worth_nothing_at_once(identity: Identity) -> None:
    await make(identity, "root", operator=True)
    token, id = await make(identity, "alice", tenants={"acme": Role.USER})
    assert await identity.identify(token, "rest")
    assert (await identity.tokens.revoke(id)).revoked
    assert await identity.identify(token, "rest") is None
    assert (await identity.tokens.revoke(id)).revoked, "twice does no harm"


async def test_an_expired_token_is_worth_nothing(identity: Identity, clock: Clock) -> None:
    await make(identity, "root", operator=True)
    token, _ = await make(identity, "alice", tenants={"acme": Role.USER}, expires_days=1)
    clock.now += timedelta(days=1)
    assert await identity.identify(token, "rest") is None


async def test_the_last_operators_token_cannot_be_revoked(identity: Identity) -> None:
    _, id = await make(identity, "root", operator=True)
    await make(identity, "bot", operator=True, agent=True, person="root")
    assert "last operator" in await refused(Code.FAILED_PRECONDITION, identity.tokens.revoke(id))
    await make(identity, "root2", operator=True)
    await identity.tokens.revoke(id)


async def test_the_last_use_is_kept(identity: Identity, clock: Clock) -> None:
    token, _ = await make(identity, "root", operator=True)
    assert [t.last_used for t in await identity.tokens.list()] == [None]
    await identity.identify(token, "rest")
    assert [t.last_used for t in await identity.tokens.list()] == [clock.now]


async def test_an_agent_is_never_allowed_more_than_its_person(identity: Identity) -> None:
    await make(identity, "root", operator=True)
    _, alices = await make(identity, "alice", tenants={"acme": Role.USER})
    more = make(identity, "bot", agent=True, person="alice", tenants={"acme": Role.ADMIN})
    assert "more than alice" in await refused(Code.PERMISSION_DENIED, more)
    over = make(identity, "bot", agent=True, person="alice", operator=True)
    await refused(Code.PERMISSION_DENIED, over)
    token, _ = await make(identity, "bot", agent=True, person="alice", tenants={"acme": Role.USER})
    caller = await identity.identify(token, "rest")
    assert caller
    assert (caller.subject, caller.person, caller.agent) == ("bot", "alice", True)
    await identity.tokens.revoke(alices)
    assert await identity.identify(token, "rest") is None, "its person is out, and so is it"


@pytest.mark.parametrize(
    ("what", "code", "says"),
    [
        ({}, Code.INVALID_ARGUMENT, "allow nothing"),
        ({"tenants": {"initech": Role.USER}}, Code.NOT_FOUND, "no tenant initech"),
        ({"tenants": {"acme": Role.OPERATOR}}, Code.INVALID_ARGUMENT, "no role in a tenant"),
        ({"operator": True, "person": "bob"}, Code.INVALID_ARGUMENT, "not be an agent"),
    ],
)
async def test_a_token_that_makes_no_sense_is_refused(
    identity: Identity, what: dict[str, Any], code: Code, says: str
) -> None:
    await make(identity, "root", operator=True)
    assert says in await refused(code, make(identity, "alice", **what))
    assert len(await identity.tokens.list()) == 1


async def test_the_same_token_is_not_taken_twice(identity: Identity) -> None:
    await make(identity, "root", operator=True)
    _, sha256 = new_token()
    what: dict[str, Any] = {
        "sha256": sha256, "subject": "a", "tenants": {}, "operator": True, "agent": False,
        "person": "", "expires_days": None,
    }  # fmt: skip
    await identity.tokens.create(ROOT, **what)
    await refused(Code.ALREADY_EXISTS, identity.tokens.create(ROOT, **what))


async def test_tokens_are_still_known_when_the_state_is_opened_again(tmp_path: Path) -> None:
    url = f"duckdb:///{tmp_path / 'state.duckdb'}"
    journal = await Journal.open(url)
    token, _ = await make(await Identity.open(journal, Tenants()), "root", operator=True)
    await journal.close()
    journal = await Journal.open(url)
    identity = await Identity.open(journal, Tenants())
    assert await identity.identify(token, "rest")
    assert identity.operators() == identity.count() == 1
    await journal.close()


async def test_a_caller_of_earlier_has_what_is_left_of_their_rights(identity: Identity) -> None:
    before = identity.local("mcp")
    assert before
    _, first = await make(identity, "root", operator=True)
    assert identity.still(before) == before, "asked before there were tokens"
    token, admins = await make(identity, "alice", tenants={"acme": Role.ADMIN})
    asked = await identity.identify(token, "mcp")
    assert asked
    assert identity.still(asked) == asked
    await make(identity, "alice", tenants={"acme": Role.VIEWER, "globex": Role.ADMIN})
    await identity.tokens.revoke(admins)
    left = identity.still(asked)
    assert left
    assert {t: g.role for t, g in left.grants.items()} == {"acme": Role.VIEWER}
    assert left.agent
    for info in await identity.tokens.list():
        if info.id != first:
            await identity.tokens.revoke(info.id)
    assert identity.still(asked) is None


async def test_people_who_are_operators_are_counted_once(identity: Identity) -> None:
    for subject in ("root", "root", "other"):
        await make(identity, subject, operator=True)
    await make(identity, "bot", operator=True, agent=True, person="root")
    assert identity.operators() == 2
