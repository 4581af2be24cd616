from pathlib import Path

import pytest

from server.policy import Policy, PolicyError, Question, Situation
from tools.calls import Caller, Role
from tools.tool import Answer, Arguments, Effect, Tool


async def nothing(ctx: object) -> None: ...


def a_tool(name: str = "workload_scale", **fields: object) -> Tool:
    defaults: dict[str, object] = {
        "title": "",
        "description": "",
        "group": "workloads",
        "effect": Effect.WRITE,
        "role": Role.USER,
        "scope": "tenant",
        "runs_as": "caller",
        "destructive": False,
        "idempotent": True,
        "people_only": False,
        "arguments": Arguments,
        "answer": Answer,
        "handler": nothing,
    }
    return Tool(name=name, **(defaults | fields))  # type: ignore[arg-type]


SCALE = a_tool()
CREATE = a_tool("tenant_create", role=Role.OPERATOR, scope="platform")
APPROVE = a_tool(
    "call_approve", effect=Effect.DECIDE, scope="platform", role=Role.VIEWER, people_only=True
)
CONFIRM = a_tool(
    "call_confirm", effect=Effect.DECIDE, scope="platform", role=Role.VIEWER, people_only=True
)
PERSON = Caller.of("alice")
AGENT = Caller.of("alice-agent", person="alice", agent=True, door="mcp")


def ask(question: Question, caller: Caller, tool: Tool, **situation: object) -> bool:
    where = Situation(**({"tenant": "acme", "role": Role.ADMIN} | situation))  # type: ignore[arg-type]
    return Policy.load().ask(question, caller, tool, where).allowed


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (None, False),
        (Role.VIEWER, False),
        (Role.USER, True),
        (Role.ADMIN, True),
        (Role.OPERATOR, True),
    ],
)
def test_a_role_that_covers_the_tool_may_call_it(role: Role | None, allowed: bool) -> None:
    assert ask("call", PERSON, SCALE, role=role) is allowed


def test_agents_never_decide() -> None:
    assert ask("call", PERSON, APPROVE)
    assert not ask("call", AGENT, APPROVE)
    assert not ask("call", AGENT, APPROVE, elicited=True)


def test_a_person_asked_in_their_client_may_confirm_there_and_only_there() -> None:
    assert ask("call", AGENT, CONFIRM, elicited=True)
    assert not ask("call", AGENT, CONFIRM)


def test_the_platforms_own_namespaces_are_not_written() -> None:
    assert not ask("call", PERSON, SCALE, role=Role.OPERATOR, protected=True)


def test_what_can_be_undone_goes_ahead_for_people_and_is_confirmed_for_agents() -> None:
    assert ask("unattended", PERSON, SCALE)
    assert not ask("unattended", AGENT, SCALE)
    assert ask("confirm", PERSON, SCALE, own=True)


@pytest.mark.parametrize(("tool", "destructive"), [(SCALE, True), (CREATE, False)])
def test_the_destructive_and_the_platform_wide_need_somebody_else(
    tool: Tool, destructive: bool
) -> None:
    situation = {"destructive": destructive, "role": Role.OPERATOR}
    assert not ask("unattended", PERSON, tool, **situation)
    assert not ask("confirm", PERSON, tool, own=True, **situation)
    assert not ask("approve", PERSON, tool, own=True, **situation)
    assert ask("approve", PERSON, tool, own=False, **situation)


def test_an_admin_approves_in_their_tenant_but_not_for_the_platform() -> None:
    assert ask("approve", PERSON, SCALE, own=False, destructive=True)
    assert not ask("approve", PERSON, CREATE, own=False)
    assert not ask("approve", PERSON, SCALE, own=False, role=Role.USER)


def test_agents_do_not_approve() -> None:
    assert not ask("approve", AGENT, SCALE, own=False, role=Role.OPERATOR)


def test_a_sole_operator_confirms_twice_where_the_setting_allows_it() -> None:
    assert ask("approve", PERSON, CREATE, own=True, role=Role.OPERATOR, sole_operator=True)
    assert not ask("approve", AGENT, CREATE, own=True, role=Role.OPERATOR, sole_operator=True)


def test_the_verdict_names_the_policy_that_decided() -> None:
    verdict = Policy.load().ask("call", PERSON, SCALE, Situation("acme", Role.USER))
    assert verdict.policy == "role-covers-tool"


def test_an_error_in_a_decision_denies() -> None:
    """Cedar by itself skips a `forbid` that fails, and answers Allow."""
    failing = """
        permit (principal, action == Action::"call", resource);
        @id("overflows") forbid (principal, action == Action::"call", resource)
        when { 9223372036854775807 + 1 == 0 };
    """
    verdict = Policy(failing).ask("call", PERSON, SCALE, Situation("acme", Role.ADMIN))
    assert not verdict.allowed
    assert "error" in verdict.policy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('permit (principal, action == Action::"call", resource) when { context.nope };', "nope"),
        (
            '@id("mine") permit (principal, action == Action::"call", resource) when { context.tenant > 3 };',
            "mine",
        ),
        ('permit (principal, action == Action::"fly", resource);', "fly"),
        ("// a comment\n\npermit (principal, action, resource\n;", "line 3"),
    ],
)
def test_a_wrong_policy_file_is_refused_with_the_policy_at_fault(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "mine.cedar"
    file.write_text(text)
    with pytest.raises(PolicyError, match=said):
        Policy.load(file)


def test_a_policy_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be read"):
        Policy.load(tmp_path / "none.cedar")
