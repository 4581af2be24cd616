"""The command line. Each command imports what it needs when it is called.

Ends with 0 when it is done, 1 when it failed, 2 when what was asked for makes no sense, 3 when it
waits for somebody's decision, 4 when it still runs.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="pilothouse",
    help="Run a multi-tenant Kubernetes platform: every change planned, previewed, approved, "
    "recorded, and undone if you like.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)
token_app = typer.Typer(help="Who may come in.", no_args_is_help=True)
app.add_typer(token_app, name="token")
user_app = typer.Typer(help="People who sign in with a password.", no_args_is_help=True)
app.add_typer(user_app, name="user")
slack_app = typer.Typer(
    help="Slack. Without a command: run it beside a server (`slack.apart`); docs/chatops.md.",
    invoke_without_command=True,
)
app.add_typer(slack_app, name="slack")
key_app = typer.Typer(help="The key of the state.", no_args_is_help=True)
app.add_typer(key_app, name="key")
audit_app = typer.Typer(help="Who did what.", no_args_is_help=True)
app.add_typer(audit_app, name="audit")

# Each of these is a setting too, and a PILOTHOUSE_ variable.
STATE: dict[str, Any] = {
    "state": Annotated[Path | None, typer.Option(help="directory of the state")],
    "kubeconfig": Annotated[str | None, typer.Option(help="kubeconfig file")],
    "context": Annotated[str | None, typer.Option(help="context in it")],
    "config": Annotated[Path | None, typer.Option(help="settings file")],
}
SERVER: dict[str, Any] = {
    "token": Annotated[str | None, typer.Option(help="else PILOTHOUSE_TOKEN")],
    "url": Annotated[str | None, typer.Option(help="a server elsewhere; else PILOTHOUSE_URL")],
}
OFFER: dict[str, Any] = {
    "read_only": Annotated[
        bool | None, typer.Option("--read-only", help="refuse every tool that changes something")
    ],
    "toolsets": Annotated[str | None, typer.Option(help="groups of tools: tenants,jobs")],
    "prometheus": Annotated[str | None, typer.Option(help="URL of a Prometheus to advise from")],
    "policy": Annotated[str | None, typer.Option(help="Cedar policy file")],
}
LISTEN: dict[str, Any] = {
    "host": Annotated[str | None, typer.Option(help="address to listen on")],
    "port": Annotated[int | None, typer.Option(help="port to listen on; 0 takes a free one")],
    "tls_cert": Annotated[Path | None, typer.Option(help="certificate to serve TLS with")],
    "tls_key": Annotated[Path | None, typer.Option(help="its key")],
    "client_ca": Annotated[Path | None, typer.Option(help="CA of clients' certificates")],
}
AsJson = Annotated[bool, typer.Option("--json", help="answer as JSON")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="do not ask again")]
Preview = Annotated[bool, typer.Option("--preview", help="show what it would do")]
Wait = Annotated[float | None, typer.Option(help="seconds to wait for its end")]
CallId = Annotated[str, typer.Argument(metavar="ID", help="a call's id, or how it begins")]


class Output(StrEnum):
    table = "table"
    json = "json"
    csv = "csv"
    html = "html"
    yaml = "yaml"


class Export(StrEnum):
    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"


Where = Mapping[str, Any]
Command = Callable[..., None]


def taking(*options: dict[str, Any]) -> Callable[[Command], Command]:
    """Add options to a command, which is handed those of them together, as `where`."""
    added = {name: kind for group in options for name, kind in group.items()}

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_options(**given: Any) -> None:
            command(where={name: given.pop(name) for name in added}, **given)

        own = inspect.signature(command, eval_str=True).parameters
        kept = [p.replace(kind=p.KEYWORD_ONLY) for p in own.values() if p.name != "where"]
        kept += [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
            for name, kind in added.items()
        ]
        with_options.__signature__ = inspect.Signature(kept)  # type: ignore[attr-defined]
        with_options.__annotations__ = {p.name: p.annotation for p in kept}
        return with_options

    return decorate


@app.command()
@taking(STATE, LISTEN, OFFER)
def serve(where: Where) -> None:
    """Serve MCP at /mcp, REST at /api/v1, /health, /ready and /metrics."""
    from server.commands import running, serving

    running.run(serving.serve(**where))


@app.command()
@taking(STATE, SERVER, OFFER)
def mcp(where: Where) -> None:
    """Speak MCP over stdin and stdout, for a client that starts it."""
    from server.commands import running, serving

    running.run(serving.mcp(**where))


@app.command()
def demo(
    port: Annotated[int, typer.Option(help="port to listen on")] = 8000,
    state: Annotated[
        Path | None, typer.Option(help="keep the state here; a temporary one if not given")
    ] = None,
) -> None:
    """A practice cluster and a practice AWS with a small world in them, to try everything on."""
    from server.commands import running
    from server.demo import demo as show

    running.run(show(port, state))


@app.command()
@taking(SERVER, STATE)
def call(
    where: Where,
    tool: str,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=VALUE]…", help="name:=JSON, or name=@FILE"),
    ] = None,
    preview: Preview = False,
    key: Annotated[
        str | None, typer.Option(help="with one key it happens once, however often it is sent")
    ] = None,
    wait: Wait = None,
    json: AsJson = False,
) -> None:
    """Call a tool, or with --preview see what it would do."""
    from server.commands import calling, running

    asked = calling.Asked(tool, arguments or [], preview, key, wait)
    running.run(calling.call(asked, json, **where))


@app.command()
@taking(SERVER, STATE)
def tools(
    where: Where,
    name: Annotated[str | None, typer.Argument(help="one tool, whole")] = None,
    json: AsJson = False,
) -> None:
    """The tools that you may call."""
    from server.commands import calling, running

    running.run(calling.tools(name, json, **where))


@app.command()
@taking(SERVER, STATE)
def chat(
    where: Where,
    message: Annotated[
        str | None, typer.Argument(help="one question; without it you are asked, line by line")
    ] = None,
    json: AsJson = False,
) -> None:
    """Talk to the agent. Ctrl-C ends an answer, Ctrl-D the conversation."""
    from server.commands import chatting, running

    running.run(chatting.chat(message, json, **where))


@app.command()
@taking(SERVER, STATE)
def analyze(
    where: Where,
    tenant: Annotated[str, typer.Option(help="one tenant; else all")] = "",
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    output: Annotated[Output, typer.Option(help="what to write them as")] = Output.table,
) -> None:
    """Work out from the metrics what should be changed, and show it, urgent first."""
    from server.commands import advising, running

    running.run(advising.analyze(tenant, limit, output.value, **where))


@app.command()
@taking(SERVER, STATE)
def picture(
    where: Where,
    id: Annotated[str, typer.Argument(help="of a recommendation")],
    output: Annotated[Path, typer.Option(help="file to write: .svg or .png")],
    dark: Annotated[bool, typer.Option("--dark", help="in dark colours")] = False,
) -> None:
    """Draw what a recommendation is about: usage, requests, limits and what is expected."""
    from server.commands import advising, running

    running.run(advising.draw(id, output, dark, **where))


@app.command()
def backtest(
    traces: Annotated[Path, typer.Option(help="recorded usage, as Parquet")],
    strategy: Annotated[list[str] | None, typer.Option(help="rightsize, replicas")] = None,
    baseline: Annotated[list[str] | None, typer.Option(help="krr, vpa, hpa, hpa-schedule")] = None,
    curve: Annotated[bool, typer.Option("--curve", help="slack against safety")] = False,
    json: AsJson = False,
) -> None:
    """Replay recorded usage, and say how well each way to size it would have done."""
    from server.commands import advising, running

    async def work() -> int:
        ours = strategy or ["rightsize", "replicas"]
        theirs = baseline or ["krr", "vpa", "hpa", "hpa-schedule"]
        return advising.backtest(traces, ours, theirs, curve, json)

    running.run(work())


@app.command()
@taking(SERVER, STATE)
def calls(
    where: Where,
    id: Annotated[str | None, typer.Argument(metavar="[ID]", help="one call, whole")] = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="those that wait")] = False,
    tenant: Annotated[str, typer.Option(help="of one tenant")] = "",
    tool: Annotated[str, typer.Option(help="of one tool")] = "",
    limit: Annotated[int, typer.Option(min=1, max=200)] = 20,
    next: Annotated[str, typer.Option(help="go on with an earlier list")] = "",
    json: AsJson = False,
) -> None:
    """What was asked for, what waits, and what became of it."""
    from server.commands import deciding, running

    state = "waiting" if waiting else ""
    filters = {"state": state, "tenant": tenant, "tool": tool, "limit": limit, "next": next}
    running.run(deciding.calls(id, filters, json, **where))


@app.command()
@taking(SERVER, STATE)
def approve(
    where: Where,
    id: CallId,
    reason: Annotated[str, typer.Option(help="kept with the decision")] = "",
    yes: Yes = False,
    json: AsJson = False,
) -> None:
    """Let a call go ahead that somebody else asked for."""
    from server.commands import deciding, running

    running.run(deciding.decide("call_approve", id, reason, yes, json, **where))


@app.command()
@taking(SERVER, STATE)
def confirm(where: Where, id: CallId, yes: Yes = False, json: AsJson = False) -> None:
    """Let a call go ahead that was asked for in your name."""
    from server.commands import deciding, running

    running.run(deciding.decide("call_confirm", id, "", yes, json, **where))


@app.command()
@taking(SERVER, STATE)
def reject(
    where: Where,
    id: CallId,
    reason: Annotated[str, typer.Option(help="why; kept with the decision")],
    yes: Yes = False,
    json: AsJson = False,
) -> None:
    """End a waiting call without carrying it out."""
    from server.commands import deciding, running

    running.run(deciding.decide("call_reject", id, reason, yes, json, **where))


@app.command()
@taking(SERVER, STATE)
def undo(
    where: Where, id: CallId, preview: Preview = False, wait: Wait = None, json: AsJson = False
) -> None:
    """Take back a call that succeeded. --preview says what it cannot bring back."""
    from server.commands import calling, running

    asked = calling.Asked("call_undo", [f"id={id}"], preview, None, wait)
    running.run(calling.call(asked, json, **where))


@app.command()
@taking(SERVER, STATE)
def freeze(
    where: Where, reason: Annotated[str, typer.Option(help="why; everybody sees it")] = ""
) -> None:
    """Stop all carrying out, at once."""
    from server.commands import deciding, running

    running.run(deciding.plainly("calls_freeze", {"reason": reason}, "Frozen.", **where))


@app.command()
@taking(SERVER, STATE)
def resume(where: Where) -> None:
    """Let carrying out go on after `freeze`."""
    from server.commands import deciding, running

    running.run(deciding.plainly("calls_resume", {}, "Going on.", **where))


@app.command()
@taking(SERVER, STATE)
def retry(where: Where, id: CallId) -> None:
    """Let a call go on that is stuck."""
    from server.commands import deciding, running

    running.run(deciding.plainly("call_retry", {"id": id}, "", **where))


@app.command()
@taking(STATE)
def doctor(where: Where, json: AsJson = False) -> None:
    """Look whether all is there that Pilothouse needs, and say what would mend what is not."""
    from server.commands import doctor, running

    running.run(doctor.examine(json, **where))


@token_app.command("create")
@taking(SERVER, STATE)
def token_create(
    where: Where,
    subject: Annotated[str, typer.Option(help="who it is for")] = "",
    tenant: Annotated[
        list[str] | None, typer.Option(help="a tenant (or NAME=ROLE); may be given again")
    ] = None,
    role: Annotated[str, typer.Option(help="there: viewer, user or admin")] = "",
    operator: Annotated[bool, typer.Option("--operator", help="over the platform")] = False,
    agent: Annotated[bool, typer.Option("--agent", help="a program's: it never decides")] = False,
    person: Annotated[str, typer.Option(help="whom an agent acts for")] = "",
    days: Annotated[float | None, typer.Option(help="expires after so many days")] = None,
    slack: Annotated[
        bool, typer.Option("--slack", help="for `pilothouse slack`: speaks for who is linked there")
    ] = False,
    json: AsJson = False,
) -> None:
    """Make a token. The first one is an operator's, and free to make; the others take one."""
    from server.commands import running, tokens

    if not (subject or slack):
        raise typer.BadParameter("Say who it is for.", param_hint="--subject")
    asked = {
        "subject": subject or "slack",
        "slack": slack,
        "operator": operator,
        "agent": agent,
        "person": person,
        "expires_days": days,
    }
    running.run(tokens.create(asked, tenant or [], role, json, **where))


@token_app.command("list")
@taking(SERVER, STATE)
def token_list(where: Where, json: AsJson = False) -> None:
    """Whose tokens there are, what they allow, and when each was last used."""
    from server.commands import running, tokens

    running.run(tokens.listed(json, **where))


@token_app.command("revoke")
@taking(SERVER, STATE)
def token_revoke(
    where: Where,
    id: Annotated[str, typer.Argument(metavar="ID", help="as `token list` shows it")],
) -> None:
    """Make a token worthless, at once."""
    from server.commands import running, tokens

    running.run(tokens.revoke(id, **where))


@app.command()
@taking(STATE)
def backup(where: Where, file: Annotated[Path, typer.Argument(metavar="FILE")]) -> None:
    """Copy the state into a file, while it is in use."""
    from server.commands import keeping, running

    running.run(keeping.backup(file, **where))


@app.command()
@taking(STATE)
def restore(where: Where, file: Annotated[Path, typer.Argument(metavar="FILE")]) -> None:
    """Put the state back from a backup. What is there is kept aside."""
    from server.commands import keeping, running

    running.run(keeping.restore(file, **where))


@key_app.command("rotate")
@taking(STATE)
def key_rotate(where: Where) -> None:
    """Encrypt the state with a new key. Cut off, it is gone on with the next time."""
    from server.commands import keeping, running

    running.run(keeping.rotate(**where))


@audit_app.command("verify")
@taking(SERVER, STATE)
def audit_verify(where: Where, json: AsJson = False) -> None:
    """Look whether any record was changed, removed or moved. Ends with 1 if one was."""
    from server.commands import auditing, running

    running.run(auditing.verify(json, **where))


@audit_app.command("export")
@taking(SERVER, STATE)
def audit_export(
    where: Where,
    output: Annotated[Path | None, typer.Option(help="a file; else standard output")] = None,
    format: Annotated[Export, typer.Option(help="what to write it as")] = Export.jsonl,
    type: Annotated[str, typer.Option(help="a tool, its group, or write")] = "",
    status: Annotated[str, typer.Option(help="a state, such as denied")] = "",
    tenant: Annotated[str, typer.Option(help="of one tenant")] = "",
    subject: Annotated[str, typer.Option(help="by or for one person")] = "",
    since: Annotated[str, typer.Option(help="2h, 7d, or an ISO time")] = "",
    until: Annotated[str, typer.Option(help="the same")] = "",
    text: Annotated[str, typer.Option(help="anywhere in a record")] = "",
) -> None:
    """Write the audit trail out, newest first."""
    from server.commands import auditing, running

    filters = {"type": type, "status": status, "tenant": tenant, "subject": subject}
    filters |= {"since": since, "until": until, "text": text}
    running.run(auditing.export(output, format.value, filters, **where))


@slack_app.callback()
@taking(SERVER, STATE)
def slack_run(where: Where, called: typer.Context) -> None:
    from server.commands import running, slack

    if called.invoked_subcommand is None:
        running.run(slack.run(**where))


@slack_app.command("manifest")
@taking({"config": STATE["config"]})
def slack_manifest(
    where: Where,
    url: Annotated[
        str, typer.Option(help="where Slack reaches this server; else it connects to Slack")
    ] = "",
) -> None:
    """Print the app to install in Slack, with just what it uses."""
    from server.commands import running, slack

    async def work() -> int:
        return slack.manifest(url, **where)

    running.run(work())


@slack_app.command("link")
@taking(SERVER, STATE)
def slack_link(
    where: Where,
    code: Annotated[str, typer.Argument(help="as /pilot login tells it")],
    yes: Yes = False,
) -> None:
    """Say that you are who was told this code in Slack."""
    from server.commands import running, slack

    running.run(slack.link(code, yes, **where))


@user_app.command("invite")
@taking(SERVER, STATE)
def user_invite(
    where: Where,
    email: Annotated[str, typer.Argument(help="they sign in with it")],
    name: Annotated[str, typer.Option(help="what they are called")] = "",
    operator: Annotated[bool, typer.Option("--operator", help="over the platform")] = False,
    json: AsJson = False,
) -> None:
    """Make an invitation to register with. What they may do, a workspace says."""
    from server.commands import running, tokens

    asked = {"email": email, "name": name, "operator": operator}
    running.run(tokens.invite(asked, json, **where))


@user_app.command("list")
@taking(SERVER, STATE)
def user_list(where: Where, json: AsJson = False) -> None:
    """Who signs in, here or with the identity provider."""
    from server.commands import running, tokens

    running.run(tokens.users(json, **where))


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"pilothouse {version('pilothouse')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="and no more")
    ] = False,
) -> None:
    pass


def main() -> None:
    app()


if __name__ == "__main__":
    main()
