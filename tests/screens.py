"""`python -m tests.screens`: pictures of the page for docs/page.md, taken before the demo."""

import asyncio
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from PIL import Image

from server.demo import Demo, running
from tests.browsing import browser, signed_in

if TYPE_CHECKING:
    from playwright.async_api import Page

FOLDER = Path(__file__).parents[1] / "docs" / "page"
MOST_BYTES = 100_000
SIZES = {"wide": (1240, 820), "phone": (390, 780)}
VIEWS = {
    "now": "/",
    "approvals": "/approvals",
    "call": "/calls/{call}",
    "recommendations": "/recommendations",
    "recommendation": "/recommendations/{recommendation}",
    "tenants": "/tenants",
    "tenant": "/tenants/acme",
    "workloads": "/workloads",
    "workload": "/workloads/acme/Deployment/api",
    "jobs": "/jobs",
    "job": "/jobs/acme/nightly-report",
    "audit": "/audit",
}
# Every picture that is in sight.
DRAWN = """[...document.images].every(one =>
    one.getBoundingClientRect().top > innerHeight || (one.complete && one.naturalWidth))"""
ON_A_PHONE = ("now", "approvals", "recommendation")
COUNTING = "for i in 1 2 3 4 5 6; do echo report $i of 6; done; echo all written"


async def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    async with running(0) as demo, browser() as chromium:
        known = await furnished(demo)
        for scheme in ("light", "dark"):
            for size, (width, height) in SIZES.items():
                options = {"color_scheme": scheme, "viewport": {"width": width, "height": height}}
                page = await signed_in(chromium, demo.url, demo.tokens["oscar"], **options)
                for name, path in VIEWS.items():
                    if size == "wide" or name in ON_A_PHONE:
                        suffix = "" if size == "wide" else "-phone"
                        await shoot(page, path.format(**known), f"{name}{suffix}-{scheme}.png")
                await page.context.close()


async def furnished(demo: Demo) -> dict[str, str]:
    """Something that waits, something that was done, and something that ran."""

    async def call(who: str, tool: str, /, **arguments: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {demo.tokens[who]}"}
        async with httpx.AsyncClient(base_url=demo.url, headers=headers, timeout=60) as client:
            answer = await client.post(f"/api/v1/tools/{tool}", json=arguments)
            answer.raise_for_status()
            found: dict[str, Any] = answer.json()
            return found

    command = ["sh", "-c", COUNTING]
    job = {"tenant": "acme", "name": "nightly-report", "image": "busybox:1.37"}
    await call("ada", "job_create", **job, command=command, wait=True)
    await call("ada", "workload_restart", tenant="acme", name="web")
    done = await call("ada", "workload_scale", tenant="acme", name="web", replicas=4)
    await call("olivia", "tenant_create", name="hooli", plan="pro")
    await call("olivia", "workload_delete", tenant="globex", name="importer")
    await call("copilot", "workload_scale", tenant="acme", name="api", replicas=4)
    listed = await call("oscar", "recommendation_list", limit=1)
    best = listed["answer"]["recommendations"][0]["id"]
    return {"call": done["call_id"], "recommendation": best}


async def shoot(page: "Page", path: str, name: str) -> None:
    await page.goto(path)
    await page.wait_for_timeout(300)  # for what the page does by itself
    async with asyncio.timeout(20):
        while not await page.evaluate(DRAWN):
            await page.wait_for_timeout(50)
    taken = Image.open(io.BytesIO(await page.screenshot())).convert("RGB")
    out = io.BytesIO()
    taken.quantize(224, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    if out.tell() > MOST_BYTES:
        raise SystemExit(f"{name} has {out.tell()} bytes; {MOST_BYTES} are allowed")
    (FOLDER / name).write_bytes(out.getvalue())
    print(name, out.tell())


if __name__ == "__main__":
    asyncio.run(main())
