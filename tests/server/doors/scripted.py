"""A gate in memory that follows a script: for what the door does, apart from what tools do."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.applications import Starlette

from server import serving
from server.doors.mcp_serving import HttpDoor
from server.serving import listen
from tools.calls import Caller, Outcome, Problem, Progress, State, ToolInfo
from tools.errors import Code, ToolError
from tools.plan import Difference, Preview, Undo

ALICE = Caller.of("alice", operator=True)
TOKENS = {
    "alice-token": ALICE,
    "bob-token": Caller.of("bob"),
    "agent-token": Caller.of("agent-7", agent=True, person="alice"),
}


async def identify(token: str) -> Caller | None:
    return TOKENS.get(token)


async def let_in(token: str) -> Caller | None:
    return ALICE


def info(name: str, effect: Any, properties: Mapping[str, Any], answer: Any = None) -> ToolInfo:
    return ToolInfo(
        name=name,
        title=name.replace("_", " ").capitalize(),
        description=f"What {name} does.",
        group="things",
        effect=effect,
        destructive=name == "thing_delete",
        idempotent=True,
        input_schema={"type": "object", "properties": dict(properties)},
        output_schema=answer or {"type": "object"},
    )


NAME = {"name": {"type": "string"}}
INFOS = [
    info(
        "thing_get",
        "read",
        NAME,
        {
            "type": "object",
            "properties": {"name": {"type": "string"}, "size": {"type": "integer"}},
            "required": ["name", "size"],
        },
    ),
    info("thing_log", "stream", NAME),
    info("thing_set", "write", NAME),
    info("thing_delete", "write", NAME),
    info("thing_approve", "decide", NAME),
]
ROWS = [Difference(path="spec.replicas", before=2, after=5)]
CHANGE = Preview(id="a", title="Scale web", verb="update", how="server", undo=Undo.EXACT, diff=ROWS)


class ScriptedGate:
    """`thing_set` of `web` waits for a confirmation, of `db` for an approval; others go ahead."""

    def __init__(self) -> None:
        self.asked: list[tuple[Caller, str, dict[str, Any]]] = []
        self.options: list[dict[str, Any]] = []
        self.calls: dict[str, Outcome] = {}
        self.carried_out: list[str] = []

    async def tools(self, caller: Caller) -> list[ToolInfo]:
        return [i for i in INFOS if not (caller.read_only and i.effect in ("write", "decide"))]

    async def call(
        self,
        caller: Caller,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        key: str | None = None,
        preview: bool = False,
        wait_s: float | None = None,
        progress: Progress | None = None,
    ) -> Outcome:
        self.asked.append((caller, tool, dict(arguments)))
        self.options.append({"key": key, "preview": preview})
        try:
            return await getattr(self, f"_{tool}")(caller, dict(arguments), progress)
        except ToolError as error:
            return Outcome(state=State.FAILED, tool=tool, error=Problem.of(error))

    async def stream(
        self, caller: Caller, tool: str, arguments: Mapping[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        if arguments.get("name") == "none":
            raise ToolError(Code.NOT_FOUND, "There is no such thing.", "Look again.")
        yield {"line": "one"}
        yield {"line": "two", "pod": "web-1"}
        yield {"note": "that was all"}
        yield {"done": True, "status": "succeeded"}

    async def _thing_get(self, caller: Caller, args: dict[str, Any], _: Any) -> Outcome:
        if args.get("name") == "none":
            raise ToolError(Code.NOT_FOUND, "There is no thing none.", "thing_list shows them.")
        if args.get("name") == "bad":
            raise RuntimeError("the password is swordfish")
        answer = {"name": args.get("name", ""), "size": 3, "owner": None}
        return Outcome(state=State.SUCCEEDED, tool="thing_get", answer=answer)

    async def _thing_set(self, caller: Caller, args: dict[str, Any], progress: Any) -> Outcome:
        waits = {"web": State.AWAITING_CONFIRMATION, "db": State.AWAITING_APPROVAL}
        state = waits.get(args["name"], State.SUCCEEDED)
        outcome = Outcome(
            state=state,
            tool="thing_set",
            call_id=f"c-{len(self.calls) + 1}",
            summary=f"Scale {args['name']} from 2 to 5 replicas",
            digest="d1",
            changes=[CHANGE],
            undo="exact",
            why="an agent asked" if waits.get(args["name"]) else "",
            next="pilothouse approve" if waits.get(args["name"]) else "",
        )
        self.calls[outcome.call_id or ""] = outcome
        if state is State.SUCCEEDED:
            await self._carry_out(outcome, progress)
        return outcome

    async def _carry_out(self, outcome: Outcome, progress: Progress | None) -> None:
        self.carried_out.append(outcome.call_id or "")
        if progress:
            await progress("applied", 1, 2)
            await progress("waiting for the rollout", None, None)
            await progress("settled", 2, 2)

    async def _call_confirm(self, caller: Caller, args: dict[str, Any], progress: Any) -> Outcome:
        found = self.calls[args["id"]]
        if caller.door != "mcp-elicitation" or args["digest"] != found.digest:
            raise ToolError(Code.PERMISSION_DENIED, "Not so.")
        if found.state is not State.AWAITING_CONFIRMATION:
            raise ToolError(Code.FAILED_PRECONDITION, f"It is {found.state}.")
        done = found.model_copy(update={"state": State.SUCCEEDED, "why": "", "next": ""})
        self.calls[args["id"]] = done
        await self._carry_out(done, progress)
        return done

    async def _call_get(self, caller: Caller, args: dict[str, Any], _: Any) -> Outcome:
        if args["id"] not in self.calls:
            raise ToolError(Code.NOT_FOUND, "There is no such call.", "call_list shows them.")
        call = {"id": args["id"], "outcome": self.calls[args["id"]].model_dump(mode="json")}
        return Outcome(state=State.SUCCEEDED, tool="call_get", answer={"call": call})

    async def _call_list(self, caller: Caller, args: dict[str, Any], _: Any) -> Outcome:
        rows = [
            {"id": id, "summary": call.summary}
            for id, call in self.calls.items()
            if call.state.waiting or not args.get("state")
        ]
        return Outcome(state=State.SUCCEEDED, tool="call_list", answer={"calls": rows})

    async def _tenant_get(self, caller: Caller, args: dict[str, Any], _: Any) -> Outcome:
        if args["tenant"] != "acme":
            raise ToolError(Code.NOT_FOUND, "There is no such tenant.", "tenant_list shows them.")
        answer = {"name": "acme", "plan": "pro", "drift": None}
        return Outcome(state=State.SUCCEEDED, tool="tenant_get", answer=answer)

    async def _tenant_list(self, caller: Caller, args: dict[str, Any], _: Any) -> Outcome:
        rows = [{"name": "acme"}, {"name": "globex"}]
        return Outcome(state=State.SUCCEEDED, tool="tenant_list", answer={"tenants": rows})

    async def _workload_list(self, caller: Caller, args: dict[str, Any], _: Any) -> Outcome:
        rows = [{"name": f"{args['tenant']}-web"}, {"name": f"{args['tenant']}-db"}]
        return Outcome(state=State.SUCCEEDED, tool="workload_list", answer={"workloads": rows})


@contextlib.asynccontextmanager
async def served(gate: Any, identify: Any = identify, **options: Any) -> AsyncIterator[str]:
    """The door over real HTTP on a free loopback port; its address."""
    door = HttpDoor(gate, identify, hosts=["127.0.0.1", "localhost", "::1"], **options)
    listening = listen("127.0.0.1", 0)
    async with door.run(), serving.served(Starlette(routes=door.routes), listening, 1):
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
