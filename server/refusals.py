"""What the gate says no to, in words that a model or a person can act on."""

from collections.abc import Iterable
from difflib import get_close_matches

from pydantic import ValidationError

from server.policy import Situation, Verdict
from tools.calls import Caller
from tools.errors import Code, ToolError
from tools.tool import Tool

# Of each thing that is wrong; names of what was sent may be as long as somebody liked.
MOST_SAID = 200


def unknown_tool(name: str, known: Iterable[Tool], caller: Caller) -> ToolError:
    tools = {tool.name: tool for tool in known}
    if name in tools and caller.read_only and tools[name].changes_things:
        return ToolError(
            Code.PERMISSION_DENIED,
            f"{name} changes things, and this connection is read-only.",
            "Reads are still answered.",
        )
    if name in tools:
        return ToolError(
            Code.PERMISSION_DENIED,
            f"The toolset {tools[name].group} is not switched on here.",
            f"Start with --toolsets naming {tools[name].group}.",
        )
    near = get_close_matches(name[:64], tools, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else "List the tools to see their names."
    return ToolError(Code.NOT_FOUND, f"There is no tool {name[:64]!r}.", hint)


def no_tenant(name: str) -> ToolError:
    return ToolError(
        Code.NOT_FOUND,
        f"There is no tenant {name}.",
        "tenant_list shows those there are; tenant_create makes one.",
    )


def not_yours(caller: Caller, tool: Tool, situation: Situation, verdict: Verdict) -> ToolError:
    """A tenant that is not the caller's is not there, as far as they can tell."""
    if situation.tenant and situation.role is None:
        return ToolError(
            Code.NOT_FOUND,
            f"There is no tenant {situation.tenant[:64]!r} that you can see.",
            "tenant_list shows yours.",
        )
    if situation.protected and tool.changes_things:
        return ToolError(
            Code.PERMISSION_DENIED,
            f"{situation.tenant} belongs to the platform itself and is not changed from here.",
            "Use the cluster's own tools, or change the policy.",
        )
    if caller.agent and tool.people_only:
        return ToolError(
            Code.PERMISSION_DENIED,
            f"{tool.name} is for people, and you come as an agent.",
            f"Ask {caller.person} to do it: on the command line, in chat or on the page.",
        )
    role = situation.role.value if situation.role else "no role"
    where = f"in {situation.tenant}" if situation.tenant else "over the platform"
    return ToolError(
        Code.PERMISSION_DENIED,
        f"{tool.name} needs the role {tool.role.value} {where}; you have {role}."
        if situation.role is None or not situation.role.covers(tool.role)
        else f"The policy does not let you call {tool.name} ({verdict.policy}).",
        "Ask an operator for it.",
    )


def invalid(tool: Tool, error: ValidationError) -> ToolError:
    """Which arguments are wrong and how, without echoing what was sent."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    said = []
    for fault in faults[:5]:
        where = ".".join(str(part) for part in fault["loc"] if not str(part).startswith("function"))
        where = where[:MOST_SAID]
        if fault["type"] == "extra_forbidden":
            near = get_close_matches(where, tool.arguments.model_fields, n=1)
            said.append(f"{where} is no argument" + (f" ({near[0]}?)" if near else ""))
        elif fault["type"] == "missing":
            said.append(f"{where} is missing")
        else:
            message = fault["msg"].removeprefix("Value error, ")[:MOST_SAID]
            said.append(f"{where}: {message}" if where else message)
    if len(faults) > 5:
        said.append(f"and {len(faults) - 5} more")
    names = ", ".join(
        name if field.is_required() else f"[{name}]"
        for name, field in tool.arguments.model_fields.items()
    )
    return ToolError(
        Code.INVALID_ARGUMENT,
        f"{tool.name}: {'; '.join(said)}.",
        f"It takes: {names or 'nothing'}.",
    )
