"""The one place where everything is put together."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
import structlog
from starlette.routing import BaseRoute

from chatops.alerts import Alerts
from chatops.slack.receiving import PATH as SIGNED
from server import anchors, copies, metering
from server.advisor import Advisor
from server.announce import Announcer
from server.audit import BACKUP, ROTATE, Audit
from server.chat import AlertTeller, Chat, Links, make_store
from server.doors.chat import ChatDoor
from server.doors.hooks import hooks
from server.doors.http import LOOPBACK, Guard
from server.doors.rest import Inside, Local, rest_app
from server.doors.web.sessions import Sessions
from server.events import Hub
from server.executor.engine import Engine
from server.executor.ledger import Ledger
from server.gate import Limits as GateLimits
from server.gate import LocalGate
from server.health import Health
from server.identity import Identity, user
from server.identity.code_flow import CodeFlow
from server.journal import Journal, calls
from server.keeper import Keeper
from server.limiting import Bulkhead, Rates
from server.measures import Measures, as_tool_errors
from server.metrics import Counted, Metrics
from server.policy import Policy, PolicyError
from server.reach import Backends
from server.records import Records
from server.settings import Settings
from server.shipping import Shipper
from server.talking import make_agent, make_alerts
from server.telling import Teller
from server.trail import Trail
from server.vault import Vault
from server.world import aws_is_configured
from tools.calls import Caller, Gate, Outcome, Problem, State
from tools.directory import TenantDirectory
from tools.errors import Code, ToolError
from tools.tool import catalog

log = structlog.get_logger(__name__)

WAITING = (State.AWAITING_CONFIRMATION, State.AWAITING_APPROVAL)


@dataclass
class App:
    """Everything that the doors are handed. `gate` counts what goes through it."""

    settings: Settings
    journal: Journal
    identity: Identity
    backends: Backends
    local_gate: LocalGate
    metrics: Metrics
    health: Health
    events: Hub
    alerts: Alerts
    links: Links
    stopping: bool = False

    def __post_init__(self) -> None:
        limits = self.settings.limits
        slack = self.settings.slack
        signed = slack.inside and slack.signing_secret.get_secret_value()
        self.rates = Rates(limits, [SIGNED] if signed else [])
        bulkhead = Bulkhead(self.local_gate, limits.concurrent, self.rates.charge)
        self.gate: Gate = Counted(bulkhead, self.metrics, frozenset(catalog()))
        self.metrics.watch_tokens(self.identity.count)
        if advisor := self.local_gate.advisor:
            self.metrics.watch_analyses(lambda: advisor.analysed)
        self.agent = make_agent(self.settings.chat, self.gate, self.journal, self.identity.now)
        self.chat = Chat(self, self.links.store)
        self.identity.sign_in.note = self.note_sign_in

    def note_sign_in(self, subject: str, what: str, error: ToolError | None) -> None:
        """Signing in is on record beside the calls."""
        state = State.DENIED if error else State.SUCCEEDED
        problem = Problem.of(error) if error else None
        self.local_gate.audit.note(
            caller=Caller.of(subject, door="rest"),
            tool=f"auth_{what}",
            tenant="",
            outcome=Outcome(state=state, tool=f"auth_{what}", error=problem),
            policy="",
            duration_ms=0,
        )

    async def who(self, token: str, door: str, tool: str = "", *, local: bool) -> Caller | None:
        """Who calls. `local` is for what only this user can reach, where a token may be wanting as
        long as there are none."""
        if token:
            try:
                caller = await self.identity.identify(token, door)
            except ToolError:
                self.metrics.refused.labels(door).inc()
                raise
        else:
            caller = self.identity.local(door, tool) if local else None
        return await self._let_in(caller, door)

    async def signed_in(self, sha256: str) -> Caller | None:
        """Who signed in on the page, by their token's SHA-256."""
        return await self._let_in(await self.identity.identify_sha256(sha256, "web"), "web")

    async def _let_in(self, caller: Caller | None, door: str) -> Caller | None:
        if caller is None:
            self.metrics.refused.labels(door).inc()
            return None
        await self.rates.caller(caller.subject)
        return self.offered(caller)

    def offered(self, caller: Caller) -> Caller:
        """The caller with what this server offers at all."""
        toolsets = self.settings.toolsets
        return caller.model_copy(
            update={
                "read_only": self.settings.read_only,
                "toolsets": None if toolsets is None else frozenset(toolsets),
            }
        )

    async def page(self) -> bytes:
        query = (
            sa.select(calls.c.state, sa.func.count())
            .where(calls.c.state.in_([s.value for s in WAITING]))
            .group_by(calls.c.state)
        )
        rows = await self.journal.run(lambda c: c.execute(query).all())
        found = {row[0]: row[1] for row in rows}
        return self.metrics.page({s.value: found.get(s.value, 0) for s in WAITING})

    def http(self, local: Local | None = None) -> Any:
        """The application for HTTP; with `local`, for the socket of this user."""

        async def who(token: str, door: str, tool: str) -> Caller | None:
            return await self.who(token, door, tool, local=local is not None)

        most_body = self.settings.limits.body_kb * 1024
        identity = self.identity
        sessions = Sessions(
            self.state_key, self.signed_in, identity.signed_out, identity.sign_in.logout_sha256
        )
        inside = Inside(
            self.gate,
            who,
            self.health.ready,
            self.page,
            our_version(),
            most_body,
            local,
            origins=self.settings.allowed_origins,
            signed_in=sessions.caller_of_api,
            conversations=self.agent,
            events=self.events,
            sign_in=self.identity.sign_in,
        )
        app = rest_app(inside)
        slack = self.settings.slack
        chat = ChatDoor(
            inside, self.chat, self.identity.speaks, apart=slack.apart, afar=slack.from_afar
        )
        app.router.routes.extend(chat.routes())
        if local is None:
            app.router.routes.extend(self._web(sessions))
            app.router.routes.extend(hooks(self.alerts, self.settings.alertmanager.token))
        return app

    def _web(self, sessions: Sessions) -> Sequence[BaseRoute]:
        from server.doors.web import Web, web_routes

        async def who(token: str) -> Caller | None:
            return await self.who(token, "web", local=False)

        plans = tuple(self.settings.all_tiers.tiers)
        flow = None
        if self.settings.oidc.issuer and self.settings.oidc.client_id:
            flow = CodeFlow(self.identity, self.state_key, self.settings.public_url)
        web = Web(
            self.gate,
            who,
            self.local_gate.admission.foresee,
            sessions,
            our_version(),
            plans,
            conversations=self.agent,
            sign_in=self.identity.sign_in,
            code_flow=flow,
        )
        return web_routes(web)

    async def state_key(self) -> bytes:
        """The key of sessions on the page, and of what an MCP client carries between two requests:
        the same after a restart. It is not in the database: who has a copy of that, and not the
        state's key, is not to come in with it."""
        return bytes.fromhex(self.journal.vault.mac("sessions"))

    async def backup(self) -> Path:
        audit = self.local_gate.audit
        await audit.flush()
        async with audit.of_the_state(BACKUP, user()):
            return await copies.backup(self.journal, self.settings.state, datetime.now(UTC))

    async def rotate_key(self) -> int:
        async with self.local_gate.audit.of_the_state(ROTATE, user()):
            return await copies.rotate(self.journal)

    async def stop(self) -> None:
        """Take no more calls; let those that run end, or park them."""
        if not self.stopping:
            self.stopping = True
            await self.agent.stop()
            await self.alerts.stop()
            await self.local_gate.stop(self.settings.limits.grace_s)
            self.events.close()


@asynccontextmanager
async def open_app(
    settings: Settings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> AsyncIterator[App]:
    """Opens the state and starts what works in the background; whoever opens it owns the state
    (`server/seat.py`). Raises `ToolError`."""
    check_toolsets(settings)
    policy = load_policy(settings)
    asyncio.get_running_loop().set_task_factory(metering.task)
    async with AsyncExitStack() as stack:
        vault = Vault.open(settings.state, settings.key.get_secret_value())
        journal = await Journal.open(settings.database_url, vault)
        stack.push_async_callback(journal.close)
        backends = make_backends(settings)
        stack.push_async_callback(backends.close)
        tenants = TenantDirectory(backends.own(), time.monotonic)
        identity = await Identity.open(
            journal,
            tenants,
            clock,
            settings.oidc,
            audience(settings),
            settings.people,
            settings.tls.callers,
        )
        stack.push_async_callback(identity.close)
        records = Records(journal, clock)
        announcer = Announcer(settings.webhook.url, settings.webhook.key)
        advice = await make_advice(settings, stack, journal, records, tenants, clock)
        health = Health({"state": partial(_answers, journal)} | backends.checks())
        if advice:
            health.extras["prometheus"] = advice[1].reached
        anchored = settings.state / anchors.FILE
        audit = Audit(journal, clock, anchored)
        gate = LocalGate(
            records=records,
            engine=Engine(Ledger(journal, clock)),
            policy=policy,
            backends=backends,
            tenants=tenants,
            tiers=settings.all_tiers,
            audit=audit,
            trail=Trail(journal, audit, anchored),
            tokens=identity.tokens,
            people=identity.accounts,
            workspaces=identity.workspaces,
            operators=identity.operators,
            still=identity.still,
            announce=announcer.announce,
            keeper=Keeper(records, backends.own, tenants),
            advisor=advice and advice[0],
            measures=advice and advice[1],
            health=health.all,
            limits=GateLimits(
                wait_s=settings.limits.wait_s,
                read_s=settings.limits.read_s,
                plan_s=settings.limits.plan_s,
                stream_s=settings.limits.stream_s,
                answer_bytes=settings.limits.answer_kb * 1000,
                expiry=timedelta(hours=settings.approvals.expiry_h),
                sole_operator=settings.approvals.sole_operator,
                waiting=settings.limits.waiting,
            ),
        )
        gate.alerts = alerts = make_alerts(gate, journal, tenants, clock)
        gate.chat = links = Links(await make_store(journal, clock, settings.slack))
        app = App(
            settings, journal, identity, backends, gate, Metrics(), health, Hub(), alerts, links
        )
        await app.agent.memory.open()
        alerts.boards.append(AlertTeller(app.events))
        lines = gate.carrier.lines
        teller = Teller(app.events, records, tenants, advice and advice[1], lines)
        teller.start()
        stack.push_async_callback(teller.stop)
        if advice:
            advice[0].changed = teller.recommended
        shipper = Shipper(records, settings.loki)
        shipper.start()
        stack.push_async_callback(shipper.stop)
        announcer.start()
        stack.push_async_callback(announcer.stop)
        # Last of all: who waited for a call until now is on record, too.
        stack.push_async_callback(audit.stop)
        stack.push_async_callback(app.stop)
        await gate.start()
        yield app


async def _answers(journal: Journal) -> None:
    await journal.run(lambda c: c.execute(sa.select(1)).scalar())


def make_backends(settings: Settings) -> Backends:
    """The clusters and the account of the settings. Nothing is connected to yet."""
    from server.executor.aws import AwsWrites
    from tools.backends.kubernetes import Api

    apis = {n: Api(n, c.kubeconfig, c.context) for n, c in settings.all_clusters.items()}
    aws = None
    if aws_is_configured(settings):
        issuers = {n: c.oidc_provider for n, c in settings.all_clusters.items()}
        issuers[""] = settings.aws.oidc_provider
        options = settings.aws.model_dump(exclude={"oidc_provider"})
        aws = AwsWrites(**options, oidc_providers=issuers)
    return Backends(apis, aws)


async def make_advice(
    settings: Settings,
    stack: AsyncExitStack,
    journal: Journal,
    records: Records,
    tenants: TenantDirectory,
    clock: Callable[[], datetime],
) -> tuple[Advisor, Measures] | None:
    """What looks after recommendations, and metrics for the tools; None without a Prometheus.
    Raises `ToolError` for settings of a strategy that are wrong."""
    config = settings.prometheus
    if not config.url:
        return None
    from recommender.answers import Limits, Login
    from recommender.history import History
    from recommender.prometheus import Prometheus
    from recommender.queries import Queries
    from recommender.runs import Runs
    from recommender.strategies import BUILT_IN, Context, Prices, make
    from recommender.strategies.saturation import Saturation
    from recommender.suggestions import Suggestions

    login = Login(
        token=config.token.get_secret_value(),
        basic=(config.user, config.password.get_secret_value()) if config.user else None,
        ca_file=config.ca_file,
        headers=config.headers,
    )
    with as_tool_errors():
        prometheus = Prometheus(config.url, login, Limits(request_s=config.timeout_s))
        names = [*BUILT_IN, *(n for n in settings.strategies if n not in BUILT_IN)]
        strategies = [make(name, **settings.strategies.get(name, {})) for name in names]
    leaking = next(one.settings for one in strategies if isinstance(one, Saturation))
    history = await asyncio.to_thread(History, settings.state / "metrics.duckdb")
    stack.callback(history.close)

    def seconds() -> float:
        return clock().timestamp()

    suggestions, runs = Suggestions(journal.run, seconds), Runs(journal.run, seconds)
    await suggestions.open()
    await runs.open(alone=settings.database_url.startswith("duckdb"))
    prices = Prices(
        cpu_core_hour=settings.prices.cpu_core_hour,
        memory_gib_hour=settings.prices.memory_gib_hour,
    )
    queries = Queries(config.names, config.queries, config.matchers)
    advisor = Advisor(
        prometheus=prometheus,
        history=history,
        queries=queries,
        suggestions=suggestions,
        runs=runs,
        strategies=strategies,
        context=Context(prices=prices, saturation=leaking),
        records=records,
        tenants=tenants,
        clock=clock,
        every_s=config.every_h * 3600,
        currency=settings.prices.currency,
        tiers=settings.all_tiers.tiers,
    )
    return advisor, Measures(prometheus, history, queries, clock)


def load_policy(settings: Settings) -> Policy:
    try:
        return Policy.load(settings.policy)
    except PolicyError as error:
        raise ToolError(
            Code.INVALID_ARGUMENT, f"The policy is refused: {error}", "Mend it, and start again."
        ) from None


def check_toolsets(settings: Settings) -> None:
    from server.settings import nearest

    groups = sorted({tool.group for tool in catalog().values()})
    for word in settings.toolsets or ():
        if word not in groups:
            raise ToolError(
                Code.INVALID_ARGUMENT,
                f"There is no toolset {word}{nearest(word, groups)}",
                f"One or more of {', '.join(groups)}, with commas between.",
            )


def audience(settings: Settings) -> list[str]:
    """What tokens of an identity provider are for, when they are for us."""
    public = settings.public_url.rstrip("/")
    return settings.oidc.audience or ([f"{public}/mcp", public] if public else [])


def guarded(app: Any, settings: Settings, rates: Rates | None = None) -> Any:
    """The application with its guard. Without `rates` it is for a socket of this user's, where
    nothing is asked of a Host, and nobody comes from afar."""
    local = rates is None
    guard = Guard(
        app,
        hosts=None if local else hosts(settings),
        origins=settings.allowed_origins,
        most_body=settings.limits.body_kb * 1024,
        rate=rates.address if rates else None,
    )
    if local or not settings.trusted_proxies:
        return guard
    from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

    return ProxyHeadersMiddleware(guard, settings.trusted_proxies)  # type: ignore[arg-type]


def hosts(settings: Settings) -> tuple[str, ...]:
    """The names that the server goes by."""
    import socket

    public = urlsplit(settings.public_url).hostname
    own = [settings.host, socket.gethostname().lower(), *([public] if public else [])]
    return (*LOOPBACK, *own, *settings.allowed_hosts)


def our_version() -> str:
    try:
        return version("pilothouse")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"
