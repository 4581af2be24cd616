"""A whole Pilothouse for tests: the app over a cluster and a practice account, and people in it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from server.app import App, open_app
from server.identity import Identity
from server.settings import Settings, load
from tools.calls import Caller, Grant, Outcome, Role, State

# A test asks as fast as it can.
UNHURRIED: dict[str, Any] = {
    "grace_s": 1, "calls_per_second": 0, "address_per_second": 0, "sign_ins_per_minute": 0,
    "concurrent": 0, "waiting": 100_000,
}  # fmt: skip
OLIVIA = Caller.of("olivia", operator=True, door="cli")
OSCAR = Caller.of("oscar", operator=True, door="cli")
AGENT = Caller.of("olivia-agent", person="olivia", operator=True, agent=True, door="mcp")


@dataclass
class House:
    """`call` is the gate's; `done` is for what must succeed, approved by Oscar where it waits."""

    app: App

    async def call(self, who: Caller, tool: str, /, **arguments: Any) -> Outcome:
        return await self.app.gate.call(who, tool, arguments, wait_s=60)

    async def done(self, tool: str, /, **arguments: Any) -> Outcome:
        outcome = await self.call(OLIVIA, tool, **arguments)
        if outcome.state.waiting:
            outcome = await self.call(OSCAR, "call_approve", id=outcome.call_id)
        assert outcome.state is State.SUCCEEDED, outcome
        return outcome

    async def state(self, call_id: str | None) -> State:
        shown = await self.call(OLIVIA, "call_get", id=call_id)
        assert shown.answer is not None
        return State(shown.answer["call"]["outcome"]["state"])

    async def settled(self) -> None:
        """Wait for what the advisor does in the background."""
        advisor = self.app.local_gate.advisor
        assert advisor is not None
        async with asyncio.timeout(30):
            while advisor.settling:
                await asyncio.gather(*advisor.settling)

    async def member(self, tenant: str, role: Role, name: str = "", **fields: Any) -> Caller:
        """Somebody with a role in a tenant that is there."""
        found = await self.app.local_gate.tenants.find(tenant)
        assert found is not None
        name = name or f"{role.value}-of-{tenant}"
        grants = {tenant: Grant(role=role, uid=found.uid)}
        return Caller.of(name, grants=grants, door="cli", **fields)


def settings(state: Path, kubeconfig: str, aws_url: str, **options: Any) -> Settings:
    """Settings for a cluster and a practice account; the state is a directory."""
    return load(
        state=str(state),
        kubeconfig=kubeconfig,
        aws={
            "region": "eu-west-1",
            "bucket": "tenants",
            "endpoint": aws_url,
            "oidc_provider": "oidc.example/id/1",
        },
        **{"limits": UNHURRIED, **options},
    )


@asynccontextmanager
async def opened(settings: Settings, **options: Any) -> AsyncIterator[House]:
    """People of the house are believed without tokens: tokens have tests of their own."""
    # From the start: what a stop or a crash left is taken up there and then.
    with mock.patch.object(Identity, "still", lambda self, caller: caller):
        async with open_app(settings, **options) as app:
            yield House(app)


def changes(outcome: Outcome) -> Mapping[str, Any]:
    """What an outcome says was changed, by path."""
    return {d.path: d.after for change in outcome.changes for d in change.diff}
