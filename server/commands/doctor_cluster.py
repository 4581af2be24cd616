"""What `pilothouse doctor` asks a cluster: is it there, whom does it take us for, what may we?"""

import asyncio
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.backends.kubernetes.cluster import METADATA
from tools.errors import Code, ToolError
from tools.objects import MANAGED_BY, OURS
from tools.provisioning import PILOTHOUSE, ROLES, UID

ACCESS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
CLUSTER_ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
AT_ONCE = 16
MOST = 8  # that are named, of what is missing
TENANTS = 100  # that are looked at
APPLY = "kubectl apply -f deploy/clusterroles.yaml"
# Whom deploy/ and the tenants' bindings name.
ACCOUNT = "system:serviceaccount:"
SHIPPED = f"{ACCOUNT}{PILOTHOUSE['namespace']}:{PILOTHOUSE['name']}"


@dataclass(frozen=True)
class Finding:
    """What was looked at; `wrong` and what would mend it where it is not well."""

    what: str
    wrong: str = ""
    mend: str = ""
    said: str = ""


async def cluster(name: str, api: Any) -> AsyncIterator[Finding]:
    what = f"cluster {name}"
    version, wrong = await tried(what, lambda: api.get("/version", timeout_s=5))
    if wrong:
        yield wrong
        return
    yield Finding(what, said=f"{api.connection.url}, {version.get('gitVersion', '')}")
    who, wrong = await tried(f"{what}: as", lambda: _who(api))
    yield wrong or Finding(f"{what}: as", said=who)
    who = who or SHIPPED
    wanted = cluster_roles()
    listed, wrong = await tried(f"{what}: roles", lambda: api.get(CLUSTER_ROLES))
    if wrong:
        yield wrong
    else:
        there = {role["metadata"]["name"] for role in listed["items"]}
        names = [b["metadata"]["name"] for b in wanted if b["kind"] == "ClusterRole"]
        missing = [n for n in names if n.startswith("pilothouse:") and n not in there]
        lost = f"not there: {', '.join(missing)}" if missing else ""
        yield Finding(f"{what}: roles", lost, APPLY if missing else "")
    own = next(b for b in wanted if b["metadata"]["name"] == "pilothouse")
    rights, wrong = await tried(f"{what}: rights", lambda: _missing(api, own["rules"]))
    lost = f"missing: {_some(rights, '; ')}" if rights else ""
    mend = APPLY if who == SHIPPED else f"{APPLY}; {_granting('pilothouse', who)}"
    yield wrong or Finding(f"{what}: rights", lost, mend if rights else "")
    found, wrong = await tried(f"{what}: callers", lambda: _callers(f"{what}: callers", api, who))
    yield wrong or found


async def _who(api: Any) -> str:
    """Whom the cluster takes us for."""
    reply = await api.request("POST", WHO, body=_review("authentication", "SelfSubjectReview"))
    return str(reply.body["status"]["userInfo"]["username"])


async def _callers(what: str, api: Any, who: str) -> Finding:
    """May we act as the tenants' accounts, as we do for their callers?"""
    query = {"labelSelector": f"{MANAGED_BY}={OURS},{UID}", "limit": TENANTS}
    listed = await api.get("/api/v1/namespaces", query, accept=METADATA)
    tenants = [item["metadata"]["name"] for item in listed.get("items") or ()]
    asked = asyncio.Semaphore(AT_ONCE)

    async def may(namespace: str) -> bool:
        account = {"resource": "serviceaccounts", "name": f"pilothouse-{ROLES[-1]}"}
        async with asked:
            return await _may(api, verb="impersonate", namespace=namespace, **account)

    mend = _granting("pilothouse:impersonator", who)
    if not tenants and (who == SHIPPED or await may("")):
        return Finding(what, said="no tenants yet")
    if not tenants:
        wrong = f"tenants let {SHIPPED} act for their callers, and this is {who}"
        return Finding(what, wrong, mend)
    allowed = await asyncio.gather(*map(may, tenants))
    lost = [tenant for tenant, yes in zip(tenants, allowed, strict=True) if not yes]
    if not lost:
        return Finding(what, said="it may act as the tenants' accounts")
    if who == SHIPPED:
        mend = f"pilothouse call tenant_repair tenant={lost[0]}"
    return Finding(what, f"all are refused, as {who} may not act for them: {_some(lost)}", mend)


def _granting(role: str, who: str) -> str:
    """How somebody else than deploy/ names gets what it gives."""
    subject = f"--user={shlex.quote(who)}"
    if who.startswith(ACCOUNT):
        subject = f"--serviceaccount={who.removeprefix(ACCOUNT)}"
    return (
        f"kubectl create clusterrolebinding {role}-here --clusterrole={role} {subject}; or run "
        f"Pilothouse as {SHIPPED}, whom deploy/ names."
    )


async def _missing(api: Any, rules: list[dict[str, Any]]) -> list[str]:
    """The rights of the shipped role that we do not have."""
    asked = asyncio.Semaphore(AT_ONCE)

    async def ask(group: str, resource: str, name: str, verb: str) -> tuple[str, str]:
        main, _, part = resource.partition("/")
        wanted = {"group": group, "resource": main, "subresource": part, "name": name}
        async with asked:
            allowed = await _may(api, verb=verb, **wanted)
        kind = f"{resource}.{group}" if group else resource
        return ("" if allowed else verb), f"{kind} {name}".strip()

    asks = [
        ask(group, resource, name, verb)
        for rule in rules
        for group in rule.get("apiGroups", ())
        for resource in rule.get("resources", ())
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    ]
    missing: dict[str, list[str]] = {}
    for verb, kind in await asyncio.gather(*asks):
        if verb:
            missing.setdefault(kind, []).append(verb)
    return [f"{', '.join(sorted(set(verbs)))} {kind}" for kind, verbs in missing.items()]


async def _may(api: Any, **attributes: str) -> bool:
    wanted = {"resourceAttributes": {k: v for k, v in attributes.items() if v}}
    body = _review("authorization", "SelfSubjectAccessReview") | {"spec": wanted}
    reply = await api.request("POST", ACCESS, body=body)
    return bool(reply.body["status"]["allowed"])


def _review(group: str, kind: str) -> dict[str, Any]:
    return {"apiVersion": f"{group}.k8s.io/v1", "kind": kind}


def _some(names: Sequence[str], between: str = ", ") -> str:
    more = f"{between}and {len(names) - MOST} more" if len(names) > MOST else ""
    return f"{between.join(names[:MOST])}{more}"


async def tried(what: str, ask: Callable[[], Awaitable[Any]]) -> tuple[Any, Finding | None]:
    try:
        return await ask(), None
    except ToolError as error:
        mend = error.hint
        if error.code is Code.UNAVAILABLE and not mend:
            mend = "Is it running, and is the address right?"
        return None, Finding(what, error.message, mend)


def cluster_roles() -> list[dict[str, Any]]:
    """What deploy/clusterroles.yaml holds."""
    import yaml

    # Beside `server`, in a checkout as where it is installed.
    file = Path(__file__).parents[2] / "deploy" / "clusterroles.yaml"
    return [body for body in yaml.safe_load_all(file.read_text()) if body]
