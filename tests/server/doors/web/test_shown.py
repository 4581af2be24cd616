"""What the page shows of what others wrote."""

from typing import Any

import pytest

from server.demo import Demo
from tests.server.doors.web.test_signing_in import visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_change_that_hides_what_it_is_from_who_approves_it_is_shown_as_it_is(
    demo: Demo, call: Any
) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "hidden"},
        "data": {"who": "nobody\u202e\u2066 admin", "note": "a\u200bb"},
    }
    asked = await call("copilot", "resource_apply", tenant="acme", manifest=manifest)
    assert asked["state"].startswith("awaiting"), asked
    async with visitor(demo, "olivia") as client:
        for page in (f"/calls/{asked['call_id']}", "/approvals"):
            text = (await client.get(page)).text
            assert "nobody\\u202e\\u2066 admin" in text
            assert "a\\u200bb" in text
            assert not {"\u202e", "\u2066", "\u200b"} & set(text)
    rejected = await call("olivia", "call_reject", id=asked["call_id"], reason="hidden")
    assert not rejected.get("error")
