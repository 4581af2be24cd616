"""An identity provider's tokens, against one over a real socket."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from server.identity import Identity, issuer
from server.identity.issuer import Issuer
from server.journal import Journal
from server.settings_identity import Oidc
from tests.server.identity.provider import Provider, ec_key, provider, rsa_key
from tests.server.identity.test_tokens import Clock, Tenants, make
from tools.errors import Code, ToolError

AUDIENCE = ("https://pilot.example/mcp",)


class Seconds:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def idp() -> AsyncIterator[Provider]:
    async with provider() as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def known(idp: Provider, tmp_path: Path, clock: Clock, **options: Any) -> Identity:
    journal = await Journal.open(f"duckdb:///{tmp_path / 'state.duckdb'}")
    oidc = Oidc(issuer=idp.url, **options)
    return await Identity.open(journal, Tenants(), clock, oidc, AUDIENCE)


@pytest.fixture
async def identity(idp: Provider, tmp_path: Path, clock: Clock) -> AsyncIterator[Identity]:
    made = await known(
        idp, tmp_path, clock, operators=["ops"], agents=["robot"], roles={"dev": {"globex": "user"}}
    )
    yield made
    await shut(made)


async def shut(identity: Identity) -> None:
    await identity.close()
    await identity.people.rows._journal.close()


async def refused(awaitable: Any, code: Code = Code.UNAUTHENTICATED) -> str:
    with pytest.raises(ToolError) as caught:
        await awaitable
    assert caught.value.code is code, caught.value
    return str(caught.value)


async def test_groups_become_a_role_in_each_tenant(idp: Provider, identity: Identity) -> None:
    groups = ["acme:viewer", "acme:admin", "acme:user", "dev", "acme:operator", "staff", 7]
    caller = await identity.identify(idp.token(groups=groups), "rest")
    assert caller
    assert {t: (g.role, g.uid) for t, g in caller.grants.items()} == {
        "acme": ("admin", "uid-1"), "globex": ("user", "uid-2"),
    }  # fmt: skip
    assert (caller.subject, caller.person, caller.agent, caller.operator) == (
        "alice", "alice", False, False,
    )  # fmt: skip


async def test_a_group_makes_an_operator_and_a_client_an_agent(
    idp: Provider, identity: Identity
) -> None:
    olivia = await identity.identify(idp.token(sub="olivia", groups="staff ops"), "rest")
    assert olivia
    assert olivia.operator
    assert identity.operators() == 1
    robot = await identity.identify(idp.token(sub="r2", groups=["ops"], azp="robot"), "rest")
    assert robot
    assert robot.agent
    assert identity.operators() == 1, "a program is none"
    over_mcp = await identity.identify(idp.token(sub="olivia", groups=["ops"]), "mcp")
    assert over_mcp
    assert over_mcp.agent


async def test_who_acts_for_somebody_is_an_agent_with_no_more_than_their_rights(
    idp: Provider, identity: Identity
) -> None:
    await identity.identify(idp.token(groups=["acme:user"]), "rest")
    acting = idp.token(groups=["acme:admin", "globex:user"], act={"sub": "helper"})
    caller = await identity.identify(acting, "rest")
    assert caller
    assert (caller.subject, caller.person, caller.agent) == ("helper", "alice", True)
    assert {t: g.role for t, g in caller.grants.items()} == {"acme": "user"}


async def test_a_nested_claim_and_another_pattern_are_read(
    idp: Provider, tmp_path: Path, clock: Clock
) -> None:
    options = {"groups": "realm_access.roles", "pattern": "k8s/{role}/{tenant}", "subject": "email"}
    identity = await known(idp, tmp_path, clock, **options)
    said = {"realm_access": {"roles": ["k8s/admin/acme", "acme:user"]}, "email": "a@x.example"}
    caller = await identity.identify(idp.token(**said), "rest")
    assert caller
    assert caller.subject == "a@x.example"
    assert {t: g.role for t, g in caller.grants.items()} == {"acme": "admin"}
    unverified = idp.token(**said, email_verified=False)
    assert "never verified" in await refused(identity.identify(unverified, "rest"))
    await shut(identity)


async def test_who_has_no_group_that_is_a_role_is_told_so(
    idp: Provider, identity: Identity
) -> None:
    said = await refused(identity.identify(idp.token(), "rest"), Code.PERMISSION_DENIED)
    assert "alice may do nothing here" in said
    initech = idp.token(groups=["initech:admin"])
    await refused(identity.identify(initech, "rest"), Code.PERMISSION_DENIED)
    assert not identity.people.rows.all, "and nothing is kept of them"


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"aud": "https://other.example"}, "another audience"),
        ({"aud": None}, "says no aud"),
        ({"iss": "https://other.example"}, "another issuer"),
        ({"exp": int(time.time()) - 60}, "expired"),
        ({"exp": None}, "says no exp"),
        ({"nbf": int(time.time()) + 86_400}, "not valid yet"),
        ({"iat": None}, "says no iat"),
        ({"sub": None}, "says no sub"),
        ({"sub": "a b"}, "names nobody"),
        ({"sub": ""}, "names nobody"),
    ],
)
async def test_a_token_that_is_not_right_is_refused_with_the_reason(
    idp: Provider, identity: Identity, claims: dict[str, Any], says: str
) -> None:
    assert says in await refused(identity.identify(idp.token(groups=["ops"], **claims), "rest"))


def forged(idp: Provider, algorithm: str, secret: bytes = b"") -> str:
    """A token signed with nothing, or with what everybody knows."""

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    header = json.dumps({"alg": algorithm, "typ": "JWT", "kid": idp.keys[0].id}).encode()
    body = idp.token(groups=["ops"]).split(".")[1]
    signed = f"{part(header)}.{body}"
    signature = hmac.digest(secret, signed.encode(), hashlib.sha256) if secret else b""
    return f"{signed}.{part(signature)}"


async def test_a_token_signed_with_nothing_or_the_public_key_is_refused(
    idp: Provider, identity: Identity
) -> None:
    public = idp.keys[0].private.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for token in (forged(idp, "none"), forged(idp, "HS256", pem), forged(idp, "None")):
        assert "not taken" in await refused(identity.identify(token, "rest"))


async def test_a_signature_of_another_key_and_a_changed_token_are_refused(
    idp: Provider, identity: Identity
) -> None:
    other = rsa_key()
    other.id = idp.keys[0].id
    assert "signature" in await refused(identity.identify(idp.token(other, groups=["ops"]), "rest"))
    head, _, tail = idp.token(groups=["acme:viewer"]).split(".")
    body = idp.token(groups=["ops"]).split(".")[1]
    await refused(identity.identify(f"{head}.{body}.{tail}", "rest"))
    crossed = ec_key()
    crossed.id = idp.keys[0].id
    assert "no such key" in await refused(identity.identify(idp.token(crossed), "rest"))
    assert "too long" in await refused(identity.identify("a.b." + "c" * 20_000, "rest"))


@pytest.mark.parametrize("key", [rsa_key("PS256"), ec_key()], ids=["PS256", "ES256"])
async def test_other_asymmetric_keys_are_taken(idp: Provider, identity: Identity, key: Any) -> None:
    idp.keys = [key]
    assert await identity.identify(idp.token(groups=["ops"]), "rest")


async def test_a_new_key_is_known_at_once_and_an_old_one_soon_forgotten(idp: Provider) -> None:
    seconds = Seconds()
    one = Issuer(Oidc(issuer=idp.url), seconds)
    old = idp.token()
    await one.claims(old, AUDIENCE)
    idp.keys.insert(0, ec_key())
    seconds.now += issuer.FLOOR_S
    assert (await one.claims(idp.token(), AUDIENCE))["sub"] == "alice"
    await one.claims(old, AUDIENCE)
    del idp.keys[1]
    seconds.now += issuer.RENEWED_S
    assert "no such key" in await refused(one.claims(old, AUDIENCE))
    await one.close()


async def test_a_flood_of_unknown_keys_reaches_the_provider_once_in_a_while(idp: Provider) -> None:
    seconds = Seconds()
    one = Issuer(Oidc(issuer=idp.url), seconds)
    for _ in range(3):
        seconds.now += issuer.FLOOR_S
        for n in range(50):
            await refused(one.claims(idp.token(header={"kid": f"made-up-{n}"}), AUDIENCE))
    assert idp.asked["/keys"] == 3
    await one.close()


async def test_a_provider_that_is_away_lets_in_whose_keys_are_known(idp: Provider) -> None:
    seconds = Seconds()
    one = Issuer(Oidc(issuer=idp.url), seconds)
    idp.breaks = True
    assert "500" in await refused(one.claims(idp.token(), AUDIENCE), Code.UNAVAILABLE)
    await refused(one.claims(idp.token(), AUDIENCE), Code.UNAVAILABLE)
    assert sum(idp.asked.values()) == 1, "and is left in peace for a moment"
    idp.breaks = False
    seconds.now += issuer.FLOOR_S
    await one.claims(idp.token(), AUDIENCE)
    idp.breaks = True
    seconds.now += issuer.RENEWED_S
    await one.claims(idp.token(), AUDIENCE)
    seconds.now += issuer.KEPT_S
    await refused(one.claims(idp.token(), AUDIENCE), Code.UNAVAILABLE)
    await one.close()


async def test_a_provider_that_sends_us_elsewhere_is_not_followed(idp: Provider) -> None:
    async with provider() as other:
        idp.moved_to = f"{other.url}/keys"
        one = Issuer(Oidc(issuer=idp.url))
        assert "307" in await refused(one.claims(idp.token(), AUDIENCE), Code.UNAVAILABLE)
        assert not other.asked
        await one.close()


async def test_a_provider_with_another_name_is_not_believed(idp: Provider) -> None:
    one = Issuer(Oidc(issuer=idp.url + "/"))
    assert "calls itself" in await refused(one.claims(idp.token(), AUDIENCE), Code.UNAVAILABLE)
    await one.close()


async def test_what_was_asked_with_a_token_holds_as_long_as_what_it_said(
    idp: Provider, identity: Identity, clock: Clock
) -> None:
    asked = await identity.identify(idp.token(groups=["acme:admin"]), "mcp")
    assert asked
    assert identity.still(asked) == asked
    await identity.identify(idp.token(groups=["acme:viewer"]), "rest")
    left = identity.still(asked)
    assert left
    assert {t: g.role for t, g in left.grants.items()} == {"acme": "viewer"}
    clock.now += timedelta(hours=25)
    assert identity.still(asked) is None


async def test_who_is_known_as_somebody_else_is_not_let_in(
    idp: Provider, identity: Identity
) -> None:
    row = identity.people.new(subject="bob", person="bob", email="bob@x.example", created_by="root")
    await identity.people.rows.add(row)
    token = idp.token(sub="bob", groups=["ops"])
    assert "somebody else" in await refused(identity.identify(token, "rest"))


async def test_one_person_with_a_token_and_the_provider_is_one_person(
    idp: Provider, identity: Identity
) -> None:
    await make(identity, "olivia", operator=True)
    caller = await identity.identify(idp.token(sub="olivia", groups=["ops"]), "rest")
    assert caller
    assert identity.operators() == 1


async def test_what_is_known_of_people_is_still_known_when_opened_again(
    idp: Provider, tmp_path: Path, clock: Clock
) -> None:
    options = {"operators": ["ops"]}
    first = await known(idp, tmp_path, clock, **options)
    asked = await first.identify(idp.token(groups=["ops"], email="A@x.example"), "mcp")
    assert asked
    assert first.subject_by_email("a@X.example") == "alice"
    await shut(first)
    again = await known(idp, tmp_path, clock, **options)
    assert again.still(asked) == asked
    await shut(again)
