"""What the Cedar policy says: four questions, each answered from one file that users own."""

from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Literal, NamedTuple, Self

from tools.calls import Caller, Role
from tools.tool import Tool

Question = Literal["call", "unattended", "confirm", "approve"]


class PolicyError(Exception):
    """A policy file that cannot be used, with the policy at fault."""


class Verdict(NamedTuple):
    """`policy` names what decided: the policies' ids, or why nothing permitted it. `forbidden`: not
    for want of a permit, but by a `forbid` or an error."""

    allowed: bool
    policy: str
    forbidden: bool = False


class Situation(NamedTuple):
    """What a question is asked about: `does` is the tool that a call stands for, "" for itself. The
    last four are asked of plans only."""

    tenant: str = ""
    role: Role | None = None
    protected: bool = False
    elicited: bool = False
    does: str = ""
    undo: str = "exact"
    destructive: bool = False
    own: bool = True
    sole_operator: bool = False


class Policy:
    """A validated set of Cedar policies."""

    def __init__(self, text: str, name: str = "policy.cedar") -> None:
        from cedarpy import PolicySet, policies_to_json_str, validate_policies

        schema = files("server").joinpath("policy.cedarschema").read_text()
        try:
            self._policies = PolicySet.from_str(text)
        except ValueError as error:
            raise PolicyError(f"{name} is not Cedar: {error}{_near(text, str(error))}") from error
        result = validate_policies(text, schema)
        if not result.validation_passed:
            faults = "; ".join(
                f"{_named(text, getattr(e, 'policy_id', ''))}: {getattr(e, 'error', e)}"
                for e in result.errors
            )
            raise PolicyError(f"{name}: {faults}")
        self._names = _ids(policies_to_json_str(text))
        # The same question gets the same answer: it depends on nothing but its arguments.
        self._ask = lru_cache(maxsize=4096)(self._decide)

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """The policies in a file, or the default ones. Raises `PolicyError`."""
        if path is None:
            return cls(files("server").joinpath("policy.cedar").read_text())
        try:
            return cls(path.read_text(), str(path))
        except OSError as error:
            raise PolicyError(f"{path} cannot be read: {error.strerror}") from error

    def ask(self, question: Question, caller: Caller, tool: Tool, situation: Situation) -> Verdict:
        who = (caller.subject, caller.person, caller.agent, caller.operator, caller.door)
        what = (tool.name, tool.group, tool.effect.value, tool.role, tool.scope, tool.people_only)
        return self._ask(question, who, what, situation)

    def _decide(
        self,
        question: Question,
        who: tuple[str, str, bool, bool, str],
        what: tuple[str, str, str, Role, str, bool],
        situation: Situation,
    ) -> Verdict:
        from cedarpy import is_authorized

        caller = dict(zip(("subject", "person", "agent", "operator", "door"), who, strict=True))
        names = ("name", "group", "effect", "role", "scope", "people_only")
        tool = dict(zip(names, (*what[:3], what[3].value, *what[4:]), strict=True))
        role = situation.role
        context = {
            "tenant": situation.tenant,
            "role": role.value if role else "none",
            "covers": role is not None and role.covers(what[3]),
            "protected": situation.protected,
            "elicited": situation.elicited,
            "does": situation.does or what[0],
        }
        if question != "call":
            context |= {
                "undo": situation.undo,
                "destructive": situation.destructive,
                "own": situation.own,
                "sole_operator": situation.sole_operator,
            }
        subject = {"type": "Caller", "id": who[0]}
        resource = {"type": "Tool", "id": what[0]}
        result = is_authorized(
            {
                "principal": subject,
                "action": {"type": "Action", "id": question},
                "resource": resource,
                "context": context,
            },
            self._policies,
            [
                {"uid": subject, "attrs": caller, "parents": []},
                {"uid": resource, "attrs": tool, "parents": []},
            ],
        )
        if result.diagnostics.errors:
            # Cedar skips a policy that fails, and with it perhaps the one that forbids.
            return Verdict(False, f"error: {'; '.join(map(str, result.diagnostics.errors))}", True)
        named = ", ".join(self._names.get(r, r) for r in result.diagnostics.reasons)
        forbidden = not result.allowed and bool(named)
        return Verdict(result.allowed, named or "nothing permits it", forbidden)


def _ids(policies: str) -> dict[str, str]:
    """Cedar's own policy ids (`policy0`) to the `@id` annotations that people wrote."""
    import json

    static = json.loads(policies).get("staticPolicies", {})
    return {i: p.get("annotations", {}).get("id", i) for i, p in static.items()}


def _named(text: str, policy_id: str) -> str:
    from cedarpy import policies_to_json_str

    return _ids(policies_to_json_str(text)).get(policy_id, policy_id)


def _near(text: str, error: str) -> str:
    """The first policy that does not parse by itself: Cedar's parse errors carry no place."""
    from cedarpy import PolicySet

    line = 1
    for piece in text.split(";"):
        if piece.strip():
            try:
                PolicySet.from_str(piece + ";")
            except ValueError:
                for n, text_line in enumerate(piece.split("\n"), line):
                    if text_line.strip() and not text_line.lstrip().startswith("//"):
                        return f" (near line {n}: {text_line.strip()})"
        line += piece.count("\n")
    return ""
