"""The way in: may this caller call this tool on this tenant, and are the arguments valid?"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from pydantic import ValidationError

from server.policy import Policy, Question, Situation, Verdict
from server.reach import Backends
from server.records import Call
from server.refusals import invalid, no_tenant, not_yours, unknown_tool
from tools.calls import Caller, Grant, Role, ToolInfo
from tools.errors import Code, ToolError
from tools.holdings import Directory, TenantRef
from tools.plan import Undo
from tools.provisioning import NAMESPACE
from tools.tool import Arguments, Effect, Tool, catalog


@dataclass(frozen=True)
class Asked:
    """A call on its way in: what is asked of what, about which tenant."""

    caller: Caller
    tool: Tool
    arguments: Arguments
    raw: dict[str, Any]
    tenant: TenantRef | None
    situation: Situation
    verdict: Verdict

    @property
    def tenant_name(self) -> str:
        return self.situation.tenant


UNDO = "call_undo"
# What becomes of a call: it goes ahead, waits for whom it is asked for, waits for somebody else, or
# is denied. Who may do the most comes first.
Fate = Literal["ahead", "confirmed", "approved", "denied"]
FATES: Sequence[Fate] = get_args(Fate)
# What a call stands for, as a caller may see it: the tool's name and the tenant.
StandsFor = Callable[[Caller, str], Awaitable[tuple[str, str]]]


@dataclass
class Admission:
    """Asks the policy, about calls on their way in and about recorded ones.

    A tool in `stands_for` is judged as what the call named by its `id` stands for: undoing a call
    as that call is, by its role, its scope and its tenant. `operators` counts the people who are.
    """

    policy: Policy
    tenants: Directory
    backends: Backends
    stands_for: Mapping[str, StandsFor]
    operators: Callable[[], int]
    sole_operator: bool

    def __post_init__(self) -> None:
        self.tools = catalog()

    def shown(self, caller: Caller) -> list[ToolInfo]:
        """What the caller may be shown."""
        found = []
        for tool in self.tools.values():
            if not _switched_off(caller, tool) and not (caller.agent and tool.people_only):
                best = _best_role(caller, tool)
                if best is not None and best.covers(tool.role):
                    found.append(tool.info())
        return found

    def foresee(self, caller: Caller, name: str, tenant: str = "", doing: str = "") -> Fate:
        """What would become of a call of this tool, as far as can be told before it is planned:
        for whoever shows buttons. `doing` is the tool that it stands for. Without a tenant it is
        about the one where the most is allowed."""
        tool = self.tools[name]
        if _switched_off(caller, tool):
            return "denied"
        does = ""
        if doing in self.stands_for:  # what it stands for is about the tenant
            tool = replace(tool, scope="tenant")
        elif doing in self.tools:
            tool, does = _as(tool, self.tools[doing]), doing
        takes_one = "tenant" in tool.arguments.model_fields or (
            name in self.stands_for and not doing
        )
        about = tenant if tool.scope == "tenant" or takes_one else ""
        if not about and tool.scope == "tenant" and not caller.operator:
            fates = [self.foresee(caller, name, one, doing) for one in caller.grants]
            return min(fates, key=FATES.index, default="denied")
        grant = caller.grants.get(about)
        situation = self._situation(caller, tool, about, grant.uid if grant else "", does)
        if not self._verdict("call", caller, tool, situation).allowed:
            return "denied"
        if tool.effect is not Effect.WRITE:
            return "ahead"
        planned = situation._replace(
            undo="recreates" if tool.destructive else "exact",
            destructive=tool.destructive,
            sole_operator=self.sole_operator and self.operators() == 1,
        )
        if self._verdict("unattended", caller, tool, planned).allowed:
            return "ahead"
        person = caller.model_copy(update={"agent": False, "subject": caller.person})
        alone = self._verdict("confirm", person, tool, planned).allowed
        return "confirmed" if alone else "approved"

    async def admit(self, caller: Caller, name: str, arguments: Mapping[str, Any]) -> Asked:
        """Raises `ToolError` for who may not, and for arguments that are not valid."""
        tool = self.tools.get(name)
        if tool is None or _switched_off(caller, tool):
            raise unknown_tool(name, self.tools.values(), caller)
        raw = {k: v for k, v in arguments.items() if v is not None}
        tool, about, does = await self._judged(caller, tool, raw)
        if about is None:
            about = raw.get("tenant", "") if "tenant" in tool.arguments.model_fields else ""
            if not about and tool.scope == "tenant" and not caller.operator:
                about = _only_tenant(caller, tool)
                raw = raw | {"tenant": about} if about else raw
        about = about if isinstance(about, str) else ""
        tenant = await self.tenants.find(about) if about else None
        situation = self._situation(caller, tool, about, tenant.uid if tenant else "", does)
        verdict = self._verdict("call", caller, tool, situation)
        if not verdict.allowed:
            raise not_yours(caller, tool, situation, verdict)
        try:
            parsed = tool.arguments.model_validate(raw)
        except ValidationError as error:
            raise invalid(tool, error) from None
        if about and tenant is None and _acts_on_tenant(tool):
            await self._must_be_there(about)
        return Asked(caller, tool, parsed, raw, tenant, situation, verdict)

    async def again(self, caller: Caller, call: Call) -> Asked:
        """A recorded call, as it looks to this caller now. Raises `ToolError`."""
        tool, situation, tenant = await self._now(caller, call)
        verdict = self._verdict("call", caller, tool, situation)
        if not verdict.allowed:
            raise not_yours(caller, tool, situation, verdict)
        return Asked(caller, tool, Arguments(), call.arguments, tenant, situation, verdict)

    async def may(self, question: Question, caller: Caller, call: Call) -> Verdict:
        """Asks about a recorded call for this caller."""
        tool, situation, _ = await self._now(caller, call)
        return self.ask(question, caller, tool, call, situation)

    def ask(
        self, question: Question, caller: Caller, tool: Tool, call: Call, situation: Situation
    ) -> Verdict:
        """Asks about a planned call."""
        plan = call.plan
        assert plan is not None
        situation = situation._replace(
            undo=plan.undo.value,
            destructive=tool.destructive or plan.destructive or plan.undo is Undo.NONE,
            own=caller.person == call.caller.person,
            sole_operator=self.sole_operator and self.operators() == 1,
        )
        return self._verdict(question, caller, tool, situation)

    def _verdict(
        self, question: Question, caller: Caller, tool: Tool, situation: Situation
    ) -> Verdict:
        """What is forbidden may not come as a recommendation either. Taking it back is not held up
        by what holds up doing it: a policy says so by `does`, if that is meant."""
        verdict = self.policy.ask(question, caller, tool, situation)
        first = self.tools.get(situation.does)
        if verdict.allowed and first and tool.effect is Effect.WRITE and tool.name != UNDO:
            as_first = self.policy.ask(question, caller, first, situation)
            return as_first if as_first.forbidden else verdict
        return verdict

    async def _now(self, caller: Caller, call: Call) -> tuple[Tool, Situation, TenantRef | None]:
        tool = self.tools.get(call.tool)
        if tool is None:
            raise ToolError(
                Code.FAILED_PRECONDITION, f"There is no tool {call.tool} any more.", "Reject it."
            )
        tool, about, does = await self._judged(caller, tool, call.arguments)
        if about is None:
            about = call.tenant if tool.scope == "tenant" else ""
        tenant = await self.tenants.find(about) if about else None
        if tenant is not None and call.tenant_uid and tenant.uid != call.tenant_uid:
            tenant = None  # another tenant has the name now
        situation = self._situation(caller, tool, about, tenant.uid if tenant else "", does)
        return tool, situation, tenant

    async def _must_be_there(self, name: str) -> None:
        """An operator may look into a namespace that is no tenant; a name that nothing has is a
        mistake, and not a tenant with nothing in it. Raises `ToolError`."""
        cluster = self.backends.own()[self.backends.default]
        if await cluster.find(cluster.ref(NAMESPACE, name)) is None:
            raise no_tenant(name)

    async def _judged(
        self, caller: Caller, tool: Tool, raw: Mapping[str, Any]
    ) -> tuple[Tool, str | None, str]:
        """The tool as what it stands for; then the tenant that it is about, and that one's name."""
        if tool.name not in self.stands_for:
            return tool, None, ""
        try:
            which = tool.arguments.model_validate(raw)
        except ValidationError:
            return tool, None, ""  # and refused for it, once it is known that they may ask
        name, tenant = await self.stands_for[tool.name](caller, which.id)  # type: ignore[attr-defined]
        first = self.tools.get(name)
        if first is None:
            return tool, tenant, ""
        return _as(tool, first), tenant if first.scope == "tenant" else "", name

    def _situation(
        self, caller: Caller, tool: Tool, about: str, uid: str, does: str = ""
    ) -> Situation:
        return Situation(
            tenant=about,
            role=_role(caller, tool, about, uid),
            protected=self.backends.protected(about),
            elicited=caller.door == "mcp-elicitation",
            does=does,
        )


def _as(tool: Tool, first: Tool) -> Tool:
    """A tool as the one that it stands for."""
    return replace(tool, role=first.role, scope=first.scope, runs_as=first.runs_as)


def _switched_off(caller: Caller, tool: Tool) -> bool:
    if caller.read_only and tool.changes_things:
        return True
    return caller.toolsets is not None and tool.group not in caller.toolsets | {"calls"}


def _acts_on_tenant(tool: Tool) -> bool:
    """Does a tool act on the tenant that it is given, or only search by it?"""
    field = tool.arguments.model_fields.get("tenant")
    return tool.scope == "tenant" or bool(field and field.is_required())


def _best_role(caller: Caller, tool: Tool) -> Role | None:
    if caller.operator:
        return Role.OPERATOR
    roles = [grant.role for grant in caller.grants.values()]
    best = max(roles, key=list(Role).index, default=None)
    return best if tool.scope == "tenant" or tool.role is not Role.OPERATOR else None


def _role(caller: Caller, tool: Tool, about: str, uid: str) -> Role | None:
    """The caller's role where the call would act. A grant holds for one uid of a tenant only."""
    if caller.operator:
        return Role.OPERATOR
    if about:
        grant: Grant | None = caller.grants.get(about)
        return grant.role if grant and uid and grant.uid == uid else None
    return _best_role(caller, tool) if tool.scope == "platform" else None


def _only_tenant(caller: Caller, tool: Tool) -> str:
    if len(caller.grants) == 1:
        return next(iter(caller.grants))
    if not caller.grants:
        return ""
    raise ToolError(
        Code.INVALID_ARGUMENT,
        f"{tool.name} needs a tenant: you have more than one.",
        f"One of: {', '.join(sorted(caller.grants))}.",
    )
