"""`pilothouse doctor`: is all there that Pilothouse needs, and what would mend what is not?"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.text import Text

from server.commands.doctor_cluster import Finding, cluster, tried
from server.commands.show import clean, out, show_json
from tools.errors import ToolError

if TYPE_CHECKING:
    from server.settings import Settings


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
            async for finding in cluster(name, api):
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


async def _aws(aws: Any) -> AsyncIterator[Finding]:
    _, wrong = await tried("AWS", aws.connected)
    if wrong:
        yield wrong
        return
    yield Finding("AWS", said=aws.at)
    if not aws.bucket:
        yield Finding("AWS: bucket", "none is named", "Set aws.bucket to one that is there.")
    else:
        _, wrong = await tried(
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
        _, wrong = await tried("AWS: OIDC provider", ask)
        issuer = provider.partition(":oidc-provider/")[2]
        mend = f"aws iam create-open-id-connect-provider --url https://{issuer}"
        yield (
            Finding("AWS: OIDC provider", wrong.wrong, mend)
            if wrong
            else Finding("AWS: OIDC provider", said=issuer)
        )


def _show(finding: Finding) -> None:
    mark = ("✗", "red") if finding.wrong else ("✓", "green")
    said = finding.wrong or finding.said
    out.print(Text.assemble(mark, f" {finding.what}", (f"  {clean(said)}" if said else "", "dim")))
    if finding.mend:
        out.print(Text(f"    {clean(finding.mend)}", "yellow"))
