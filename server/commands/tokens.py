"""Tokens and invitations: made up here, so that only their hashes travel."""

from collections.abc import Mapping, Sequence
from typing import Any

from server.commands.running import caller, connected, must_have
from server.commands.show import err, out, show_json, show_rows
from tools.errors import Code, ToolError


async def create(
    asked: Mapping[str, Any], tenants: Sequence[str], role: str, json: bool, **where: Any
) -> int:
    from server.identity import new_token

    made, sha256 = new_token()
    asked = {**asked, "tenants": roles(tenants, role), "sha256": sha256}
    async with connected(strict=False, **where) as gate:
        info = must_have(await gate.call(caller(), "token_create", asked))
    if json:
        show_json(info | {"token": made})
    else:
        err.print(f"Token {info['id']} for {info['subject']}. It is shown this once:", style="dim")
        out.out(made, highlight=False)
    return 0


async def listed(json: bool, **where: Any) -> int:
    async with connected(strict=False, **where) as gate:
        answer = must_have(await gate.call(caller(), "token_list", {}))
    if json:
        show_json(answer)
    else:
        show_rows([_row(token) for token in answer["tokens"]])
    return 0


async def revoke(id: str, **where: Any) -> int:
    async with connected(strict=False, **where) as gate:
        info = must_have(await gate.call(caller(), "token_revoke", {"id": id}))
    err.print(f"Token {info['id']} of {info['subject']} is revoked.")
    return 0


async def invite(asked: Mapping[str, Any], json: bool, **where: Any) -> int:
    from server.identity import new_token

    code, sha256 = new_token("pi_")
    async with connected(strict=False, **where) as gate:
        made = {**asked, "invitation": sha256}
        info = must_have(await gate.call(caller(), "user_create", made))
    if json:
        show_json(info | {"invitation": code})
    else:
        err.print(
            f"Send this to {info['email']}; it is shown this once. They register with it on the "
            "page, at /register:",
            style="dim",
        )
        out.out(code, highlight=False)
    return 0


async def users(json: bool, **where: Any) -> int:
    async with connected(strict=False, **where) as gate:
        answer = must_have(await gate.call(caller(), "user_list", {}))
    if json:
        show_json(answer)
    else:
        show_rows([_user(user) for user in answer["users"]])
    return 0


def _user(user: Mapping[str, Any]) -> dict[str, Any]:
    roles = [f"{name}={role}" for name, role in user.get("workspaces", {}).items()]
    return {
        "id": user["id"],
        "subject": user["subject"],
        "name": user.get("name", ""),
        "is": "operator" if user["operator"] else " ".join(roles),
        "state": user["state"],
        "last used": user.get("last_used", "never")[:19],
    }


def _row(token: Mapping[str, Any]) -> dict[str, Any]:
    allows = [f"{tenant}={role}" for tenant, role in token.get("tenants", {}).items()]
    kind = f"agent of {token['person']}" if token["agent"] else "person"
    if token["person"] == "*":
        kind, allows = "Slack", ["who is linked there"]
    state = "revoked" if token.get("revoked") else f"until {token.get('expires', 'revoked')}"
    return {
        "id": token["id"],
        "subject": token["subject"],
        "is": kind,
        "allows": "operator" if token["operator"] else " ".join(allows),
        "last used": token.get("last_used", "never")[:19],
        "valid": state[:25],
    }


def roles(tenants: Sequence[str], role: str) -> dict[str, str]:
    """`acme` has the role given for all; `globex=viewer` has its own. Raises `ToolError`."""
    found = {}
    for word in tenants:
        tenant, _, own = word.partition("=")
        if not (own or role):
            raise ToolError(
                Code.INVALID_ARGUMENT,
                f"Which role in {tenant}?",
                "Give --role viewer, user or admin (or --tenant NAME=ROLE).",
            )
        found[tenant] = own or role
    return found
