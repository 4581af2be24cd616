"""`pilothouse doctor`: is all there that Pilothouse needs, and what would mend what is not?"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from server.commands.show import clean, out, show_json
from tools.errors import Code, ToolError

if TYPE_CHECKING:
    from server.settings import Settings

REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
AT_ONCE = 16
MOST = 8  # kinds that are named, of those that rights are missing for
APPLY = "kubectl apply -f deploy/clusterroles.yaml"


@dataclass(frozen=True)
class Finding:
    """What was looked at; `wrong` and what would mend it where it is not well."""

    what: str
    wrong: str = ""
    mend: str = ""
    said: str = ""


async def examine(json: bool, **options: Any) -> int:
    found = []
    async for finding in findings(options):
        found.append(finding)
        if not json:
            _show(finding)
    wrong = [f for f in found if f.wrong]
    if json:
        show_json({"well": not wrong, "findings": [asdict(f) for f in found]})
    elif wrong:
        out.print(f"\n{len(wrong)} to mend.", style="red")
    else:
        out.print("\nAll is well.", style="green")
    return 1 if wrong else 0


async def findings(options: Mapping[str, Any]) -> AsyncIterator[Finding]:
    from server.app import check_toolsets, load_policy, make_backends
    from server.settings import load

    try:
        settings = load(**options)
        check_toolsets(settings)
    except ToolError as error:
        yield Finding("settings", error.message, error.hint)
        return
    yield Finding("settings", said=str(settings.state))
    yield _policy(settings, load_policy)
    yield await _state(settings)
    backends = make_backends(settings)
    try:
        for name, api in backends.apis.items():
            async for finding in _cluster(name, api):
                yield finding
        if backends.aws is None:
            yield Finding("AWS", said="not configured: tenants get no IAM role and no S3 prefix")
        else:
            async for finding in _aws(backends.aws):
                yield finding
    finally:
        await backends.close()


def _policy(settings: "Settings", load_policy: Callable[["Settings"], object]) -> Finding:
    said = str(settings.policy or "the shipped one")
    try:
        load_policy(settings)
    except ToolError as error:
        return Finding("policy", error.message, f"Mend {said}.")
    return Finding("policy", said=said)


async def _state(settings: "Settings") -> Finding:
    """Somebody has it, or we could."""
    from server.journal import Journal
    from server.remote import RemoteGate
    from server.seat import SOCKET, Seat

    try:
        seat = Seat.take(settings.state)
    except ToolError as error:
        return Finding("state", error.message, error.hint)
    if seat is None:
        owner = RemoteGate(settings.state / SOCKET)
        try:
            about = await owner.get("/local")
        except ToolError as error:
            return Finding("state", error.message, "Stop the process that holds it.")
        finally:
            await owner.close()
        at = f" at {about['url']}" if about.get("url") else ""
        return Finding("state", said=f"held by process {about['pid']}{at}")
    try:
        journal = await Journal.open(settings.database_url)
        await journal.close()
    except ToolError as error:
        return Finding("state", error.message, error.hint)
    finally:
        seat.leave()
    return Finding("state", said="nobody has it open")


async def _cluster(name: str, api: Any) -> AsyncIterator[Finding]:
    what = f"cluster {name}"
    version, wrong = await _tried(what, lambda: api.get("/version", timeout_s=5))
    if wrong:
        yield wrong
        return
    yield Finding(what, said=f"{api.connection.url}, {version.get('gitVersion', '')}")
    wanted = cluster_roles()
    listed, wrong = await _tried(f"{what}: roles", lambda: api.get(ROLES))
    if wrong:
        yield wrong
    else:
        there = {role["metadata"]["name"] for role in listed["items"]}
        names = [b["metadata"]["name"] for b in wanted if b["kind"] == "ClusterRole"]
        missing = [n for n in names if n.startswith("pilothouse:") and n not in there]
        lost = f"not there: {', '.join(missing)}" if missing else ""
        yield Finding(f"{what}: roles", lost, APPLY if missing else "")
    own = next(b for b in wanted if b["metadata"]["name"] == "pilothouse")
    rights, wrong = await _tried(f"{what}: rights", lambda: _missing(api, own["rules"]))
    more = f"; and {len(rights) - MOST} more" if len(rights) > MOST else ""
    lost = f"missing: {'; '.join(rights[:MOST])}{more}" if rights else ""
    yield wrong or Finding(f"{what}: rights", lost, APPLY if rights else "")


async def _missing(api: Any, rules: list[dict[str, Any]]) -> list[str]:
    """The rights of the shipped role that we do not have."""
    asked = asyncio.Semaphore(AT_ONCE)

    async def ask(group: str, resource: str, name: str, verb: str) -> tuple[str, str]:
        main, _, part = resource.partition("/")
        attributes = {
            "group": group, "resource": main, "subresource": part, "verb": verb, "name": name,
        }  # fmt: skip
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {k: v for k, v in attributes.items() if v}},
        }
        async with asked:
            reply = await api.request("POST", REVIEW, body=body)
        kind = f"{resource}.{group}" if group else resource
        return ("" if reply.body["status"]["allowed"] else verb), f"{kind} {name}".strip()

    asks = [
        ask(group, resource, name, verb)
        for rule in rules
        for group in rule.get("apiGroups", ())
        for resource in rule.get("resources", ())
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
        # Those are asked for with names that only a request has.
        if verb != "impersonate"
    ]
    missing: dict[str, list[str]] = {}
    for verb, kind in await asyncio.gather(*asks):
        if verb:
            missing.setdefault(kind, []).append(verb)
    return [f"{', '.join(sorted(set(verbs)))} {kind}" for kind, verbs in missing.items()]


async def _aws(aws: Any) -> AsyncIterator[Finding]:
    _, wrong = await _tried("AWS", aws.connected)
    if wrong:
        yield wrong
        return
    yield Finding("AWS", said=aws.at)
    if not aws.bucket:
        yield Finding("AWS: bucket", "none is named", "Set aws.bucket to one that is there.")
    else:
        _, wrong = await _tried(
            "AWS: bucket", lambda: aws.call("s3", "head_bucket", Bucket=aws.bucket)
        )
        if wrong:
            mend = f"aws s3 mb s3://{aws.bucket} --region {aws.requests.region}"
            yield Finding("AWS: bucket", f"{aws.bucket}: {wrong.wrong}", mend)
        else:
            yield Finding("AWS: bucket", said=aws.bucket)
    for provider in aws.provider_arns:
        arn = {"OpenIDConnectProviderArn": provider}
        ask = partial(aws.call, "iam", "get_open_id_connect_provider", **arn)
        _, wrong = await _tried("AWS: OIDC provider", ask)
        issuer = provider.partition(":oidc-provider/")[2]
        mend = f"aws iam create-open-id-connect-provider --url https://{issuer}"
        yield (
            Finding("AWS: OIDC provider", wrong.wrong, mend)
            if wrong
            else Finding("AWS: OIDC provider", said=issuer)
        )


async def _tried(what: str, ask: Callable[[], Awaitable[Any]]) -> tuple[Any, Finding | None]:
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


def _show(finding: Finding) -> None:
    mark = ("✗", "red") if finding.wrong else ("✓", "green")
    said = finding.wrong or finding.said
    out.print(Text.assemble(mark, f" {finding.what}", (f"  {clean(said)}" if said else "", "dim")))
    if finding.mend:
        out.print(Text(f"    {clean(finding.mend)}", "yellow"))
