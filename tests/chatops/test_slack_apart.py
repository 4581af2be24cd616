"""`pilothouse slack` as a process of its own beside a server, and what its token is good for."""

import itertools
import json
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from chatops.conversation import Done
from server.commands.serving import serving
from server.identity import new_token
from server.remote_chat import RemoteHouse
from tests.chatops.anthropic_server import KEY, AnthropicServer, says, uses
from tests.chatops.slack_scene import (
    ACME,
    LOOSE,
    OLIVIA,
    OPS,
    OSCAR,
    STRANGER,
    STRICT,
    VERA,
    in_one_task,
    person,
)
from tests.chatops.slack_server import (
    APP_TOKEN,
    TEAM,
    TOKEN,
    SlackServer,
    labels,
    shown,
    slack_server,
)
from tests.conftest import ROOT, reached
from tests.house import OLIVIA as BOSS
from tests.house import House, opened, settings
from tests.lodging import deployment, with_bucket
from tests.processes import Forked, fork, run
from tools.calls import Caller, Role
from tools.errors import Code, ToolError

USER = "X-Pilothouse-User"
_numbers = itertools.count(1)
SLACK: dict[str, Any] = {"bot_token": TOKEN, "app_token": APP_TOKEN, "apart": True}


async def token_for_slack(app: Any) -> tuple[str, str]:
    """The token, and its id."""
    token, sha256 = new_token()
    made = {"subject": "slack", "sha256": sha256, "slack": True}
    info = (await app.gate.call(BOSS, "token_create", made)).answer
    assert info["person"] == "*"
    return token, info["id"]


@dataclass
class World:
    """Settings as a file in `folder`, the tokens of people and of Slack, and a tenant."""

    folder: Path
    slack: SlackServer
    tenant: str = field(default_factory=lambda: f"t-{uuid.uuid4().hex[:8]}")
    tokens: dict[str, str] = field(default_factory=dict)
    id: str = ""
    url: str = ""

    @property
    def file(self) -> str:
        return str(self.folder / "p.toml")

    def write(self, aws_url: str) -> None:
        policy = self.folder / "policy.cedar"
        policy.write_text((ROOT / "server" / "policy.cedar").read_text() + STRICT)
        (self.folder / "p.toml").write_text(
            f'state = "{self.folder}/state"\nkubeconfig = "{self.folder}/kubeconfig"\n'
            f'policy = "{policy}"\n[aws]\nregion = "eu-west-1"\nbucket = "tenants"\n'
            f'endpoint = "{aws_url}"\noidc_provider = "oidc.example/id/1"\n'
            "[limits]\ngrace_s = 1\ncalls_per_second = 0\n"
            f'[slack]\nbot_token = "{TOKEN}"\napp_token = "{APP_TOKEN}"\napart = true\n'
            f'api = "{self.slack.url}/api/"\napprovers = "{OPS}"\n'
            f'[slack.channels]\n{ACME} = "{self.tenant}"\n'
        )

    @asynccontextmanager
    async def runs(self, *words: str, **variables: str) -> AsyncIterator[Forked]:
        log = self.folder / f"{words[0]}-{next(_numbers)}.log"
        home = {"HOME": str(self.folder)}
        forked = fork(log, *words, "--config", self.file, **home, **variables)
        try:
            yield forked
        finally:
            await forked.ended(signal.SIGKILL)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[Forked]:
        async with self.runs("serve", "--port", "0") as server:
            self.url = await server.serving()
            yield server

    @asynccontextmanager
    async def bot(self) -> AsyncIterator[Forked]:
        before = len(self.slack.sockets)
        async with self.runs("slack", PILOTHOUSE_TOKEN=self.tokens["slack"]) as bot:
            await self.slack.until(lambda: len(self.slack.sockets) > before)
            yield bot

    async def call(self, who: str, tool: str, /, **arguments: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.tokens[who]}"}
        async with httpx.AsyncClient(headers=headers, timeout=60) as http:
            asked = await http.post(f"{self.url}/api/v1/tools/{tool}", json=arguments)
        return asked.json()

    async def envelope(self, kind: str, payload: dict[str, Any]) -> None:
        """Through the socket that is open; returns when it was acknowledged."""
        id = uuid.uuid4().hex
        sent = {"envelope_id": id, "type": kind, "payload": payload}
        await self.slack.sockets[-1].send_json(sent | {"accepts_response_payload": True})
        await self.slack.until(lambda: id in self.slack.acknowledged, 3)

    async def types(self, user: str, text: str) -> None:
        await self.envelope("slash_commands", self.slack.command(user, LOOSE, text))

    async def presses(self, user: str, message: Any, text: str) -> None:
        await self.envelope("interactive", self.slack.press(user, message, text))

    async def waiting(self) -> tuple[str, Any]:
        asked = await self.call("olivia", "workload_delete", tenant=self.tenant, name="web")
        id = asked["call_id"]
        return id, await self.slack.until(lambda: self.slack.card(ACME, id))


@pytest_asyncio.fixture
async def world(practice: Any, aws: Any, moto_url: str, tmp_path: Path) -> AsyncIterator[World]:
    practice.kubeconfig(path=tmp_path / "kubeconfig")
    (tmp_path / "state").mkdir()
    async with slack_server() as slack, reached(str(tmp_path / "kubeconfig")) as kube:
        world = World(tmp_path, slack)
        world.write(moto_url)
        made = settings(tmp_path / "state", kube.kubeconfig, moto_url)
        async with opened(made) as house:
            await with_bucket(house)
            await house.done("tenant_create", name=world.tenant, plan="free")
            await house.done("resource_apply", tenant=world.tenant, manifest=deployment())
            for user, name in ((OLIVIA, "olivia"), (OSCAR, "oscar")):
                world.tokens[name] = await person(house.app, name, operator=True)
                await house.app.links.store.link(f"{TEAM}/{user}", name)
            world.tokens["slack"], world.id = await token_for_slack(house.app)
        yield world
        assert slack.wrong == []
        await kube.api.request("DELETE", f"/api/v1/namespaces/{world.tenant}")


async def test_the_story_by_a_process_of_its_own_while_the_server_goes_and_comes_back(
    world: World,
) -> None:
    slack = world.slack
    async with world.served() as server, world.bot() as bot:
        await world.types(STRANGER, "tenants")
        await slack.until(lambda: slack.whisper("do not know who you are"))
        await world.envelope("events_api", slack.said(OLIVIA, ACME, "scale web to 3"))
        card = await slack.until(lambda: slack.card(ACME, "2 → 3"))
        await world.presses(OLIVIA, card, "Approve")
        await slack.until(lambda: slack.whisper("you asked for it yourself"))
        await world.presses(OSCAR, card, "Approve")
        await slack.until(lambda: "Done" in shown(card))
        assert "let go ahead by *oscar*" in shown(card)
        await world.presses(OSCAR, card, "Undo")
        await slack.until(lambda: "Undone" in shown(card))
        trail = await world.call("olivia", "audit_list", type="workload_scale")
        assert {row["door"] for row in trail["answer"]["lines"]} == {"slack"}

        id, card = await world.waiting()
        assert (await server.ended(signal.SIGTERM)).code == 0
        await world.types(OLIVIA, "tenants")
        await slack.until(lambda: slack.whisper("does not answer at the moment"))
        assert labels(card)[0] == "Approve"
        async with world.served():
            done = await world.call("oscar", "call_reject", id=id, reason="not now")
            assert "code" not in done, done
            await slack.until(lambda: "Rejected" in shown(card))
            await world.call("olivia", "token_revoke", id=world.id)
            await world.types(OLIVIA, "tenants")
            ended = await bot.ended()
    assert ended.code == 1
    assert "expired or revoked" in ended.said
    assert "token create --slack" in ended.said
    assert "Traceback" not in ended.said, ended.said


def test_without_what_it_needs_or_with_another_token_it_says_so_and_ends(tmp_path: Path) -> None:
    known = {
        "PILOTHOUSE_SLACK__BOT_TOKEN": TOKEN, "PILOTHOUSE_SLACK__APP_TOKEN": APP_TOKEN,
        "HOME": str(tmp_path), "PILOTHOUSE_STATE": str(tmp_path / "state"),
    }  # fmt: skip
    for more, words in (
        ({"PILOTHOUSE_SLACK__APP_TOKEN": ""}, "set slack.bot_token and slack.app_token"),
        ({"PILOTHOUSE_SLACK__BY_EMAIL": "true"}, "slack.by_email"),
        ({}, "pilothouse token create --slack"),
    ):
        ran = run(tmp_path / "log", "slack", **known | more)
        assert (ran.code, words in ran.said) == (1, True), ran.said


@dataclass
class Door:
    """The server's side alone: a tenant, olivia and vera, who are linked, and oscar, who is not."""

    app: Any
    url: str
    http: httpx.AsyncClient
    token: str
    tenant: str
    vera: str

    async def ask(
        self, path: str, speaks: str = "", token: str = "", method: str = "POST", **given: Any
    ) -> Any:
        headers = {"Authorization": f"Bearer {token or self.token}"}
        headers |= {USER: f"{TEAM}/{speaks}"} if speaks else {}
        headers |= given.pop("headers", {})
        return await self.http.request(method, path, json=given, headers=headers)

    async def house(self, method: str, **given: Any) -> Any:
        return await self.ask(f"/chat/house/{method}", **given)

    async def waits(self, name: str = "web") -> str:
        asked = {"tenant": self.tenant, "name": name}
        outcome = await self.app.gate.call(BOSS, "workload_delete", asked)
        assert outcome.state.waiting, outcome
        return str(outcome.call_id)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(
    practice: Any,
    moto_url: str,
    claude: AnthropicServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Door]:
    folder = tmp_path_factory.mktemp("door")
    practice.kubeconfig(path=folder / "kubeconfig")
    tenant = f"t-{uuid.uuid4().hex[:8]}"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_ACCESS_KEY_ID", "practice")
        patched.setenv("AWS_SECRET_ACCESS_KEY", "practice")
        async with reached(str(folder / "kubeconfig")) as kube:
            made = settings(
                folder, kube.kubeconfig, moto_url, port=0,
                slack=SLACK | {"channels": {ACME: tenant}},
                chat={"api_key": KEY, "base_url": claude.url},
            )  # fmt: skip
            async with in_one_task(serving(made)) as (app, url):
                house = House(app)
                await with_bucket(house)
                app.local_gate.still = lambda caller: caller
                await house.done("tenant_create", name=tenant, plan="free")
                await house.done("resource_apply", tenant=tenant, manifest=deployment())
                await person(app, "olivia", operator=True)
                await person(app, "oscar", operator=True)
                vera = await person(app, "vera", tenants={tenant: Role.VIEWER})
                for user, name in ((OLIVIA, "olivia"), (VERA, "vera")):
                    await app.links.store.link(f"{TEAM}/{user}", name)
                token, _ = await token_for_slack(app)
                async with httpx.AsyncClient(base_url=url, timeout=30) as http:
                    yield Door(app, url, http, token, tenant, vera)
            await kube.api.request("DELETE", f"/api/v1/namespaces/{tenant}")


here = pytest.mark.asyncio(loop_scope="module")


@here
async def test_the_token_itself_is_let_in_by_no_other_door(door: Door) -> None:
    for path, method in (
        ("/api/v1/tools/tenant_list", "POST"),
        ("/api/v1/tools", "GET"),
        ("/api/v1/caller", "GET"),
        ("/api/v1/events", "GET"),
        ("/api/v1/overview", "GET"),
        ("/api/v1/chat", "POST"),
        ("/mcp", "POST"),
    ):
        answer = await door.ask(path, OLIVIA, method=method)
        assert answer.status_code == 401, (path, answer.text)
    # Nor is anybody else's by this one, whoever they say that they speak for.
    for token in (door.vera, "ph_wrong"):
        for path in ("/chat/house/waiting", "/chat/api/v1/tools/tenant_list"):
            answer = await door.ask(path, OLIVIA, token)
            assert answer.status_code == 401, answer.text


@here
async def test_it_speaks_for_who_is_linked_as_they_are_and_for_nobody_else(door: Door) -> None:
    list_, scale = "/chat/api/v1/tools/tenant_list", "/chat/api/v1/tools/workload_scale"
    asked = {"tenant": door.tenant, "name": "web", "replicas": 2}
    assert (await door.ask(list_, OLIVIA)).status_code == 200
    assert (await door.ask(scale, VERA, **asked)).json()["code"] == "permission_denied"
    for user in (OSCAR, STRANGER, "", "olivia", "../olivia"):
        answer = await door.ask(list_, user)
        assert answer.json()["code"] == "permission_denied", answer.text
    headers = {"X-Pilothouse-Subject": "olivia", "X-Pilothouse-Door": "cli"}
    assert (await door.ask(list_, OSCAR, headers=headers)).status_code == 403
    known = (await door.house("person", user=f"{TEAM}/{VERA}")).json()["result"]
    assert (known["subject"], known["operator"], known["door"]) == ("vera", False, "slack")
    assert (await door.house("person", user=f"TOTHER/{OLIVIA}")).json()["result"] is None


@here
async def test_what_would_outlive_the_token_cannot_be_done_with_it(door: Door) -> None:
    names = {t["name"] for t in (await _tools(door)).json()["tools"]}
    assert {"tenant_create", "call_approve", "calls_freeze"} <= names
    kept = {"token_create", "user_create", "user_update", "workspace_create", "chat_link"}
    assert not names & kept
    for tool in sorted(kept):
        answer = await door.ask(f"/chat/api/v1/tools/{tool}", OLIVIA)
        assert answer.json()["code"] in ("not_found", "permission_denied"), answer.text
    said = (await door.house("link", user=f"{TEAM}/{OSCAR}", subject="oscar")).json()
    assert said["code"] == "not_found"
    said = (await door.house("recognize", user=f"{TEAM}/{OSCAR}", email="o@x.example")).json()
    assert said["code"] == "not_found"


async def _tools(door: Door) -> Any:
    return await door.ask("/chat/api/v1/tools", OLIVIA, method="GET")


@here
async def test_only_an_operator_says_what_a_channel_is_about(door: Door) -> None:
    for user, status in ((VERA, 403), (STRANGER, 403), (OLIVIA, 200)):
        asked = {"user": f"{TEAM}/{user}", "channel": LOOSE, "tenant": door.tenant}
        assert (await door.house("bind", **asked)).status_code == status
    assert (await door.house("bound", channel=LOOSE)).json()["result"] == door.tenant
    none = {"user": f"{TEAM}/{OLIVIA}", "channel": LOOSE, "tenant": ""}
    assert (await door.house("bind", **none)).status_code == 200


@here
async def test_it_reads_only_the_calls_that_a_channel_or_somebody_in_chat_may_be_told_of(
    door: Door,
) -> None:
    about = await door.waits()
    outcome = await door.app.gate.call(
        Caller.of("tom", operator=True, door="cli"), "tenant_create", {"name": "nobodys-business"}
    )
    other = str(outcome.call_id)
    waiting = (await door.house("waiting")).json()["result"]
    assert about in waiting
    assert other not in waiting
    assert (await door.house("call", id=about)).json()["result"]["id"] == about
    hidden, absent = [(await door.house("call", id=id)).json() for id in (other, "0000000000")]
    assert (hidden["code"], absent["code"]) == ("not_found", "not_found")

    headers = {"Authorization": f"Bearer {door.token}"}
    async with door.http.stream("GET", "/chat/watch", headers=headers) as told:
        lines = told.aiter_lines()
        assert "listens" in json.loads(await anext(lines))
        second = await door.ask("/chat/watch", method="GET")
        assert "Another `pilothouse slack`" in second.json()["detail"]
        for id in (other, about):
            await door.app.gate.call(BOSS, "call_reject", {"id": id, "reason": "enough"})
        assert json.loads(await anext(lines)) == {"call": about}


@here
async def test_a_conversation_is_had_in_the_name_of_who_is_linked(
    door: Door, claude: AnthropicServer
) -> None:
    house = RemoteHouse(door.url, door.token)
    talks, watch = house.conversations, house.watch()
    assert talks.ready is not None
    assert await anext(watch) is None
    assert talks.ready is None  # there is a model
    callers = [await house.person(f"{TEAM}/{user}") for user in (OLIVIA, VERA)]
    olivia, vera = [caller for caller in callers if caller]

    async def ask(caller: Caller) -> str:
        said = [e async for e in talks.ask(caller, "Which tenants are there?", thread="slack:C:1")]
        last = said[-1]
        assert isinstance(last, Done)
        assert last.reply.error is None
        return last.reply.conversation

    claude.play(uses(("tenant_list", {})), says("One."), says("Still one."), says("I see one."))
    id = await ask(olivia)
    assert door.tenant in claude.told()
    assert await ask(olivia) == id
    assert await ask(vera) != id
    assert [turn.reply.text for turn in await talks.turns(olivia, id)] == ["One.", "Still one."]
    assert not await talks.cancel(olivia, id)
    with pytest.raises(ToolError) as refused:
        await talks.cancel(vera, id)
    assert refused.value.code is Code.NOT_FOUND
    await watch.aclose()  # type: ignore[attr-defined]
    await house.close()


@here
async def test_from_another_machine_it_comes_only_where_the_settings_say_so(door: Door) -> None:
    """What a proxy beside the server hands on comes from wherever."""
    away = {"X-Forwarded-For": "192.0.2.7"}
    answer = await door.house("waiting", headers=away)
    assert answer.json()["code"] == "permission_denied"
    assert "slack.from_afar" in answer.json()["hint"]
    for from_afar, apart, code in ((True, True, ""), (False, False, "failed_precondition")):
        slack = door.app.settings.slack.model_copy(update={"from_afar": from_afar, "apart": apart})
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(
                door.app, "settings", door.app.settings.model_copy(update={"slack": slack})
            )
            transport = httpx.ASGITransport(door.app.http())
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            headers = {"Authorization": f"Bearer {door.token}"} | (away if from_afar else {})
            answer = await http.post("/chat/house/waiting", json={}, headers=headers)
        assert answer.json().get("code", "") == code


@here
async def test_what_is_not_as_the_process_sends_it_is_refused(door: Door) -> None:
    for method, given in (
        ("person", {"user": "olivia"}),
        ("person", {}),
        ("bound", {"channel": ["C1"]}),
        ("cards", {"call_id": "x" * 300}),
        ("keep_card", {"card": {"call_id": "a"}}),
        ("login", {"user": f"{TEAM}/{OLIVIA}", "called": "x", "more": 1}),
    ):
        answer = await door.house(method, **given)
        assert answer.json()["code"] == "invalid_argument", (method, answer.text)
