"""People who sign in with a password."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from server.identity import Identity, new_token
from server.journal import Journal
from server.settings_identity import People
from tests.server.identity.test_tokens import ROOT, Clock, Tenants, make, refused
from tools.calls import Caller, Role
from tools.errors import Code, ToolError

ADA = "ada@acme.example"
WORDS = "correct horse battery"


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


async def invited(identity: Identity, email: str = ADA, **what: Any) -> tuple[str, str]:
    """An invitation, and the user's id."""
    code, sha256 = new_token("pi_")
    given = {"name": "", "operator": False, "invitation": sha256, "password_hash": ""} | what
    info = await identity.accounts.create(ROOT, email=email, **given)
    return code, info.id


async def registered(identity: Identity, email: str = ADA, **what: Any) -> str:
    code, id = await invited(identity, email, **what)
    await identity.sign_in.register(email, WORDS, "Ada", code)
    return id


async def denied(code: Code, awaitable: Any) -> ToolError:
    with pytest.raises(ToolError) as caught:
        await awaitable
    assert caught.value.code is code, caught.value
    return caught.value


async def test_who_was_invited_registers_and_signs_in(identity: Identity) -> None:
    code, _ = await invited(identity, operator=True)
    assert (await identity.accounts.list())[0].state == "invited"
    assert identity.operators() == 0, "not before they registered"
    await identity.sign_in.register("Ada@ACME.example", WORDS, "Ada", code)
    _, signed = await identity.sign_in.login(" ADA@acme.example", WORDS)
    caller = await identity.identify(signed.access, "rest")
    assert caller
    assert (caller.subject, caller.person, caller.operator, caller.agent) == (ADA, ADA, True, False)
    over_mcp = await identity.identify(signed.access, "mcp")
    assert over_mcp
    assert over_mcp.agent
    assert identity.operators() == 1
    assert identity.subject_by_email("ADA@acme.example") == ADA


async def test_an_invitation_is_for_one_address_once_and_for_a_time(
    identity: Identity, clock: Clock
) -> None:
    code, _ = await invited(identity)
    await invited(identity, "bob@acme.example")
    sign_in = identity.sign_in
    await denied(Code.UNAUTHENTICATED, sign_in.register("bob@acme.example", WORDS, "", code))
    await denied(Code.UNAUTHENTICATED, sign_in.register(ADA, WORDS, "", "pi_other"))
    await denied(Code.PERMISSION_DENIED, sign_in.register("eve@acme.example", WORDS, "", ""))
    clock.now += timedelta(days=8)
    await denied(Code.UNAUTHENTICATED, sign_in.register(ADA, WORDS, "", code))
    clock.now -= timedelta(days=8)
    results = await asyncio.gather(
        *(sign_in.register(ADA, WORDS, "", code) for _ in range(3)), return_exceptions=True
    )
    assert sum(not isinstance(r, ToolError) for r in results) == 1
    await denied(Code.UNAUTHENTICATED, sign_in.register(ADA, "another good one", "", code))


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaaaa", "Ada@acme.example", "x" * 300])
async def test_a_password_that_is_easily_guessed_is_not_taken(
    identity: Identity, password: str
) -> None:
    code, _ = await invited(identity)
    error = await denied(Code.INVALID_ARGUMENT, identity.sign_in.register(ADA, password, "", code))
    assert password not in str(error)


async def test_open_registration_lets_in_and_allows_nothing(tmp_path: Path, clock: Clock) -> None:
    journal = await Journal.open(f"duckdb:///{tmp_path / 'state.duckdb'}")
    people = People(registration="open")
    identity = await Identity.open(journal, Tenants(), clock, signing=people)
    await make(identity, "olivia@acme.example", operator=True)
    await identity.sign_in.register(ADA, WORDS, "Ada", "")
    _, signed = await identity.sign_in.login(ADA, WORDS)
    caller = await identity.identify(signed.access, "rest")
    assert caller
    assert not caller.operator
    assert not caller.grants
    for taken in (ADA, "Olivia@acme.example"):
        await denied(Code.ALREADY_EXISTS, identity.sign_in.register(taken, WORDS, "", ""))
    await identity.close()
    await journal.close()


async def test_a_bcrypt_hash_is_taken_and_made_anew_at_the_first_sign_in(
    identity: Identity,
) -> None:
    old = bcrypt.hashpw(WORDS.encode(), bcrypt.gensalt(4)).decode()
    await invited(identity, invitation="", password_hash=old)
    await denied(Code.UNAUTHENTICATED, identity.sign_in.login(ADA, "something else"))
    await identity.sign_in.login(ADA, WORDS)
    row = identity.people.by_email(ADA)
    assert row
    assert row["password"].startswith("$argon2id$")
    await identity.sign_in.login(ADA, WORDS)
    await refused(Code.INVALID_ARGUMENT, invited(identity, "b@x.example", password_hash="md5"))


async def test_unknown_and_wrong_are_told_alike_and_take_as_long(identity: Identity) -> None:
    await registered(identity)
    said, took = [], {"ada": [], "eve": []}
    for n in range(4):
        for who in took:
            began = time.perf_counter()
            email = ADA if who == "ada" else f"eve{n}@acme.example"
            said.append(str(await denied(Code.UNAUTHENTICATED, identity.sign_in.login(email, "x"))))
            took[who].append(time.perf_counter() - began)
    assert len(set(said)) == 1
    known, unknown = (statistics.median(times[1:]) for times in took.values())
    # Without a hash to check it would be a hundredth.
    assert 1 / 3 < known / unknown < 3


async def test_too_many_wrong_passwords_are_to_be_waited_for_longer_and_longer(
    identity: Identity, clock: Clock
) -> None:
    await registered(identity)
    waits = []
    for email in (ADA, "nobody@acme.example"):
        for _ in range(5):
            await denied(Code.UNAUTHENTICATED, identity.sign_in.login(email, "wrong"))
        first = await denied(Code.RESOURCE_EXHAUSTED, identity.sign_in.login(email, WORDS))
        clock.now += timedelta(seconds=first.retry_after or 0)
        await denied(Code.UNAUTHENTICATED, identity.sign_in.login(email, "wrong"))
        second = await denied(Code.RESOURCE_EXHAUSTED, identity.sign_in.login(email, WORDS))
        assert first.retry_after
        assert second.retry_after == 2 * first.retry_after
        waits.append((first.retry_after, str(first)))
        clock.now += timedelta(seconds=second.retry_after)
    assert waits[0] == waits[1], "nobody learns who is known"
    await identity.sign_in.login(ADA, WORDS)
    await denied(Code.UNAUTHENTICATED, identity.sign_in.login(ADA, "wrong"))


async def test_tries_side_by_side_are_not_all_free(identity: Identity) -> None:
    await registered(identity)
    results = await asyncio.gather(
        *(identity.sign_in.login(ADA, f"wrong {n}") for n in range(12)), return_exceptions=True
    )
    codes = [error.code for error in results if isinstance(error, ToolError)]
    assert codes.count(Code.UNAUTHENTICATED) == 5
    assert codes.count(Code.RESOURCE_EXHAUSTED) == 7


async def test_an_access_token_is_short_and_a_refresh_token_good_once(
    identity: Identity, clock: Clock
) -> None:
    await registered(identity, operator=True)
    _, first = await identity.sign_in.login(ADA, WORDS)
    clock.now += timedelta(minutes=15)
    assert await identity.identify(first.access, "rest") is None
    second = await identity.sign_in.refresh(first.refresh)
    assert await identity.identify(second.access, "rest")
    await denied(Code.UNAUTHENTICATED, identity.sign_in.refresh(first.refresh))
    assert await identity.identify(second.access, "rest") is None, "the family has ended"
    await denied(Code.UNAUTHENTICATED, identity.sign_in.refresh(second.refresh))


async def test_of_two_that_refresh_at_once_one_wins_and_the_family_ends(
    identity: Identity,
) -> None:
    await registered(identity, operator=True)
    _, signed = await identity.sign_in.login(ADA, WORDS)
    results = await asyncio.gather(
        *(identity.sign_in.refresh(signed.refresh) for _ in range(5)), return_exceptions=True
    )
    won = [r for r in results if not isinstance(r, BaseException)]
    assert len(won) <= 1
    for one in won:
        assert await identity.identify(one.access, "rest") is None


async def test_nobody_stays_signed_in_forever(identity: Identity, clock: Clock) -> None:
    await registered(identity)
    _, signed = await identity.sign_in.login(ADA, WORDS)
    clock.now += timedelta(days=29)
    signed = await identity.sign_in.refresh(signed.refresh)
    clock.now += timedelta(days=1)
    await denied(Code.UNAUTHENTICATED, identity.sign_in.refresh(signed.refresh))


@pytest.mark.parametrize("with_refresh", [False, True])
async def test_who_signs_out_is_out(identity: Identity, with_refresh: bool) -> None:
    await registered(identity)
    _, signed = await identity.sign_in.login(ADA, WORDS)
    await identity.sign_in.logout(signed.refresh if with_refresh else signed.access)
    assert await identity.identify(signed.access, "rest") is None
    await denied(Code.UNAUTHENTICATED, identity.sign_in.refresh(signed.refresh))
    await identity.sign_in.logout("pa_unknown")


async def test_a_new_password_ends_all_other_sessions(identity: Identity) -> None:
    await registered(identity)
    _, here = await identity.sign_in.login(ADA, WORDS)
    _, elsewhere = await identity.sign_in.login(ADA, WORDS)
    change = identity.sign_in.change_password
    await denied(Code.UNAUTHENTICATED, change(here.access, "wrong", "quite another one"))
    await denied(Code.UNAUTHENTICATED, change("ph_x", WORDS, "quite another one"))
    await change(here.access, WORDS, "quite another one")
    assert await identity.identify(here.access, "rest")
    assert await identity.identify(elsewhere.access, "rest") is None
    await denied(Code.UNAUTHENTICATED, identity.sign_in.login(ADA, WORDS))
    await identity.sign_in.login(ADA, "quite another one")


async def test_who_is_shut_out_is_out_at_once_and_may_come_back(identity: Identity) -> None:
    await make(identity, "root", operator=True)
    id = await registered(identity, operator=True)
    _, signed = await identity.sign_in.login(ADA, WORDS)
    asked = await identity.identify(signed.access, "mcp")
    assert asked
    await identity.accounts.change(ROOT, id, disabled=True)
    assert await identity.identify(signed.access, "rest") is None
    assert identity.still(asked) is None
    await denied(Code.UNAUTHENTICATED, identity.sign_in.login(ADA, WORDS))
    await identity.accounts.change(ROOT, id, disabled=False)
    await identity.sign_in.login(ADA, WORDS)


async def test_who_is_deleted_leaves_nothing_to_who_has_the_name_next(identity: Identity) -> None:
    id = await registered(identity)
    await identity.workspaces.create(
        ROOT, name="web", description="", tenants=["acme"], members={ADA: Role.ADMIN}
    )
    _, signed = await identity.sign_in.login(ADA, WORDS)
    asked = await identity.identify(signed.access, "rest")
    assert asked
    await identity.accounts.delete(id)
    assert identity.still(asked) is None
    row = identity.people.rows.all[id]
    assert (row["email"], row["name"], row["password"]) == ("", "", "")
    await registered(identity)
    _, signed = await identity.sign_in.login(ADA, WORDS)
    again = await identity.identify(signed.access, "rest")
    assert again
    assert not again.grants


async def test_the_last_operator_stays(identity: Identity) -> None:
    id = await registered(identity, operator=True)
    for change in ({"disabled": True}, {"operator": False}):
        await denied(Code.FAILED_PRECONDITION, identity.accounts.change(ROOT, id, **change))
    await denied(Code.FAILED_PRECONDITION, identity.accounts.delete(id))


async def test_a_workspace_gives_its_members_a_role_in_its_tenants(identity: Identity) -> None:
    await registered(identity)
    workspaces = identity.workspaces
    made = await workspaces.create(
        ROOT, name="web", description="", tenants=["acme", "globex"], members={ADA: Role.USER}
    )
    _, signed = await identity.sign_in.login(ADA, WORDS)
    ada = await identity.identify(signed.access, "rest")
    assert ada
    assert {t: (g.role, g.uid) for t, g in ada.grants.items()} == {
        "acme": ("user", "uid-1"), "globex": ("user", "uid-2"),
    }  # fmt: skip
    assert identity.still(ada) == ada
    await denied(Code.PERMISSION_DENIED, workspaces.change(ada, made.id, members={ADA: Role.ADMIN}))
    await workspaces.change(ROOT, "web", members={ADA: Role.ADMIN}, tenants=["acme"])
    ada = await identity.identify(signed.access, "rest")
    assert ada
    assert {t: g.role for t, g in ada.grants.items()} == {"acme": "admin"}
    both = {ADA: Role.ADMIN, "bob@acme.example": Role.VIEWER}
    assert (await workspaces.change(ada, "web", members=both)).members == both
    await denied(Code.PERMISSION_DENIED, workspaces.change(ada, "web", tenants=["globex"]))
    bob = Caller.of("carol")
    assert list(await workspaces.list(bob)) == []
    await denied(Code.NOT_FOUND, workspaces.get(bob, made.id))
    await workspaces.delete(ROOT, made.id)
    ada = await identity.identify(signed.access, "rest")
    assert ada
    assert not ada.grants


async def test_a_tenant_made_anew_is_not_in_its_workspace(identity: Identity) -> None:
    await registered(identity)
    await identity.workspaces.create(
        ROOT, name="web", description="", tenants=["acme"], members={ADA: Role.USER}
    )
    identity.workspaces._directory.uids["acme"] = "uid-9"  # type: ignore[attr-defined]
    _, signed = await identity.sign_in.login(ADA, WORDS)
    ada = await identity.identify(signed.access, "rest")
    assert ada
    assert ada.grants["acme"].uid == "uid-1"


async def test_an_agents_token_is_held_to_what_its_person_has_here(identity: Identity) -> None:
    await make(identity, "root", operator=True)
    await registered(identity)
    await identity.workspaces.create(
        ROOT, name="web", description="", tenants=["acme"], members={ADA: Role.USER}
    )
    token, _ = await make(identity, "bot", agent=True, person=ADA, tenants={"acme": Role.USER})
    assert await identity.identify(token, "rest")
    await identity.workspaces.change(ROOT, "web", members={ADA: Role.VIEWER})
    bot = await identity.identify(token, "rest")
    assert bot
    assert {t: g.role for t, g in bot.grants.items()} == {"acme": "viewer"}


async def test_passwords_and_tokens_are_stored_nowhere(identity: Identity, tmp_path: Path) -> None:
    code, _ = await invited(identity)
    await identity.sign_in.register(ADA, WORDS, "", code)
    _, signed = await identity.sign_in.login(ADA, WORDS)
    await denied(Code.UNAUTHENTICATED, identity.sign_in.login("typed-a-password@x.example", "y"))
    await identity.close()
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    for secret in (code, WORDS, signed.access, signed.refresh, "typed-a-password@x.example"):
        assert secret.encode() not in stored


async def test_people_are_still_known_when_the_state_is_opened_again(
    tmp_path: Path, clock: Clock
) -> None:
    url = f"duckdb:///{tmp_path / 'state.duckdb'}"
    journal = await Journal.open(url)
    first = await Identity.open(journal, Tenants(), clock)
    await registered(first, operator=True)
    _, signed = await first.sign_in.login(ADA, WORDS)
    for _ in range(5):
        await denied(Code.UNAUTHENTICATED, first.sign_in.login(ADA, "wrong"))
    await first.close()
    await journal.close()
    journal = await Journal.open(url)
    again = await Identity.open(journal, Tenants(), clock)
    assert await again.identify(signed.access, "rest")
    await denied(Code.RESOURCE_EXHAUSTED, again.sign_in.login(ADA, WORDS))
    await again.close()
    await journal.close()
