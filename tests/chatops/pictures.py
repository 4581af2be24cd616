"""Pictures of messages for docs/chatops.md, from the blocks that are really sent:
`python -m tests.chatops.pictures`."""

import html
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from chatops import messages, modals
from chatops.blocks import Block
from tools.calls import Outcome, State
from tools.holdings import CallRecord, Recommendation
from tools.plan import Difference, Preview, Undo
from tools.tool import catalog

PLACE = Path(__file__).parents[2] / "docs" / "pictures"
STYLE = """
body { margin: 0; padding: 18px; width: 640px; background: #fff; color: #1d1c1d;
       font: 15px/1.46 Lato, 'DejaVu Sans', sans-serif; }
.by { font-weight: 900; margin-bottom: 4px } .by small { color: #616061; font-weight: 400 }
.small { color: #616061; font-size: 13px; margin: 4px 0 } .head { font-size: 18px; font-weight: 900 }
p { margin: 6px 0; white-space: pre-wrap } .row { display: flex; justify-content: space-between }
code { background: #f6f6f6; border: 1px solid #ddd; border-radius: 3px; padding: 1px 3px;
       color: #c01343; font-size: 12.5px }
pre { background: #f8f8f8; border: 1px solid #ddd; border-radius: 4px; padding: 8px;
      font-size: 12px; white-space: pre-wrap; margin: 6px 0 }
.button { border: 1px solid #bbb; border-radius: 4px; padding: 5px 12px; margin-right: 8px;
          font-weight: 700; font-size: 13px; display: inline-block; white-space: nowrap }
.primary { background: #007a5a; color: #fff; border-color: #007a5a }
.danger { background: #e01e5a; color: #fff; border-color: #e01e5a }
label { font-weight: 700; display: block; margin-top: 10px } label small { font-weight: 400 }
.field { border: 1px solid #868686; border-radius: 4px; padding: 6px; height: 20px }
"""
EMOJI = {
    "hourglass_flowing_sand": "⌛", "white_check_mark": "✔", "bulb": "✦", "gear": "⚙",
    "leftwards_arrow_with_hook": "↩", "warning": "⚠", "no_entry_sign": "⊘",
}  # fmt: skip


def page(blocks: Sequence[Block], title: str = "") -> str:
    by = f"<div class=by>{title or 'Pilothouse <small>APP 10:24</small>'}</div>"
    return f"<meta charset=utf-8><style>{STYLE}</style>{by}{''.join(map(_block, blocks))}"


def _block(block: Block) -> str:
    match block["type"]:
        case "section":
            button = _element(block["accessory"]) if "accessory" in block else ""
            return f"<div class=row><div>{_text(block['text'])}</div>{button}</div>"
        case "header":
            return f"<p class=head>{_text(block['text'])}</p>"
        case "context":
            said = " · ".join(map(_text, block["elements"]))
            return f"<div class=small>{said}</div>"
        case "actions":
            return f"<p>{''.join(map(_element, block['elements']))}</p>"
        case "input":
            optional = " <small>(optional)</small>" if block.get("optional") else ""
            hint = f"<div class=small>{_text(block['hint'])}</div>" if "hint" in block else ""
            element = block["element"]
            option = element.get("initial_option", {}).get("value", "")
            value = html.escape(element.get("initial_value", option))
            label = f"<label>{_text(block['label'])}{optional}</label>"
            return f"{label}<div class=field>{value}</div>{hint}"
        case "divider":
            return "<hr>"
    return ""


def _element(element: Mapping[str, Any]) -> str:
    return f"<span class='button {element.get('style', '')}'>{_text(element['text'])}</span>"


def _text(text: Mapping[str, Any]) -> str:
    said = str(text["text"])  # escaped already, where it is mark-up
    if text["type"] == "plain_text":
        return html.escape(said)
    parts = re.split(r"```(.*?)```", said, flags=re.S)
    return "".join(f"<pre>{p}</pre>" if n % 2 else _marked(p) for n, p in enumerate(parts) if p)


def _marked(said: str) -> str:
    said = re.sub(r"<!date\^\d+\^[^|]*\|([^>]*)>", r"\1", said)
    said = re.sub(r":(\w+):", lambda m: EMOJI.get(m[1], m[0]), said)
    said = re.sub(r"`([^`\n]+)`", r"<code>\1</code>", said)
    bold = re.sub(r"\*([^*\n]+)\*", r"<b>\1</b>", said)
    return f"<p>{bold}</p>"


def samples() -> dict[str, tuple[Sequence[Block], str]]:
    now = datetime(2026, 11, 21, 10, 24, tzinfo=UTC)
    field = Difference(path="spec.replicas", before=2, after=5)
    change = Preview(id="web", title="Update Deployment web in acme", verb="update", how="server",
                     undo=Undo.EXACT, diff=[field])  # fmt: skip
    outcome = Outcome(
        state=State.AWAITING_APPROVAL, tool="workload_scale", call_id="3f2a91c04e", digest="0",
        summary="Scale Deployment web in acme from 2 to 5 replicas", changes=[change],
        undo="exact", why="The policy wants somebody other than olivia to approve it.",
        expires=now + timedelta(hours=24),
    )  # fmt: skip
    call = CallRecord(
        id="3f2a91c04e", tool="workload_scale", tenant="acme", requester="olivia",
        person="olivia", agent=False, door="slack", created=now, updated=now, outcome=outcome,
    )  # fmt: skip
    over = outcome.model_copy(update={"state": State.SUCCEEDED, "why": "", "expires": None})
    done = call.model_copy(update={"outcome": over, "decided_by": "oscar"})
    advice = Recommendation(
        id="rec-243e", strategy="rightsize", state="open", tenant="search", kind="StatefulSet",
        name="search", title="Resize search: CPU from 500m to 82m, memory from 1 GiB to 331 MiB",
        reason="In 14 days it never used more than 61m of CPU and 288 MiB of memory.",
        tool="workload_resize", confidence=0.9, monthly=34.84, currency="USD",
        created=now, updated=now,
    )  # fmt: skip
    scale = catalog()["workload_scale"].info()
    form = modals.form(scale, {"name": "web"}, {})
    unclear = messages.unclear("I do not know `tennants`.", ("tenants", "tenant"))
    return {
        "slack-approval": (messages.card(call).blocks, ""),
        "slack-done": (messages.card(done).blocks, ""),
        "slack-recommendation": (messages.recommendation(advice).blocks, ""),
        "slack-form": (form["blocks"], html.escape(form["title"]["text"])),
        "slack-unclear": (unclear.blocks, ""),
    }


def main() -> None:
    from playwright.sync_api import sync_playwright

    PLACE.mkdir(exist_ok=True)
    options = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
               "--disable-background-networking", "--disable-component-update",
               "--disable-sync"]  # fmt: skip
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=options)
        tab = browser.new_page(viewport={"width": 676, "height": 100}, device_scale_factor=1.5)
        for name, (blocks, title) in samples().items():
            tab.set_content(page(blocks, title))
            tab.screenshot(path=PLACE / f"{name}.png", full_page=True)
        browser.close()


if __name__ == "__main__":
    main()
