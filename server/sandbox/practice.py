"""What only a practice cluster has: faults, time and a look at everything, over HTTP."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .api import Api
from .errors import method_not_allowed, no_such_path
from .faults import Faults, fault_from_json

Object = dict[str, Any]
PATH = "/practice/"


class Practice:
    """`/practice/faults`, `/practice/clock` and `/practice/snapshot`, for administrators only."""

    def __init__(self, api: Api, faults: Faults) -> None:
        self._api = api
        self._faults = faults

    @staticmethod
    def serves(path: str) -> bool:
        """Whether a path is one of these."""
        return path.startswith(PATH)

    async def answer(self, request: Request) -> Response:
        """GET shows, POST sets, DELETE takes faults back."""
        what = request.url.path.removeprefix(PATH)
        match what, request.method:
            case "faults", "GET":
                pass
            case "faults", "POST":
                self._faults.add(fault_from_json(await request.json()))
            case "faults", "DELETE":
                self._faults.clear()
            case "clock", "POST":
                self._api.clock.step(float((await request.json())["step"]))
                return JSONResponse({"now": self._api.clock.now().isoformat()})
            case "snapshot", "GET":
                return JSONResponse(snapshot(self._api))
            case (("faults" | "clock" | "snapshot"), _):
                raise method_not_allowed()
            case _:
                raise no_such_path()
        return JSONResponse({"pending": self._faults.as_json(), "happened": self._faults.happened})


def snapshot(api: Api) -> dict[str, list[Object]]:
    """All objects, by kind."""
    found: dict[str, list[Object]] = {}
    for record in api.store.everything():
        found.setdefault(record.kind.kind, []).append(record.object)
    return found
