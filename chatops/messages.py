"""What is told, as blocks: answers, calls that wait or have ended, recommendations, errors."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chatops.blocks import (
    Block,
    actions,
    button,
    code,
    codes,
    context,
    cut,
    divider,
    escape,
    fit,
    header,
    plain,
    section,
    table,
)
from tools.calls import Outcome, Problem, State, ToolInfo
from tools.holdings import CallRecord, Recommendation
from tools.plan import Preview

NOBODY = ""  # what is about no tenant at all, and may be told to anybody
SIGNS = {"create": "+", "update": "~", "delete": "-"}
DIFF = 1200  # characters of it in a card
HEADS = {
    State.AWAITING_APPROVAL: ":hourglass_flowing_sand: Approval wanted",
    State.AWAITING_CONFIRMATION: ":hourglass_flowing_sand: Please confirm",
    State.RUNNING: ":gear: Running",
    State.SUCCEEDED: ":white_check_mark: Done",
    State.FAILED: ":x: Failed",
    State.DENIED: ":no_entry: Denied",
    State.REJECTED: ":no_entry_sign: Rejected",
    State.EXPIRED: ":hourglass: Expired",
    State.STALE: ":warning: Stale: what it was to change has moved",
    State.CANCELLED: ":no_entry_sign: Withdrawn",
    State.UNKNOWN: ":grey_question: Not known yet",
    State.UNDOING: ":leftwards_arrow_with_hook: Being undone",
    State.UNDONE: ":leftwards_arrow_with_hook: Undone",
    State.STUCK: ":rotating_light: Stuck: an operator looks at it",
    State.PLANNING: ":mag: What it would do",
}


@dataclass(frozen=True)
class Message:
    """`about` is the tenant that it tells of: nothing for none, None where that may be any."""

    text: str
    blocks: tuple[Block, ...] = ()
    about: str | None = NOBODY
    call_id: str = ""

    @property
    def shown(self) -> str:
        said = json.dumps([self.text, self.blocks], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def said(text: str, *more: Block, about: str | None = NOBODY) -> Message:
    return Message(cut(text, 3000), tuple(fit([section(text), *more])), about)


def error(problem: Problem) -> Message:
    wait = f" Try again in {problem.retry_after:g} s." if problem.retry_after else ""
    text = f":warning: {escape(problem.message)}{wait}"
    # What a backend refused may name what is in a tenant: nobody else is told.
    hint = [context(escape(problem.hint))] if problem.hint else []
    return said(text, *hint, about=None)


def unclear(message: str, instead: Sequence[str]) -> Message:
    buttons = [button(one, f"say:{n}", {"text": one[:1500]}) for n, one in enumerate(instead)]
    more = [actions(*buttons)] if buttons else [context("`help` shows what can be said.")]
    return said(f"{escape(message)}{' Did you mean:' if buttons else ''}", *more)


def wants_more(tool: ToolInfo, arguments: Mapping[str, Any], missing: Sequence[str]) -> Message:
    value = {"tool": tool.name, "arguments": arguments}
    if len(json.dumps(value)) > 1900:
        value = {"tool": tool.name, "arguments": {}}
    needed = ", ".join(f"`{name}`" for name in missing)
    text = f"{escape(tool.title)}: {needed} is still to be said."
    return said(text, actions(button("Fill it in", "fill", value, "primary")))


def answer(tool: ToolInfo, outcome: Outcome, about: str | None) -> Message:
    """What a read answers: fields a line each, rows as a table, long texts set apart."""
    blocks, lines = [section(f"*{escape(tool.title)}*")], []
    for name, value in (outcome.answer or {}).items():
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            blocks += codes(table(value))
        elif isinstance(value, str) and "\n" in value:
            blocks += [section(f"*{escape(name)}*"), *codes(value)]
        elif name == "next" and value:
            lines.append("There is more: say it again with `limit=…`.")
        elif value not in (None, "", [], {}):
            lines.append(f"*{escape(name)}*  {escape(cut(plain(value), 600))}")
        elif isinstance(value, list):
            lines.append(f"There are no {escape(name.replace('_', ' '))}.")
    if lines:
        blocks.insert(1, section("\n".join(lines)))
    return Message(tool.title, tuple(fit(blocks)), about)


def diff(changes: Iterable[Preview]) -> str:
    """Each change with its fields, as they would move."""
    lines = []
    for change in changes:
        lines.append(f"{SIGNS[change.verb]} {plain(change.title)}  ({change.how})")
        for field in change.diff:
            lines.append(f"    {plain(field.path)}: {_value(field.before)} → {_value(field.after)}")
        lines += [f"    note: {plain(note)}" for note in change.notes]
    return "\n".join(lines)


def card(call: CallRecord) -> Message:
    """A call as it stands: who, what, why it waits, what changes, and what can be done about it."""
    outcome = call.outcome
    head = HEADS[outcome.state]
    what = outcome.summary or call.tool
    who = escape(call.requester)
    if call.agent:
        who = f"{who} (an agent, for {escape(call.person)})"
    about = f" · tenant *{escape(call.tenant)}*" if call.tenant else ""
    blocks = [
        section(f"*{head}*\n{escape(what)}"),
        context(f"asked for by *{who}*{about} · call `{escape(call.id)}` · {escape(call.tool)}"),
    ]
    if outcome.why:
        blocks.append(section(f"*Why it waits:* {escape(outcome.why)}"))
    if outcome.state.waiting or outcome.state is State.PLANNING:
        text = diff(outcome.changes)
        blocks += [code(cut(text, DIFF))] if text else []
    if outcome.error:
        blocks.append(section(f":warning: {escape(outcome.error.message)}"))
    blocks += [context(line) for line in _became(call)]
    if buttons := _buttons(call):
        blocks.append(actions(*buttons))
    plain_head = head.partition(": ")[2]
    text = f"{plain_head}: {escape(what)} (call {escape(call.id)})"
    return Message(cut(text, 3000), tuple(fit(blocks)), call.tenant or None, call.id)


def waits_elsewhere(call: CallRecord) -> Message:
    """Told where the card itself is posted beside."""
    text = f"It waits for approval: {escape(call.outcome.summary)} (call `{call.id}`)"
    return said(text, about=call.tenant or None)


def _became(call: CallRecord) -> list[str]:
    outcome, lines = call.outcome, []
    if call.decided_by:
        words = {State.REJECTED: "rejected", State.CANCELLED: "withdrawn"}
        how = words.get(outcome.state, "let go ahead")
        reason = f": {escape(call.reason)}" if call.reason else ""
        lines.append(f"{how} by *{escape(call.decided_by)}*{reason}")
    if outcome.expires:
        lines.append(f"expires {when(outcome.expires)}")
    if outcome.state.waiting and outcome.undo and outcome.undo != "exact":
        gives = {"recreates": "an undo only makes it anew", "none": "it cannot be undone"}
        lines.append(gives[outcome.undo])
    if call.undoes:
        lines.append(f"takes back call `{escape(call.undoes)}`")
    if call.undone_by:
        lines.append(f"taken back by call `{escape(call.undone_by)}`")
    return lines


def _buttons(call: CallRecord) -> list[Block]:
    outcome = call.outcome
    see = button("Show diff", "diff", {"id": call.id})
    if outcome.state.waiting:
        yes = "Confirm" if outcome.state is State.AWAITING_CONFIRMATION else "Approve"
        return [
            button(yes, "approve", {"id": call.id, "digest": outcome.digest}, "primary"),
            button("Reject", "reject", {"id": call.id}, "danger"),
            see,
        ]
    if outcome.state is State.SUCCEEDED and outcome.changes:
        undo = button("Undo", "undo", {"id": call.id, "at": call.updated.isoformat()})
        return [see] if outcome.undo == "none" else [undo, see]
    return [see] if outcome.changes else []


def recommendation(found: Recommendation, image: Block | None = None) -> Message:
    """One suggestion: what, why, what it saves, how sure that is, and the button that does it."""
    kind = f"{found.kind}/{found.name}" + (f"/{found.container}" if found.container else "")
    facts = [f"`{escape(found.id)}`", f"{escape(kind)} in *{escape(found.tenant)}*"]
    if found.due:
        facts.append(f"*due {escape(found.due)}*")
    if found.monthly:
        verb = "saves" if found.monthly > 0 else "costs"
        facts.append(f"{verb} {abs(found.monthly):,.2f} {escape(found.currency)} a month")
    if found.confidence is not None:
        facts.append(f"confidence {found.confidence:.0%}")
    facts.append(f"risk {escape(found.risk)}")
    text = cut(f"{found.title} ({found.id})", 3000)
    blocks = [section(f":bulb: *{escape(found.title)}*"), context(" · ".join(facts))]
    blocks += [image] if image else []
    blocks.append(section(escape(found.reason)))
    blocks += [context(escape(note)) for note in found.notes[:5]]
    if found.state != "open":
        blocks.append(context(f"It is {escape(found.state)}."))
        return Message(text, tuple(blocks), found.tenant or None)
    buttons = [button("Not this", "decline", {"id": found.id})]
    if found.blocked:
        blocks.append(section(f":no_entry: *Not possible yet:* {escape(found.blocked)}"))
    if found.first:
        said_first = {"text": found.first.call}
        buttons.insert(0, button(f"First: {found.first.title}", "say:first", said_first, "primary"))
    elif found.tool and not found.blocked:
        value = {"id": found.id, "at": found.updated.isoformat()}
        buttons.insert(0, button("Apply", "apply", value, "primary"))
    blocks.append(actions(*buttons))
    return Message(text, tuple(blocks), found.tenant or None)


def recommendations(rows: Sequence[Mapping[str, Any]], about: str | None) -> Message:
    """A line each with its button; the text for those who read no buttons."""
    if not rows:
        return said("Nothing is recommended at the moment.", about=about)
    blocks = [header("What should be done")]
    for row in rows[:15]:
        saves = f" · saves {row['monthly']:,.2f} a month" if row.get("monthly", 0) > 0 else ""
        due = f" · *due {escape(row['due'])}*" if row.get("due") else ""
        blocked = " · not possible yet" if row.get("blocked") else ""
        where = f"{row['workload']} in *{escape(row['tenant'])}*{due}{saves}{blocked}"
        why = button("Why?", f"say:{row['id']}", {"text": f"why {row['id']}"})
        blocks.append(section(f"*{escape(row['title'])}*\n`{row['id']}` · {where}", why))
    if len(rows) > 15:
        blocks.append(context(f"… and {len(rows) - 15} more"))
    return Message("What should be done", tuple(blocks), about)


def help_text(command: str, groups: Mapping[str, Sequence[str]]) -> Message:
    blocks = [
        section(
            "*What can be said* — here, in a mention, or after "
            f"`{command}`. Words in capitals are yours; what is missing is asked for."
        ),
        section(
            "`tenants` · `jobs acme` · `scale web to 5 in acme` · `logs job-7 follow` · "
            "`recommendations` · `why rec-12` · `approve 3f2` · `undo 3f2`"
        ),
        divider(),
    ]
    for group, sentences in groups.items():
        blocks.append(section(f"*{escape(group)}*\n" + "\n".join(f"`{s}`" for s in sentences)))
    blocks.append(context("`login` says who you are · `whoami` · `logout` · `bind acme`, `unbind`"))
    return Message("What can be said", tuple(fit(blocks)))


def when(moment: datetime) -> str:
    """A time that Slack shows in the reader's own zone."""
    plain_text = moment.strftime("%Y-%m-%d %H:%M UTC")
    return f"<!date^{int(moment.timestamp())}^{{date_short_pretty}} {{time}}|{plain_text}>"


def _value(value: Any) -> str:
    return "nothing" if value is None else cut(json.dumps(value, ensure_ascii=False), 200)
