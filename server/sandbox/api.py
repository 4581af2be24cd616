"""The operations of the API on objects: create, read, change, delete.

Every operation is one step that nothing interrupts, so there is nothing to lock. The HTTP door,
the controllers and the kubelet all write through here.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import defaults, managers
from .admission import Admission, suffix
from .clock import Clock, later, stamp
from .decoding import configuration, decoded, patched, place
from .errors import (
    already_exists,
    bad_request,
    conflict,
    invalid,
    not_found,
    precondition_failed,
    required,
)
from .identity import ADMIN, User
from .kinds import Kind, Kinds
from .managers import Manager
from .rbac import Attributes, Authorizer, denial
from .schema import clone, normal
from .store import Record, Store
from .validation import validate

Object = dict[str, Any]
Change = Callable[[Object], Object]
RBAC_KINDS = {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}
CHILDREN_STAY = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background "
    "to remove them or set propagationPolicy=Orphan to suppress this warning"
)


@dataclass
class Ask:
    """Who writes, and how."""

    user: User = ADMIN
    manager: str = "unknown"
    dry_run: bool = False
    force: bool = False
    validation: str = "Warn"
    warnings: list[str] = field(default_factory=list)


@dataclass
class DeleteOptions:
    """How to delete."""

    policy: str | None = None
    grace: int | None = None
    uid: str | None = None
    revision: str | None = None


class Api:
    """Objects of all kinds, behind the rules of the API."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.kinds = Kinds()
        self.store = Store()
        self.authorizer = Authorizer(self.store, self.kinds)
        self.admission = Admission(self.store, self.kinds)
        self._addresses = 0

    # Reading

    def get(self, kind: Kind, namespace: str, name: str) -> Record:
        """One object, or the refusal that it is not there."""
        record = self.store.get(kind, namespace, name)
        if record is None:
            raise not_found(kind, name)
        return record

    def find(self, kind: str, namespace: str, name: str) -> Object | None:
        """One object by the name of its kind, or None."""
        record = self.store.get(self.kinds.named(kind), namespace, name)
        return record.object if record else None

    # Writing

    def create(self, kind: Kind, namespace: str, body: Object, ask: Ask) -> Record:
        """Store a new object."""
        obj = decoded(kind, body, ask.validation, ask.warnings)
        meta = obj.setdefault("metadata", {})
        if meta.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        place(kind, namespace, meta)
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + suffix()
        self._default(kind, obj)
        if "status" in kind.subresources:
            obj.pop("status", None)
        writer = Manager(ask.manager, "Update", kind.api_version)
        named = obj | {"metadata": {k: v for k, v in meta.items() if k != "managedFields"}}
        meta["managedFields"] = managers.updated(kind.shape, {}, named, writer, self._time())
        return self._add(kind, obj, ask)

    def apply(
        self, kind: Kind, namespace: str, name: str, body: Object, ask: Ask, subresource: str = ""
    ) -> tuple[Record, bool]:
        """Server-side apply; also says whether the object is new."""
        if not ask.manager:
            cause = required("fieldManager", "is required for apply patch")
            raise invalid("meta.k8s.io", "PatchOptions", "", [cause])
        wanted = configuration(kind, namespace, name, body, subresource)
        record = self.store.get(kind, namespace, name)
        writer = Manager(ask.manager, "Apply", kind.api_version, subresource)
        live = record.object if record else None
        sent = body.get("metadata", {}).get("resourceVersion")
        if record and live and sent and sent != live["metadata"]["resourceVersion"]:
            raise conflict(kind, name)
        merged = managers.apply(kind.shape, live, wanted, writer, ask.force, self._time())
        if record is not None:
            return self.replace(record, merged, ask, subresource, managed=True), False
        if subresource:
            raise not_found(kind, name)
        self._may_create(kind, namespace, name, ask)
        obj = normal(kind.shape, merged, kind.kind, kind.version)
        obj |= {"apiVersion": kind.api_version, "kind": kind.kind}
        obj["metadata"]["managedFields"] = merged["metadata"]["managedFields"]
        place(kind, namespace, obj["metadata"])
        self._default(kind, obj)
        return self._add(kind, obj, ask), True

    def update(
        self, kind: Kind, namespace: str, name: str, body: Object, ask: Ask, subresource: str = ""
    ) -> Record:
        """Replace an object with what the client sends."""
        record = self.get(kind, namespace, name)
        obj = decoded(kind, body, ask.validation, ask.warnings)
        place(kind, namespace, obj.setdefault("metadata", {}))
        if obj["metadata"].get("name", name) != name:
            sent = obj["metadata"]["name"]
            raise bad_request(
                f"the name of the object ({sent}) does not match the name on the URL ({name})"
            )
        obj["metadata"]["name"] = name
        return self.replace(record, obj, ask, subresource)

    def patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        sort: str,
        body: Any,
        ask: Ask,
        subresource: str = "",
    ) -> Record:
        """Change an object by a patch of any sort but apply."""
        record = self.get(kind, namespace, name)
        obj = decoded(kind, patched(kind, record.object, sort, body), ask.validation, ask.warnings)
        return self.replace(record, obj, ask, subresource)

    def delete(
        self, kind: Kind, namespace: str, name: str, options: DeleteOptions, ask: Ask
    ) -> Object:
        """Delete an object, or set about it; answers what the API answers."""
        record = self.get(kind, namespace, name)
        obj, meta = record.object, record.object["metadata"]
        if options.uid and options.uid != meta["uid"]:
            raise precondition_failed(kind, name, _other_uid(options.uid, meta["uid"]))
        if options.revision and options.revision != meta["resourceVersion"]:
            raise precondition_failed(
                kind,
                name,
                f"the ResourceVersion in the precondition ({options.revision}) does "
                f"not match the ResourceVersion in record ({meta['resourceVersion']}). The object "
                "might have been modified",
            )
        policy = options.policy
        if policy is None and kind.kind == "Job":
            policy = "Orphan"
            ask.warnings.append(CHILDREN_STAY)
        grace = self._grace(kind, obj, options.grace)
        finalizers = list(meta.get("finalizers", ()))
        mark = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(policy or "")
        if mark and mark not in finalizers:
            finalizers.append(mark)
        waits = grace > 0 or finalizers or kind.kind == "Namespace"
        if not waits:
            gone = record if ask.dry_run else self.store.remove(record)
            return gone.object if kind.returns_deleted else _deleted(kind, meta)
        if meta.get("deletionTimestamp") and grace >= meta.get("deletionGracePeriodSeconds", 0):
            return obj
        marked = self._marked(kind, obj, grace, finalizers)
        return marked if ask.dry_run else self.store.put(kind, marked).object

    def finish(self, record: Record) -> None:
        """Take an object out whose deletion nothing holds up any more."""
        now = self.store.get(record.kind, *record.key)
        if now and now.object["metadata"]["uid"] == record.object["metadata"]["uid"]:
            self.store.remove(now)

    def write(
        self, kind: str, obj: Object, change: Change, manager: str, subresource: str = ""
    ) -> Object | None:
        """Change an object as a controller does: None when it is gone meanwhile."""
        meta = obj["metadata"]
        record = self.store.get(self.kinds.named(kind), meta.get("namespace", ""), meta["name"])
        if record is None or record.object["metadata"]["uid"] != meta["uid"]:
            return None
        new = change(clone(record.object))
        ask = Ask(manager=manager, validation="Ignore")
        return self.replace(record, new, ask, subresource).object

    def replace(
        self, record: Record, obj: Object, ask: Ask, subresource: str, managed: bool = False
    ) -> Record:
        """Store another version of an object, checked against the one that is there.

        `managed` says that its managedFields are already as they should be.
        """
        kind, old = record.kind, record.object
        before, meta = old["metadata"], obj["metadata"]
        if meta.get("resourceVersion", before["resourceVersion"]) != before["resourceVersion"]:
            raise conflict(kind, before["name"])
        if meta.get("uid", before["uid"]) != before["uid"]:
            message = f"{_other_uid(meta['uid'], before['uid'])}"
            raise precondition_failed(kind, before["name"], message)
        entries = meta.get("managedFields", []) if managed else before.get("managedFields", [])
        obj = obj if subresource else normal(kind.shape, obj, kind.kind, kind.version)
        obj = obj | {"metadata": obj["metadata"] | _kept(before)}
        self._keep_other_part(kind, old, obj, subresource)
        if not subresource:
            self._default(kind, obj)
        obj["metadata"].pop("managedFields", None)
        if entries:
            obj["metadata"]["managedFields"] = entries
        if not managed:
            entries = self._managers(kind, old, obj, ask, subresource)
            if entries:
                obj["metadata"]["managedFields"] = entries
        if kind.generation and _intent(old) != _intent(obj):
            obj["metadata"]["generation"] = before.get("generation", 1) + 1
        if not subresource:
            validate(kind, obj, old)
            self._check_grant(kind, obj, ask)
            self.admission.warn(kind, obj, ask.warnings)
        elif subresource == "scale":
            validate(kind, obj, old)
        elif subresource == "resize":
            validate(kind, obj)
        if _same(old, obj):
            return record
        if ask.dry_run:
            return Record(kind, obj)
        return self._settle(record, obj)

    # How it is done

    def _add(self, kind: Kind, obj: Object, ask: Ask) -> Record:
        meta = obj["metadata"]
        namespace = meta.get("namespace", "")
        if self.store.get(kind, namespace, meta.get("name", "")):
            raise already_exists(kind, meta["name"])
        meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": self._time()}
        for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
            meta.pop(name, None)
        if kind.generation:
            meta["generation"] = 1
        self._prepare(kind, obj)
        self.admission.mutate(kind, obj)
        validate(kind, obj)
        self._check_grant(kind, obj, ask)
        self.admission.validate(kind, obj, ask.warnings)
        if ask.dry_run:
            return Record(kind, _in_order(obj))
        return self.store.put(kind, _in_order(obj))

    def _managers(
        self, kind: Kind, old: Object, obj: Object, ask: Ask, subresource: str
    ) -> list[Object]:
        writer = Manager(ask.manager, "Update", kind.api_version, subresource)
        if subresource != "scale":
            return managers.updated(kind.shape, old, obj, writer, self._time())
        # A Scale carries no time of its own, so neither does what is written through it; and no
        # replicas are no field there: nobody owns them after a stop, nor after the start.
        entries = managers.updated(kind.shape, old, obj, writer, None)
        if old["spec"].get("replicas") and obj["spec"].get("replicas"):
            return entries
        return [entry for entry in entries if entry.get("subresource") != "scale"]

    def _settle(self, record: Record, obj: Object) -> Record:
        meta = obj["metadata"]
        if meta.get("deletionTimestamp") and not meta.get("finalizers"):
            held = record.kind.kind == "Namespace" and obj["spec"].get("finalizers")
            if not held and not meta.get("deletionGracePeriodSeconds"):
                return self.store.remove(record)
        return self.store.put(record.kind, obj)

    def _default(self, kind: Kind, obj: Object) -> None:
        if "spec" in kind.shape.fields and kind.shape.name != "Custom":
            obj.setdefault("spec", {})
        defaults.apply_defaults(kind, obj)

    def _prepare(self, kind: Kind, obj: Object) -> None:
        if kind.kind in defaults.NEW_STATUS:
            obj.setdefault("status", clone(defaults.NEW_STATUS[kind.kind]))
        if kind.kind == "Job":
            defaults.job_selector(obj)
        elif kind.kind == "Namespace":
            obj["spec"].setdefault("finalizers", ["kubernetes"])
        elif kind.kind == "Event":
            defaults.fill(
                obj, {"eventTime": None, "reportingComponent": "", "reportingInstance": ""}
            )
        elif kind.kind == "Service" and obj["spec"]["type"] != "ExternalName":
            self._addresses += 1
            address = f"10.96.{self._addresses // 250}.{self._addresses % 250 + 1}"
            obj["spec"].setdefault("clusterIP", address)
            obj["spec"].setdefault("clusterIPs", [obj["spec"]["clusterIP"]])

    def _keep_other_part(self, kind: Kind, old: Object, obj: Object, subresource: str) -> None:
        """A write changes the specification or the status, never both."""
        if subresource in ("status", "scale") or (
            not subresource and "status" in kind.subresources
        ):
            mine = "status" if subresource == "status" else ""
            for part in ({*old, *obj} - {"metadata", mine}) if mine else {"status"}:
                if part in old:
                    obj[part] = old[part]
                else:
                    obj.pop(part, None)
        if subresource == "resize":
            _keep_all_but_resources(old, obj)
        for name in ("clusterIP", "clusterIPs"):
            if kind.kind == "Service" and name in old["spec"]:
                obj["spec"].setdefault(name, old["spec"][name])

    def _grace(self, kind: Kind, obj: Object, asked: int | None) -> int:
        if kind.kind != "Pod" or not obj["spec"].get("nodeName"):
            return 0
        if obj.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            return 0
        usual = obj["spec"].get("terminationGracePeriodSeconds", 30)
        return int(usual if asked is None else asked)

    def _marked(self, kind: Kind, obj: Object, grace: int, finalizers: list[str]) -> Object:
        meta = obj["metadata"] | {
            "deletionTimestamp": obj["metadata"].get(
                "deletionTimestamp", stamp(later(self.clock.now(), grace))
            )
        }
        if kind.kind != "Namespace":
            meta["deletionGracePeriodSeconds"] = grace
        if finalizers:
            meta["finalizers"] = finalizers
        if kind.generation and "deletionTimestamp" not in obj["metadata"] and kind.kind != "Pod":
            meta["generation"] = meta.get("generation", 1) + 1
        marked = obj | {"metadata": meta}
        if kind.kind == "Namespace":
            marked["status"] = obj.get("status", {}) | {"phase": "Terminating"}
        return marked

    def _check_grant(self, kind: Kind, obj: Object, ask: Ask) -> None:
        if kind.kind in RBAC_KINDS:
            self.authorizer.check_grant(ask.user, kind, obj)

    def _may_create(self, kind: Kind, namespace: str, name: str, ask: Ask) -> None:
        wanted = Attributes("create", kind.group, kind.plural, "", namespace, name)
        if not self.authorizer.allowed(ask.user, wanted):
            raise denial(ask.user, wanted, kind)

    def _time(self) -> str:
        return stamp(self.clock.now())


def _keep_all_but_resources(old: Object, obj: Object) -> None:
    wanted = {c["name"]: c.get("resources", {}) for c in obj["spec"].get("containers", ())}
    containers = [
        container | {"resources": wanted.get(container["name"], container["resources"])}
        for container in old["spec"]["containers"]
    ]
    obj["spec"] = old["spec"] | {"containers": containers}
    obj["status"] = old.get("status", {})


def _kept(before: Object) -> Object:
    names = (
        "uid",
        "creationTimestamp",
        "resourceVersion",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generateName",
        "name",
        "namespace",
    )
    return {name: before[name] for name in names if name in before}


def _same(old: Object, new: Object) -> bool:
    """Whether nothing is different, times of managers aside."""

    def entries(obj: Object) -> list[Object]:
        listed = obj["metadata"].get("managedFields", ())
        return [{k: v for k, v in entry.items() if k != "time"} for entry in listed]

    def rest(obj: Object) -> Object:
        return obj | {"metadata": obj["metadata"] | {"managedFields": None}}

    return rest(old) == rest(new) and entries(old) == entries(new)


def _intent(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


def _in_order(obj: Object) -> Object:
    first = {key: obj[key] for key in ("kind", "apiVersion", "metadata")}
    return first | {key: value for key, value in obj.items() if key not in first}


def _other_uid(wanted: str, found: str) -> str:
    return (
        f"the UID in the precondition ({wanted}) does not match the UID in record ({found}). "
        "The object might have been deleted and then recreated"
    )


def _deleted(kind: Kind, meta: Object) -> Object:
    about: Object = {"name": meta["name"]}
    if kind.group:
        about["group"] = kind.group
    about |= {"kind": kind.plural, "uid": meta["uid"]}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": about,
    }
