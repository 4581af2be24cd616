"""The page in a browser, before the demo."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from server.demo import Demo
from tests.browsing import signed_in

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.asyncio(loop_scope="session")
AXE = Path(__file__).parents[4] / ".node" / "node_modules" / "axe-core" / "axe.min.js"
# The cookies of who has signed in once.
SIGNED_IN: dict[str, Any] = {}
VIEWS = (
    "/", "/approvals", "/recommendations", "/tenants", "/tenants/acme", "/workloads",
    "/workloads/acme/Deployment/api", "/jobs", "/audit",
)  # fmt: skip


@pytest_asyncio.fixture(loop_scope="session")
async def people(demo: Demo, chromium: "Browser") -> AsyncIterator[Any]:
    """Opens a browser of their own for one of the demo's people."""
    pages: list[Page] = []

    async def enter(who: str, **options: Any) -> "Page":
        before = {"storage_state": SIGNED_IN[who]} if who in SIGNED_IN else {}
        page = await signed_in(chromium, demo.url, demo.tokens[who], **before, **options)
        SIGNED_IN[who] = await page.context.storage_state()
        page.on("console", lambda said: said.type == "error" and print(said.text))
        pages.append(page)
        return page

    yield enter
    for page in pages:
        await page.context.close()


async def test_a_recommendation_is_read_applied_approved_seen_to_work_and_undone(
    people: Any, call: Any
) -> None:
    ada, oscar = await people("ada"), await people("oscar")
    await ada.get_by_role("link", name="Recommendations").click()
    card = ada.get_by_role("article").filter(has_text="Stop worker")
    await card.get_by_role("heading").get_by_role("link").click()
    picture = ada.get_by_role("img", name="What worker used")
    assert "served nothing for 7 days" in await picture.get_attribute("alt")
    await picture.scroll_into_view_if_needed()
    await picture.evaluate("picture => picture.decode()")  # fails where it cannot be drawn
    assert await picture.evaluate("picture => picture.naturalWidth") > 0
    await ada.get_by_role("button", name="Preview").click()
    preview = ada.get_by_label("What it would do")
    assert "spec.replicas" in await preview.inner_text()
    await preview.get_by_role("button", name="Go ahead").click()
    await ada.wait_for_url("**/calls/*")
    await ada.locator(".lead .state", has_text="done").wait_for()

    # A colleague sees it on the workload's page, and takes it back.
    await oscar.goto("/workloads/acme/Deployment/worker")
    await oscar.locator("#ready", has_text="0/0 ready").wait_for()
    await oscar.goto(ada.url)
    await oscar.get_by_role("button", name="Undo", exact=True).click()
    await oscar.locator(".lead .state", has_text="done").wait_for()
    await ada.locator(".lead .state", has_text="undone").wait_for()
    worker = await call("ada", "workload_get", tenant="acme", name="worker")
    assert worker["answer"]["desired"] == 2


async def test_what_one_operator_asks_for_another_approves_and_the_page_changes_by_itself(
    people: Any, call: Any
) -> None:
    olivia, oscar = await people("olivia"), await people("oscar")
    await oscar.goto("/approvals")
    await olivia.goto("/tenants")
    form = olivia.locator("#create")
    await form.get_by_label("Name").fill("hooli")
    await form.get_by_role("button", name="Make it").click()
    await olivia.get_by_text("waits for approval").first.wait_for()
    assert await olivia.get_by_role("button", name="Approve").count() == 0

    # Nobody loads these pages again.
    asked = oscar.get_by_role("article").filter(has_text="Create tenant hooli")
    await asked.wait_for()
    assert "ResourceQuota" in await asked.inner_text()
    await asked.get_by_label("Reason").fill("agreed")
    await asked.get_by_role("button", name="Approve").click()
    await oscar.locator(".lead .state", has_text="done").wait_for()
    await olivia.locator(".lead .state", has_text="done").wait_for()
    story = await olivia.locator(".timeline").inner_text()
    assert "“agreed”" in story
    assert story.index("Begun") < story.index("Create Namespace hooli") < story.index("Done")


async def test_a_workload_that_somebody_scales_changes_on_the_page_by_itself(
    people: Any, call: Any
) -> None:
    ada = await people("ada")
    await ada.goto("/workloads/acme/Deployment/worker")
    await call("olivia", "workload_scale", tenant="acme", name="worker", replicas=5)
    await ada.locator("#ready", has_text="5/5 ready").wait_for()


async def test_several_are_approved_at_once(people: Any, call: Any) -> None:
    for name in ("pied", "piper"):
        await call("olivia", "tenant_create", name=name, plan="free")
    oscar = await people("oscar")
    await oscar.goto("/approvals")
    await oscar.get_by_label("All 2", exact=True).check()
    await oscar.get_by_role("button", name="Approve selected").click()
    await oscar.get_by_text("2 approved.").wait_for()
    await oscar.get_by_text("Nothing waits for you.").wait_for()


async def test_a_rejection_wants_a_reason(people: Any, call: Any) -> None:
    asked = await call("olivia", "tenant_create", name="aviato", plan="free")
    unsaid = await call("oscar", "call_reject", id=asked["call_id"], reason=" ")
    assert unsaid["code"] == "invalid_argument"
    oscar = await people("oscar")
    await oscar.goto(f"/calls/{asked['call_id']}")
    await oscar.get_by_role("button", name="Reject").click()
    field = oscar.get_by_label("Reason")
    assert await field.evaluate("field => field.matches(':invalid')")
    await field.fill(" ")
    await oscar.get_by_role("button", name="Reject").click()
    await oscar.get_by_text("call_reject: reason").wait_for()
    await field.fill("not this quarter")
    await oscar.get_by_role("button", name="Reject").click()
    await oscar.get_by_text("“not this quarter”").wait_for()
    await oscar.locator(".lead .state", has_text="rejected").wait_for()


async def test_without_javascript_a_call_is_approved_and_followed(people: Any, call: Any) -> None:
    asked = await call("olivia", "tenant_create", name="raviga", plan="free")
    oscar = await people("oscar", java_script_enabled=False)
    await oscar.get_by_role("link", name="Approvals").click()
    card = oscar.get_by_role("article").filter(has_text="raviga")
    assert "UTC" in await card.inner_text()
    await card.get_by_role("button", name="Approve").click()
    await oscar.wait_for_url(f"**/calls/{asked['call_id']}")
    await oscar.locator(".lead .state", has_text="done").wait_for()


async def test_a_viewer_sees_no_buttons_that_change_anything(people: Any) -> None:
    vera = await people("vera")
    for path in VIEWS:
        await vera.goto(path)
        buttons = await vera.get_by_role("main").get_by_role("button").all_inner_texts()
        assert set(buttons) <= {"Show", "Search"}, path


async def test_a_jobs_log_is_read_as_it_is_written(people: Any, call: Any) -> None:
    from playwright.async_api import expect

    command = ["sh", "-c", "echo first; sleep 1; echo second"]
    made = await call("olivia", "job_create", tenant="acme", image="busybox", command=command)
    ada = await people("ada")
    await ada.goto(f"/jobs/acme/{made['answer']['name']}")
    log = ada.get_by_label("Log of")
    await expect(log).to_contain_text("first", timeout=10_000)
    await expect(log).to_contain_text("second", timeout=10_000)
    await ada.locator(".lead .state", has_text="done").wait_for()


# In the dark only colours differ.
@pytest.mark.parametrize(
    ("scheme", "rules"),
    [("light", {"resultTypes": ["violations"]}), ("dark", {"runOnly": ["color-contrast"]})],
)
async def test_nobody_is_shut_out_from_any_view(
    people: Any, call: Any, scheme: str, rules: dict[str, Any]
) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not there: make node")
    asked = await call("copilot", "workload_scale", tenant="acme", name="api", replicas=4)
    advice = await call("olivia", "recommendation_list", limit=1)
    id = advice["answer"]["recommendations"][0]["id"]
    olivia = await people("olivia", color_scheme=scheme)
    axe, faults = AXE.read_text(), []
    command = ["sh", "-c", "echo first; sleep 1; echo second"]
    made = await call("olivia", "job_create", tenant="acme", image="busybox", command=command)
    job = f"/jobs/acme/{made['answer']['name']}"
    views = (*VIEWS, job) if scheme == "light" else (*VIEWS[:3], job)
    for path in (*views, f"/calls/{asked['call_id']}", f"/recommendations/{id}"):
        await olivia.goto(path)
        await olivia.evaluate(axe)
        found = await olivia.evaluate("rules => axe.run(rules)", rules)
        faults += [
            (path, fault["id"], fault["nodes"][0]["html"][:200])
            for fault in found["violations"]
            if fault["impact"] in ("serious", "critical")
        ]
    assert faults == []
    await call("olivia", "call_confirm", id=asked["call_id"])


async def test_everything_is_reached_with_the_keyboard_alone(people: Any, call: Any) -> None:
    asked = await call("olivia", "tenant_create", name="bachmanity", plan="free")
    oscar = await people("oscar")
    await oscar.goto(f"/calls/{asked['call_id']}")
    await oscar.keyboard.press("Tab")
    assert await focused(oscar) == "Skip to the content"
    await oscar.keyboard.press("Enter")
    for _ in range(20):
        await oscar.keyboard.press("Tab")
        if await focused(oscar) == "Approve":
            break
    await oscar.keyboard.press("Enter")
    await oscar.locator(".lead .state", has_text="done").wait_for()


async def focused(page: "Page") -> str:
    text: str = await page.evaluate("document.activeElement.innerText")
    return text


async def test_on_a_phone_nothing_is_wider_than_the_screen(people: Any) -> None:
    olivia = await people("olivia", viewport={"width": 360, "height": 740})
    for path in VIEWS:
        await olivia.goto(path)
        fits = await olivia.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert fits, path


async def test_moments_are_told_in_the_zone_of_who_reads_them(people: Any) -> None:
    olivia = await people("olivia", timezone_id="Asia/Kathmandu", locale="en-GB")
    moment = olivia.locator("main time").first
    told = await moment.get_attribute("datetime")
    title = await moment.get_attribute("title")
    assert told.endswith("+00:00")
    assert re.search(r"GMT\+5:45|Nepal", title)
