"""How soon the page is there, in a browser that has not seen it before."""

from statistics import median

from tests.bench.measuring import Figure
from tests.bench.processes import World
from tests.browsing import browser, signed_in
from tests.lodging import deployment

VIEWS, WORKLOADS = 20, 6
MOST_MS, MOST_BYTES = 300, 60_000
# From the click until all that belongs to the view is there, and what was sent for it.
TAKEN = """() => {
  const [page] = performance.getEntriesByType("navigation");
  const parts = [page, ...performance.getEntriesByType("resource")];
  const sent = parts.reduce((sum, one) => sum + one.transferSize, 0);
  return [page.loadEventEnd - page.startTime, sent];
}"""


async def viewing(here: World) -> list[Figure]:
    """**Now** as an operator sees it, with a tenant of six workloads, in Chromium on the same
    machine, which has signed in and kept nothing of the page: until all of it is loaded."""
    tenant = f"{here.mark}-view"
    await here.call("tenant_create", name=tenant, plan="free")
    for n in range(WORKLOADS):
        await here.call("resource_apply", tenant=tenant, manifest=deployment(f"web-{n}", 1))
    token = await here.token(here.operator, f"viewer-{here.mark}", operator=True)
    took, sent = [], []
    async with browser() as chromium:
        page = await signed_in(chromium, here.url, token)
        cdp = await page.context.new_cdp_session(page)
        await cdp.send("Network.enable")
        await cdp.send("Network.setCacheDisabled", {"cacheDisabled": True})
        for _ in range(VIEWS):
            await page.goto("about:blank")
            await page.goto("/", wait_until="load")
            await page.wait_for_function("performance.timing.loadEventEnd > 0")
            ms, length = await page.evaluate(TAKEN)
            took.append(ms)
            sent.append(length)
    spread = f"{min(took):.0f}–{max(took):.0f}, {VIEWS} views"
    return [
        Figure("the first view, loaded", median(took), MOST_MS, unit=" ms", spread=spread),
        Figure("sent for it", max(sent), MOST_BYTES, unit=" B"),
    ]
