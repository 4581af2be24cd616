"""A plan: changes as data, each an intended state of one object in one backend.

Everything that a call may do follows from these: its preview, the digest that an approval is bound
to, the check that nothing moved in between, carrying it out, resuming it and undoing it.
"""

import hashlib
import json
from collections.abc import Iterable, Set
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Json: TypeAlias = Any

# All is built (`defer_build`) when it is first used: a client that starts us waits for none of it.


class Undo(StrEnum):
    """What undoing a change gives back."""

    EXACT = "exact"  # all that the change wrote, as it was
    RECREATES = "recreates"  # a new object like the old one (new uid, new status)
    NONE = "none"  # nothing: it is gone


class Ref(BaseModel):
    """One object. `at` names the cluster, or the AWS account and region (`123456789012/eu-west-1`).

    `kind` is `apiVersion/Kind` for Kubernetes (`apps/v1/Deployment`, `v1/Namespace`), and the
    service and type for AWS (`iam/Role`, `s3/Prefix`, `ec2/Instance`, `rds/DBInstance`).
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    backend: Literal["kubernetes", "aws"] = "kubernetes"
    at: str
    kind: str
    name: str
    namespace: str = ""

    @property
    def short_kind(self) -> str:
        return self.kind.rpartition("/")[2]

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.short_kind} {self.name}{where}"


class Seen(BaseModel):
    """What is there, in the fields that a change writes. `value` is None when nothing is."""

    model_config = ConfigDict(frozen=True, defer_build=True)
    uid: str = ""
    value: Json = None


class Change(BaseModel):
    """An intended state of one object. `after` is that state, None where the object is to be gone.

    `seen` is what was there when it was planned, in the fields that the change writes; it is
    filled in by looking (`observe`) and is what the precondition and the undo are made from.
    A `body` holds everything but what the reference says already (apiVersion, kind, name,
    namespace). `needs` are the ids of changes that must be settled first; the rest go side by side.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    undo: ClassVar[Undo] = Undo.EXACT
    atomic: ClassVar[bool] = True  # one request, which is carried out whole or not at all

    id: str
    ref: Ref
    needs: tuple[str, ...] = ()
    seen: Seen | None = None
    settle_s: float = Field(default=300, description="seconds it may take to take effect")

    @property
    def after(self) -> Json:
        raise NotImplementedError

    @property
    def undoable(self) -> Undo:
        return self.undo

    @property
    def verb(self) -> Literal["create", "update", "delete"]:
        if self.after is None:
            return "delete"
        return "create" if self.seen is None or self.seen.value is None else "update"

    def inverse(self) -> "Change | None":
        """The change that takes this one back, or None where nothing does."""
        raise NotImplementedError


class Delete(Change):
    """Delete a Kubernetes object. `whole` is what would be made anew by an undo."""

    op: Literal["delete"] = "delete"
    whole: dict[str, Any] | None = None
    propagation: Literal["Background", "Foreground", "Orphan"] = "Background"

    @property
    def after(self) -> Json:
        return None

    @property
    def undoable(self) -> Undo:
        return Undo.RECREATES if self.whole else Undo.NONE

    def inverse(self) -> "Change | None":
        return Create(id=self.id, ref=self.ref, body=self.whole) if self.whole else None


# What these held goes with them, so making them anew would give back an empty shell.
HOLDERS = frozenset({"v1/Namespace", "v1/PersistentVolumeClaim"})


def _delete(ref: Ref, id: str, body: dict[str, Any]) -> Delete:
    return Delete(id=id, ref=ref, whole=None if ref.kind in HOLDERS else body)


class Create(Change):
    """Create a Kubernetes object that is not there; repeated, it is created once."""

    op: Literal["create"] = "create"
    body: dict[str, Any]
    await_end: bool = Field(default=False, description="settled when a Job has ended")

    @property
    def after(self) -> Json:
        return self.body

    def inverse(self) -> Change:
        return _delete(self.ref, self.id, self.body)


class Apply(Change):
    """Apply the fields that we own, server-side, as field manager `pilothouse`.

    `force` takes fields over from another manager; without it a conflict is an error.
    """

    op: Literal["apply"] = "apply"
    body: dict[str, Any]
    force: bool = False

    @property
    def after(self) -> Json:
        return self.body

    def inverse(self) -> Change:
        if self.seen is None or self.seen.value is None:
            return _delete(self.ref, self.id, self.body)
        return Apply(id=self.id, ref=self.ref, body=self.seen.value, force=True)


class Patch(Change):
    """Write a few fields of an object that somebody else owns (a strategic merge patch).

    Lists of objects merge by their Kubernetes merge key; None removes a field.
    """

    op: Literal["patch"] = "patch"
    fields: dict[str, Any]
    kind_of_patch: Literal["strategic", "merge"] = "strategic"

    @property
    def after(self) -> Json:
        return self.fields

    @property
    def verb(self) -> Literal["create", "update", "delete"]:
        return "update"

    def inverse(self) -> Change:
        value = self.seen.value if self.seen else {}
        return self.model_copy(update={"fields": value, "seen": None, "needs": ()})


class Scale(Change):
    """Set the replicas of a workload through its scale subresource."""

    op: Literal["scale"] = "scale"
    replicas: int

    @property
    def after(self) -> Json:
        return {"replicas": self.replicas}

    @property
    def verb(self) -> Literal["create", "update", "delete"]:
        return "update"

    def inverse(self) -> Change:
        assert self.seen is not None
        return Scale(id=self.id, ref=self.ref, replicas=self.seen.value["replicas"])


class PutRole(Change):
    """An IAM role with its trust policy, its one inline policy, its tags, and the ARN of the policy
    that bounds its permissions (empty: none)."""

    op: Literal["put_role"] = "put_role"
    atomic: ClassVar[bool] = False
    trust: dict[str, Any]
    policy: dict[str, Any]
    tags: dict[str, str] = {}
    boundary: str = ""

    @property
    def after(self) -> Json:
        return {
            "trust": self.trust,
            "policy": self.policy,
            "tags": self.tags,
            "boundary": self.boundary,
        }

    def inverse(self) -> Change:
        if self.seen is None or self.seen.value is None:
            return DeleteRole(id=self.id, ref=self.ref)
        return PutRole(id=self.id, ref=self.ref, **self.seen.value)


class DeleteRole(Change):
    """Delete an IAM role with its inline policies."""

    op: Literal["delete_role"] = "delete_role"
    atomic: ClassVar[bool] = False
    undo: ClassVar[Undo] = Undo.RECREATES

    @property
    def after(self) -> Json:
        return None

    def inverse(self) -> "Change | None":
        if self.seen is None or self.seen.value is None:
            return None
        return PutRole(id=self.id, ref=self.ref, **self.seen.value)


class PutPrefix(Change):
    """An S3 prefix (`bucket/prefix/`), held open by an empty object."""

    op: Literal["put_prefix"] = "put_prefix"
    tags: dict[str, str] = {}

    @property
    def after(self) -> Json:
        return {"tags": self.tags}

    def inverse(self) -> Change:
        if self.seen is None or self.seen.value is None:
            return DropPrefix(id=self.id, ref=self.ref)
        return PutPrefix(id=self.id, ref=self.ref, tags=self.seen.value["tags"])


class DropPrefix(Change):
    """Remove the empty object that holds a prefix open; what others put there stays."""

    op: Literal["drop_prefix"] = "drop_prefix"

    @property
    def after(self) -> Json:
        return None

    def inverse(self) -> Change:
        tags = self.seen.value["tags"] if self.seen and self.seen.value else {}
        return PutPrefix(id=self.id, ref=self.ref, tags=tags)


class EmptyPrefix(Change):
    """Delete every object (and version) under an S3 prefix."""

    op: Literal["empty_prefix"] = "empty_prefix"
    atomic: ClassVar[bool] = False
    undo: ClassVar[Undo] = Undo.NONE

    @property
    def after(self) -> Json:
        return None

    def inverse(self) -> None:
        return None


class SetInstance(Change):
    """Start or stop an EC2 or RDS instance."""

    op: Literal["set_instance"] = "set_instance"
    running: bool

    @property
    def after(self) -> Json:
        return {"running": self.running}

    @property
    def verb(self) -> Literal["create", "update", "delete"]:
        return "update"

    def inverse(self) -> Change:
        return SetInstance(id=self.id, ref=self.ref, running=not self.running)


class DeleteInstance(Change):
    """Terminate an EC2 instance, or delete an RDS one keeping a final snapshot where named."""

    op: Literal["delete_instance"] = "delete_instance"
    undo: ClassVar[Undo] = Undo.NONE
    final_snapshot: str = ""

    @property
    def after(self) -> Json:
        return None

    def inverse(self) -> None:
        return None


AnyChange = Annotated[
    Delete
    | Create
    | Apply
    | Patch
    | Scale
    | PutRole
    | DeleteRole
    | PutPrefix
    | DropPrefix
    | EmptyPrefix
    | SetInstance
    | DeleteInstance,
    Field(discriminator="op"),
]


class Difference(BaseModel):
    """One field that a change moves, by its path (`spec.replicas`)."""

    model_config = ConfigDict(defer_build=True)
    path: str
    before: Json = None
    after: Json = None


class Preview(BaseModel):
    """What one change would do.

    `how` says how that was come by: `server` (the API's own dry run), `computed` (by us, because
    there is nothing yet to dry-run against), or `probed` (its pod was dry-run in its place).
    `notes` name whoever else manages the fields and may put them back.
    """

    model_config = ConfigDict(defer_build=True)
    id: str
    title: str
    verb: Literal["create", "update", "delete"]
    how: Literal["server", "computed", "probed"]
    undo: Undo
    diff: list[Difference] = []
    notes: list[str] = []


class Plan(BaseModel):
    """What a write would do: one line for people, the changes, and what else they should know.

    `destructive` is set by a tool whose effect is worse than its changes show (undoing the making
    of a tenant deletes whatever was put there since). `result` is handed back on success.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    summary: str
    changes: tuple[AnyChange, ...] = ()
    notes: tuple[str, ...] = ()
    result: dict[str, Any] = {}
    destructive: bool = False

    @classmethod
    def of(cls, summary: str, changes: Iterable[Change], **fields: Any) -> Self:
        return cls.model_validate({"summary": summary, "changes": tuple(changes), **fields})

    @property
    def undo(self) -> Undo:
        """The least that any of its changes gives back."""
        order = [Undo.EXACT, Undo.RECREATES, Undo.NONE]
        return max((c.undoable for c in self.changes), key=order.index, default=Undo.EXACT)

    def only(self, ids: Set[str]) -> Self:
        """The same plan with just these changes, and no need of any other."""
        kept = tuple(
            c.model_copy(update={"needs": tuple(n for n in c.needs if n in ids)})
            for c in self.changes
            if c.id in ids
        )
        return self.model_copy(update={"changes": kept})

    def inverse(self) -> tuple["Change", ...]:
        """The changes that take this plan back, last first, without those that nothing undoes."""
        back = {c.id: inverse for c in self.changes if (inverse := c.inverse()) is not None}
        needed_by: dict[str, list[str]] = {c.id: [] for c in self.changes}
        for change in self.changes:
            for need in change.needs:
                needed_by[need].append(change.id)
        return tuple(
            back[c.id].model_copy(update={"needs": tuple(i for i in needed_by[c.id] if i in back)})
            for c in reversed(self.changes)
            if c.id in back
        )


def in_order(changes: Iterable[Change]) -> list[Change]:
    """The changes with each behind what it needs. Raises `ValueError` where that cannot be."""
    order = TopologicalSorter({c.id: set(c.needs) for c in changes})
    by_id = {c.id: c for c in changes}
    if unknown := {n for c in changes for n in c.needs} - by_id.keys():
        raise ValueError(f"changes need {sorted(unknown)}, which the plan does not have")
    try:
        return [by_id[i] for i in order.static_order()]
    except CycleError as error:
        raise ValueError(f"changes need each other: {error.args[1]}") from error


def canonical(value: Json) -> str:
    """The one spelling of a JSON value, for comparing and for digests."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def digest(tool: str, arguments: Json, requester: str, plan: Plan) -> str:
    """What an approval is bound to: the tool, its arguments, who asked, and every change."""
    whole = [tool, arguments, requester, plan.model_dump(mode="json")]
    return hashlib.sha256(canonical(whole).encode()).hexdigest()
