"""What an approver is shown is what there is."""

from chatops.blocks import escape
from tools.visible import visible


def test_what_hides_or_turns_the_order_of_others_is_spelled_out() -> None:
    assert visible("admin\u202e nimda") == "admin\\u202e nimda"
    assert visible("pay\u200bpal\x1b[2K") == "pay\\u200bpal\\x1b[2K"
    assert visible("tag\U000e0041") == "tag\\U000e0041"
    assert escape("<a\u2066>") == "&lt;a\\u2066&gt;"


def test_what_people_write_stays_as_it_is() -> None:
    for text in ("line\n\tand line\r\n", "café — ünïcode", "می‌خواهم", "👩‍💻 ok", "שלום"):
        assert visible(text) == text
