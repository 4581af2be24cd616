"""What Slack takes in a message or a view, as its reference says. Raises `ValueError`."""

from typing import Any

TEXTS = {"section": 3000, "header": 150, "context": 3000}
INPUTS = {"plain_text_input", "number_input", "static_select"}


def need(holds: Any, what: str) -> None:
    if not holds:
        raise ValueError(what)


def check_message(body: dict[str, Any]) -> None:
    need(body.get("text") or body.get("blocks"), "no_text")
    need(len(body.get("text") or "") <= 40_000, "msg_too_long")
    check_blocks(body.get("blocks") or [], 50)


def check_view(view: dict[str, Any]) -> None:
    need(view["type"] in ("modal", "home"), "view type")
    check_blocks(view["blocks"], 100)
    need(len(view.get("private_metadata", "")) <= 3000, "private_metadata")
    if view["type"] == "modal":
        for name in ("title", "submit", "close"):
            if name in view:
                need(1 <= len(view[name]["text"]) <= 24, f"{name} too long")
        need("title" in view, "no title")
        needs_submit = any(block["type"] == "input" for block in view["blocks"])
        need("submit" in view or not needs_submit, "input without submit")


def check_blocks(blocks: list[dict[str, Any]], most: int) -> None:
    need(len(blocks) <= most, f"{len(blocks)} blocks")
    ids = [b["block_id"] for b in blocks if "block_id" in b]
    need(len(ids) == len(set(ids)), "block_id twice")
    for block in blocks:
        _check_block(block)


def _check_block(block: dict[str, Any]) -> None:
    kind = block["type"]
    need(len(block.get("block_id", "x")) <= 255, "block_id")
    match kind:
        case "section":
            need("text" in block or "fields" in block, "empty section")
            _check_text(block["text"], 3000)
            if "accessory" in block:
                _check_element(block["accessory"])
        case "header":
            need(block["text"]["type"] == "plain_text", "header is plain")
            _check_text(block["text"], 150)
        case "context":
            need(1 <= len(block["elements"]) <= 10, "context elements")
            for element in block["elements"]:
                _check_text(element, 3000)
        case "actions":
            need(1 <= len(block["elements"]) <= 25, "actions elements")
            actions = [element["action_id"] for element in block["elements"]]
            need(len(actions) == len(set(actions)), "action_id twice")
            for element in block["elements"]:
                _check_element(element)
        case "input":
            _check_text(block["label"], 2000)
            need(block["element"]["type"] in INPUTS, "input element")
            _check_element(block["element"])
            if "hint" in block:
                _check_text(block["hint"], 2000)
        case "image":
            need("slack_file" in block or "image_url" in block, "no image")
            need(1 <= len(block["alt_text"]) <= 2000, "alt_text")
        case "markdown":
            need(1 <= len(block["text"]) <= 12_000, "markdown")
        case "divider":
            need(set(block) <= {"type", "block_id"}, "divider")
        case _:
            raise ValueError(f"no such block: {kind}")


def _check_text(text: dict[str, Any], most: int) -> None:
    need(text["type"] in ("mrkdwn", "plain_text"), "text type")
    need(1 <= len(text["text"]) <= most, f"text of {len(text['text'])}")


def _check_element(element: dict[str, Any]) -> None:
    need(1 <= len(element["action_id"]) <= 255, "action_id")
    if element["type"] == "button":
        need(element["text"]["type"] == "plain_text", "button is plain")
        _check_text(element["text"], 75)
        need(len(element.get("value", "")) <= 2000, "button value")
        need(element.get("style", "primary") in ("primary", "danger"), "style")
    elif element["type"] == "static_select":
        need(1 <= len(element["options"]) <= 100, "options")
        for option in element["options"]:
            _check_text(option["text"], 75)
            need(1 <= len(option["value"]) <= 150, "option value")
        need(element.get("initial_option") in (None, *element["options"]), "initial_option")
    elif element["type"] == "number_input":
        need(isinstance(element["is_decimal_allowed"], bool), "is_decimal_allowed")
        need(isinstance(element.get("initial_value", ""), str), "initial_value is text")
    elif element["type"] == "plain_text_input":
        need(len(element.get("initial_value", "")) <= 3000, "initial_value")
