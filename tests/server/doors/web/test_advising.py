"""What is recommended, as it is told at the doors of the demo."""

from typing import Any

import httpx
import pytest

from server.demo import Demo
from tests.server.doors.test_mcp import connected
from tests.server.doors.web.test_signing_in import visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

# What is said for state, and which come: `null` is as everywhere what was not said.
SAID = [({}, {"open"}), ({"state": None}, {"open"}), ({"state": "all"}, {"open", "rejected"})]


async def over_mcp(demo: Demo, arguments: dict[str, Any]) -> Any:
    async with connected(f"{demo.url}/mcp", token=demo.tokens["copilot"]) as client:
        result = await client.call_tool("recommendation_list", arguments)
    return result.structured_content


async def over_rest(demo: Demo, arguments: dict[str, Any]) -> Any:
    headers = {"Authorization": f"Bearer {demo.tokens['olivia']}"}
    async with httpx.AsyncClient(base_url=demo.url, headers=headers, timeout=30) as client:
        answer = await client.post("/api/v1/tools/recommendation_list", json=arguments)
        asked = {name: value or "" for name, value in arguments.items()}
        by_query = await client.get("/api/v1/recommendations", params=asked)
    assert by_query.json() == answer.json()["answer"]
    return by_query.json()


@pytest.mark.parametrize("door", [over_mcp, over_rest])
async def test_of_all_states_are_those_of_state_all(demo: Demo, call: Any, door: Any) -> None:
    advice = await call("olivia", "recommendation_list", state="all", limit=200)
    rows = advice["answer"]["recommendations"]
    if all("state" not in row for row in rows):
        (least, *_) = (row for row in rows if "disk" in row["title"])
        headers = {"Authorization": f"Bearer {demo.tokens['oscar']}"}
        async with httpx.AsyncClient(base_url=demo.url, headers=headers) as client:
            gone = await client.post(f"/api/v1/recommendations/{least['id']}/reject")
        assert gone.status_code == 200, gone.text
    for arguments, states in SAID:
        found = await door(demo, arguments | {"limit": 200})
        assert {row.get("state", "open") for row in found["recommendations"]} == states


async def test_what_has_no_room_is_told_so_with_what_makes_it_and_is_not_half_done(
    demo: Demo, call: Any
) -> None:
    advice = await call("olivia", "recommendation_list", tenant="globex")
    row = next(r for r in advice["answer"]["recommendations"] if r["title"].startswith("Scale"))
    assert "exceeded quota: plan, requested: limits.cpu=1" in row["blocked"]
    assert row["first"]["arguments"] == {"tenant": "globex", "plan": "pro"}
    refused = await call("olivia", "recommendation_apply", id=row["id"])
    assert refused["detail"] == row["blocked"]
    assert "tenant_update tenant=globex plan=pro makes room" in refused["hint"]
    calls = await call("olivia", "call_list", tool="recommendation_apply", tenant="globex")
    assert calls["answer"]["calls"] == []
    path = f"/recommendations/{row['id']}"
    async with visitor(demo, "olivia") as client:
        for page in (path, "/recommendations?tenant=globex"):
            text = (await client.get(page)).text
            assert "Not possible yet." in text
            assert "First: Change globex to plan pro" in text
            assert f"Apply: {row['title']}" not in text
