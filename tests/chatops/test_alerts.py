"""Alertmanager's webhook, over a whole Pilothouse: what fired, what was found, what could be done."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr
from starlette.applications import Starlette

from chatops.alerts import Alerts, looker
from server.doors.hooks import hooks
from server.serving import listen, served
from tests.house import OLIVIA
from tests.lodging import Lodging, deployment
from tools.alerts import Incident
from tools.calls import Role, State
from tools.errors import Code

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]
TOKEN = "for-alerts"


class Hook:
    """Alertmanager, as it tells of what fires."""

    def __init__(self, home: Lodging, url: str) -> None:
        self.home, self.url = home, url
        self.alerts: Alerts = home.app.alerts
        self.shown: list[Incident] = []

    async def show(self, incident: Incident) -> None:
        self.shown.append(incident)

    async def post(self, body: Any, token: str = TOKEN, **options: Any) -> httpx.Response:
        options = options or {"headers": {"Authorization": f"Bearer {token}"}}
        async with httpx.AsyncClient() as client:
            return await client.post(f"{self.url}/hooks/alertmanager", json=body, **options)

    async def fires(self, *namespaces: str, status: str = "firing", group: str = "g") -> list[str]:
        answer = await self.post(notification(*namespaces, status=status, group=group))
        assert answer.status_code == 200, answer.text
        async with asyncio.timeout(30):
            while self.alerts.looking:
                await asyncio.wait(self.alerts.looking)
        return answer.json()["incidents"]


def notification(
    *namespaces: str, status: str = "firing", group: str = "g", **labels: str
) -> dict[str, Any]:
    about = {"alertname": "KubePodCrashLooping", "severity": "warning", "deployment": "web"}
    return {
        "version": "4", "groupKey": f'{{}}:{{alertname="{group}"}}', "truncatedAlerts": 0,
        "status": status, "receiver": "pilothouse", "groupLabels": {"alertname": "x"},
        "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://alertmanager:9093",
        "alerts": [
            {
                "status": status, "labels": about | {"namespace": namespace} | labels,
                "annotations": {"summary": "web restarts; token=abcdef0123456789"},
                "startsAt": "2026-11-21T13:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "", "fingerprint": "9c1f",
            }
            for namespace in namespaces
        ],
    }  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hook(home: Lodging) -> AsyncIterator[Hook]:
    listener = listen("127.0.0.1", 0)
    app = Starlette(routes=hooks(home.app.alerts, SecretStr(TOKEN)))
    async with served(app, listener, 1):
        hook = Hook(home, f"http://127.0.0.1:{listener.getsockname()[1]}")
        hook.alerts.boards.append(hook)
        yield hook


async def kept(hook: Hook, id: str) -> Incident:
    listed = await hook.home.call(OLIVIA, "alert_list")
    rows = (listed.answer or {})["incidents"]
    return next(Incident.model_validate(row) for row in rows if row["id"] == id)


async def test_what_fires_opens_a_thread_with_what_was_found_and_what_could_be_done(
    hook: Hook,
) -> None:
    tenant = hook.home.tenant
    scaled = await hook.home.done("workload_scale", tenant=tenant, name="web", replicas=1)
    (id,) = await hook.fires(tenant)
    incident = await kept(hook, id)
    assert incident.status == "firing"
    assert incident.workload == "Deployment/web"
    assert incident.title.startswith("KubePodCrashLooping: web restarts")
    assert "abcdef0123456789" not in incident.model_dump_json()
    found = {f.tool: f for f in incident.found}
    assert found["workload_get"].answer["name"] == "web"
    assert found["call_list"].answer["calls"][0]["id"] == scaled.call_id
    assert "events" in found["events_list"].answer
    assert "Prometheus" in found["workload_usage"].error  # none is set up here
    steps = {s.tool: s.arguments for s in incident.steps}
    assert steps["call_undo"] == {"id": scaled.call_id}
    which = {"tenant": tenant, "name": "web", "kind": "Deployment"}
    assert steps["workload_restart"] == which
    assert [i.id for i in hook.shown] == [id, id]  # at once, and with what was found
    assert hook.shown[0].found == []
    # A step is a call like any other, of whoever takes it.
    done = await hook.home.call(hook.home.user, "workload_restart", **which)
    assert done.state is State.SUCCEEDED


async def test_the_same_alert_again_and_its_end_change_the_thread_and_open_no_other(
    hook: Hook,
) -> None:
    tenant = hook.home.tenant
    (id,) = await hook.fires(tenant, group="again")
    first = await kept(hook, id)
    assert await hook.fires(tenant, group="again") == [id]
    again = await kept(hook, id)
    assert again.told == 2
    assert again.opened == first.opened
    assert [f.tool for f in again.found] == [f.tool for f in first.found]
    hook.shown.clear()
    assert await hook.fires(tenant, status="resolved", group="again") == [id]
    ended = await kept(hook, id)
    assert ended.status == "resolved"
    assert ended.steps == []
    assert ended.found != []
    assert hook.shown[-1].status == "resolved"


async def test_what_is_told_while_it_is_being_shown_is_shown_too(hook: Hook) -> None:
    slow, going = asyncio.Event(), asyncio.Event()

    class Slow:
        async def show(self, incident: Incident) -> None:
            going.set()
            await slow.wait()

    hook.alerts.boards.append(Slow())
    hook.shown.clear()
    first = notification(hook.home.tenant, group="slow", status="resolved")
    assert (await hook.post(first)).status_code == 200
    async with asyncio.timeout(30):
        await going.wait()
    again = notification(hook.home.tenant, group="slow", status="resolved")
    assert (await hook.post(again)).status_code == 200
    slow.set()
    async with asyncio.timeout(30):
        while hook.alerts.looking:
            await asyncio.wait(hook.alerts.looking)
    assert [incident.told for incident in hook.shown] == [1, 2]
    hook.alerts.boards.pop()


async def test_each_tenant_has_a_thread_of_its_own_that_others_do_not_see(hook: Hook) -> None:
    tenant, other = hook.home.tenant, f"{hook.home.tenant}-c"
    await hook.home.done("tenant_create", name=other, plan="free")
    await hook.home.done("resource_apply", tenant=other, manifest=deployment("web", 1))
    ids = await hook.fires(tenant, other, "kube-system", group="several")
    assert len(set(ids)) == 3
    theirs = await kept(hook, ids[1])
    assert {f.arguments["tenant"] for f in theirs.found} == {other}
    nobodys = await kept(hook, ids[2])
    assert (nobodys.tenant, nobodys.found) == ("", [])  # only operators look into it
    member = await hook.home.member(other, Role.VIEWER)
    seen = await hook.home.call(member, "alert_list")
    assert [row["id"] for row in (seen.answer or {})["incidents"]] == [ids[1]]
    refused = await hook.home.call(member, "alert_list", tenant=tenant)
    assert refused.error
    assert refused.error.code is Code.NOT_FOUND
    await hook.home.kube.api.request("DELETE", f"/api/v1/namespaces/{other}")


async def test_who_looks_can_change_nothing_and_see_no_other_tenant(hook: Hook) -> None:
    (id,) = await hook.fires(hook.home.tenant, group="looks")
    incident = await kept(hook, id)
    me = looker(incident.tenant, incident.tenant_uid)
    offered = await hook.home.app.gate.tools(me)
    assert {info.effect for info in offered} <= {"read", "stream"}
    for tool, arguments in (
        ("workload_restart", {"tenant": incident.tenant, "name": "web"}),
        ("workload_list", {"tenant": "somebody-elses"}),
        ("call_approve", {"id": "a1b2c3"}),
        ("token_list", {}),
    ):
        outcome = await hook.home.call(me, tool, **arguments)
        assert outcome.state is State.DENIED, tool


async def test_only_alertmanager_gets_in(hook: Hook) -> None:
    body = notification("kube-system")
    for options in ({"token": "wrong"}, {"token": TOKEN[:-1]}, {"auth": ("am", "wrong")}, {"headers": {}},
                    {"headers": {"Authorization": "Basic !"}}):  # fmt: skip
        answer = await hook.post(body, **options)
        assert answer.status_code == 401, options
    assert (await hook.post(body, auth=("alertmanager", TOKEN))).status_code == 200


async def test_what_is_no_notification_is_refused(hook: Hook) -> None:
    good = notification("kube-system")
    for bad in ({}, [], {**good, "version": "3"}, {**good, "alerts": []}, {**good, "status": "?"},
                {**good, "alerts": [{"status": "firing", "labels": {"namespace": 3}}]}):  # fmt: skip
        answer = await hook.post(bad)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")


async def test_without_a_token_nothing_is_taken_in(home: Lodging) -> None:
    listener = listen("127.0.0.1", 0)
    async with served(Starlette(routes=hooks(home.app.alerts, SecretStr(""))), listener, 1):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/hooks/alertmanager"
        async with httpx.AsyncClient() as client:
            answer = await client.post(url, json=notification("x"), auth=("", ""))
    assert answer.status_code == 409
    assert "alertmanager.token" in answer.json()["hint"]
