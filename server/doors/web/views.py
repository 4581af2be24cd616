"""What each page shows: answers of tools, and nothing else."""

import asyncio
from typing import Any

from server.doors.web.pages import View
from server.doors.web.visits import Found, Visit, decides

SHOWN = 20  # rows of a list, each with a call of its own
RECENT, FIRST, FEW = 8, 3, 5
HEALTH_S = 0.15
KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Pod")
# Strategies whose advice keeps something from going wrong.
AVOIDING = ("replicas", "saturation")


async def now(visit: Visit) -> dict[str, Any]:
    health, waiting, recent, advised, ailing, alerts = await asyncio.gather(
        _health(visit),
        visit.waiting(),
        visit.find("call_list", state="decided", limit=RECENT),
        visit.find("recommendation_list", limit=5),
        visit.find("workload_list", only_unhealthy=True, limit=5, **_tenant_of(visit)),
        visit.find("alert_list", status="firing", limit=5),
    )
    scores = {s["strategy"]: s["figures"] for s in advised.answer.get("scores", ())}
    mine = [row for row in waiting.answer["calls"] if decides(row)]
    return {
        "health": health,
        "error": waiting.error,
        "first": await _whole(visit, mine[:FIRST]),
        "mine": len(mine),
        "others": len(waiting.answer["calls"]) - len(mine),
        "recent": recent,
        "advised": advised,
        "ailing": ailing,
        "firing": alerts.answer.get("incidents", ()),
        "saved": sum(f["saved"] for f in scores.values()),
        "promised": sum(max(f["promised"], 0) for f in scores.values()),
        "kept": sum(f["lately"]["kept"] for f in scores.values()),
        "open": sum(f["counts"]["open"] for f in scores.values()),
        "avoided": sum(f["lately"]["kept"] for n, f in scores.items() if n in AVOIDING),
        "harmful": sum(f["lately"]["harmful"] for f in scores.values()),
    }


async def _health(visit: Visit) -> Found:
    """As it was last known, where what does not answer would keep the page waiting."""

    async def ask() -> Found:
        found = await visit.find("platform_status")
        visit.web.health = found.answer or visit.web.health
        return found

    asking = asyncio.create_task(ask())
    await asyncio.wait({asking}, timeout=HEALTH_S)
    return asking.result() if asking.done() else Found(visit.web.health)


async def approvals(visit: Visit) -> dict[str, Any]:
    text, after = visit.query("text"), visit.query("after")
    begin = int(after) if after.isdecimal() else 0
    waiting = await visit.waiting()
    rows = [row for row in waiting.answer["calls"] if _says(row, text)]
    calls = await _whole(visit, rows[begin : begin + SHOWN])
    end = begin + SHOWN
    return {
        "mine": [call for call in calls if decides(call)],
        "others": [call for call in calls if not decides(call)],
        "error": waiting.error,
        "text": text,
        "begin": begin,
        "all": len(waiting.answer["calls"]),
        "found": len(rows),
        "after": end if end < len(rows) else None,
        "searched": len(waiting.answer["calls"]) > FEW,
    }


async def call(visit: Visit) -> dict[str, Any]:
    return await visit.read("call_get", id=visit.request.path_params["id"])


async def recommendations(visit: Visit) -> dict[str, Any]:
    picked = {
        "tenant": visit.query("tenant"),
        "strategy": visit.query("strategy"),
        "sort": visit.query("sort", "effect"),
        "state": visit.query("state", "open"),
    }
    asked = picked | {"limit": 12, "next": visit.query("next")}
    answer = await visit.read("recommendation_list", **asked)
    rows = answer["recommendations"]
    found = await asyncio.gather(*(visit.find("recommendation_get", id=r["id"]) for r in rows))
    return {
        "rows": [f.answer["recommendation"] for f in found if not f.error],
        "scores": {s["strategy"]: s["figures"] for s in answer.get("scores", ())},
        "notes": answer.get("notes", ()),
        "next": answer.get("next", ""),
        "picked": picked,
    }


async def recommendation(visit: Visit) -> dict[str, Any]:
    id = visit.request.path_params["id"]
    one, listed = await asyncio.gather(
        visit.read("recommendation_get", id=id), visit.find("recommendation_list", limit=1)
    )
    scores = {s["strategy"]: s["figures"] for s in listed.answer.get("scores", ())}
    return {"one": one["recommendation"], "scores": scores}


async def tenants(visit: Visit) -> dict[str, Any]:
    picked = {"text": visit.query("text"), "plan": visit.query("plan")}
    answer = await visit.read("tenant_list", **picked, limit=SHOWN, next=visit.query("next"))
    names = [row["name"] for row in answer["tenants"]]
    found = await asyncio.gather(*(visit.find("tenant_get", tenant=name) for name in names))
    rows = [row | {"more": f.answer} for row, f in zip(answer["tenants"], found, strict=True)]
    return {
        "rows": rows,
        "next": answer.get("next", ""),
        "picked": picked,
        "plans": visit.web.plans,
    }


async def tenant(visit: Visit) -> dict[str, Any]:
    name = visit.request.path_params["tenant"]
    one, workloads, jobs, instances, advised, calls = await asyncio.gather(
        visit.read("tenant_get", tenant=name, drift=True),
        visit.find("workload_list", tenant=name, limit=50),
        visit.find("job_list", tenant=name, limit=RECENT),
        visit.find("instance_list", tenant=name, limit=50),
        visit.find("recommendation_list", tenant=name, limit=5),
        visit.find("call_list", tenant=name, state="decided", limit=RECENT),
    )
    return {
        "one": one,
        "workloads": workloads,
        "jobs": jobs,
        "instances": instances,
        "advised": advised,
        "recent": calls,
        "plans": visit.web.plans,
    }


async def workloads(visit: Visit) -> dict[str, Any]:
    picked = {
        "text": visit.query("text"),
        "tenant": visit.query("tenant") or _tenant_of(visit).get("tenant", ""),
        "kind": visit.query("kind"),
        "only_unhealthy": visit.query("only_unhealthy"),
    }
    found = await visit.find("workload_list", **picked, limit=50, next=visit.query("next"))
    return {"found": found, "picked": picked, "kinds": KINDS}


async def workload(visit: Visit) -> dict[str, Any]:
    path = visit.request.path_params
    which = {"tenant": path["tenant"], "kind": path["kind"], "name": path["name"]}
    one, usage = await asyncio.gather(
        visit.read("workload_get", **which),
        visit.find("workload_usage", **which, last="1d", points=96),
    )
    log = {"container": visit.query("container"), "previous": visit.query("previous")}
    return {"one": one, "usage": usage, "log": log, **which}


async def jobs(visit: Visit) -> dict[str, Any]:
    known = await visit.find("tenant_list", limit=200)
    names = visit.tenants or [row["name"] for row in known.answer.get("tenants", ())]
    picked = visit.query("tenant")
    wanted = [picked] if picked else names[:SHOWN]
    found = await asyncio.gather(*(visit.find("job_list", tenant=t, limit=50) for t in wanted))
    rows = [
        job | {"tenant": tenant}
        for tenant, of in zip(wanted, found, strict=True)
        for job in of.answer.get("jobs", ())
    ]
    return {
        "rows": rows,
        "names": names,
        "runs_in": [name for name in names if visit.may("job_create", name)],
        "picked": picked,
        "left_out": 0 if picked else len(names) - len(wanted),
        "errors": [of.error for of in (known, *found) if of.error],
    }


async def job(visit: Visit) -> dict[str, Any]:
    path = visit.request.path_params
    which = {"tenant": path["tenant"], "name": path["name"]}
    return {"one": await visit.read("job_get", **which), **which}


async def audit(visit: Visit) -> dict[str, Any]:
    picked = audit_filter(visit)
    if "type" not in visit.request.query_params:
        picked["type"] = "changes"  # reads are many
    found = await visit.find("audit_list", **picked, limit=100, next=visit.query("next"))
    return {"found": found, "picked": picked}


def audit_filter(visit: Visit) -> dict[str, str]:
    names = ("type", "status", "tenant", "subject", "since", "until", "text")
    return {name: visit.query(name) for name in names}


async def _whole(visit: Visit, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each with its diff, and what this caller may do about it."""
    found = await asyncio.gather(*(visit.find("call_get", id=row["id"]) for row in rows))
    return [f.answer["call"] for f in found if not f.error]


def _says(row: dict[str, Any], text: str) -> bool:
    said = " ".join(row[name] for name in ("summary", "tool", "tenant", "requester"))
    return all(word in said.casefold() for word in text.casefold().split())


def _tenant_of(visit: Visit) -> dict[str, str]:
    """The one to begin with, for who has some: only operators can see all at once."""
    return {"tenant": visit.tenants[0]} if visit.tenants and not visit.caller.operator else {}


VIEWS: tuple[tuple[str, str, View], ...] = (
    ("/", "now.html", now),
    ("/approvals", "approvals.html", approvals),
    ("/calls/{id}", "call.html", call),
    ("/recommendations", "recommendations.html", recommendations),
    ("/recommendations/{id}", "recommendation.html", recommendation),
    ("/tenants", "tenants.html", tenants),
    ("/tenants/{tenant}", "tenant.html", tenant),
    ("/workloads", "workloads.html", workloads),
    ("/workloads/{tenant}/{kind}/{name}", "workload.html", workload),
    ("/jobs", "jobs.html", jobs),
    ("/jobs/{tenant}/{name}", "job.html", job),
    ("/audit", "audit.html", audit),
)
