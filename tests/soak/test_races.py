"""Several people decide about one call at once, each through another door, while it expires: one
of them wins, and what is carried out is carried out once."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa

from server.app import guarded
from server.doors.rest import Local
from server.identity import new_token
from server.journal import steps
from server.remote import RemoteGate
from server.serving import listen, listen_here, served
from tests.conftest import Kube
from tests.house import AGENT, OLIVIA, OSCAR
from tests.lodging import Lodging, lodging
from tests.soak import WHOLE
from tools.calls import State

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]
RACES = 1000 if WHOLE else 25
DOORS = ("cli", "rest", "web", "slack")
DECIDED = (State.RUNNING, State.REJECTED, State.CANCELLED, State.EXPIRED)
WAY_ON = timedelta(hours=25)


class Clock:
    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


clock = Clock()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(
    shared_kube: Kube, moto_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lodging]:
    from unittest import mock

    from server import app

    real = app.open_app
    with mock.patch("tests.house.open_app", lambda settings: real(settings, clock)):
        folder = tmp_path_factory.mktemp("races")
        async with lodging(shared_kube, moto_url, folder) as home, doors_of(home):
            yield home


# By person: ways in over real sockets, beside the gate itself.
ways: dict[str, list[RemoteGate]] = {}


@asynccontextmanager
async def doors_of(home: Lodging) -> AsyncIterator[None]:
    """REST, and the socket of this user, with a token for each who decides."""
    app = home.app
    about = Local(lambda: {}, app.stop, app.backup, app.rotate_key)  # type: ignore[arg-type]
    path = app.settings.state / "races.sock"
    rest, local = guarded(app.http(), app.settings), guarded(app.http(about), app.settings)
    with listen("127.0.0.1", 0) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with served(rest, listener, 1), served(local, listen_here(path), 1):
            for who in (OLIVIA, OSCAR):
                token, sha256 = new_token()
                rights = {"tenants": {}, "operator": True, "agent": False, "person": ""}
                await app.identity.tokens.create(
                    OLIVIA, sha256=sha256, subject=who.subject, expires_days=None, **rights
                )
                ways[who.subject] = [RemoteGate(url, token), RemoteGate(path, token)]
                for gate in ways[who.subject]:
                    assert (await gate.caller(who)).subject == who.subject
            yield
            for gate in (gate for gates in ways.values() for gate in gates):
                await gate.close()


async def test_of_all_who_decide_at_once_exactly_one_wins(home: Lodging) -> None:
    dice = random.Random(3)
    records = home.app.local_gate.records
    moves: list[tuple[str, State]] = []
    told = records.moved

    def moved(id: str, to: State, fields: Any) -> None:
        moves.append((id, to))
        told(id, to, fields)

    records.moved = moved
    ended: Counter[State] = Counter()
    undone = 0
    for number in range(RACES):
        replicas = 1 + number % 2
        waiting = await home.call(
            AGENT, "workload_scale", tenant=home.tenant, name="web", replicas=replicas
        )
        if not waiting.state.waiting:  # it is so already
            assert waiting.state is State.SUCCEEDED, waiting
            continue
        await race(home, str(waiting.call_id), dice)
        state = await home.state(waiting.call_id)
        ended[state] += 1
        won = [to for id, to in moves if id == waiting.call_id and to in DECIDED]
        assert len(won) == 1, won
        if state is State.SUCCEEDED and dice.random() < 0.5:
            await undone_once(home, str(waiting.call_id), moves)
            undone += 1
        moves.clear()
    records.moved = told
    print(f"{sum(ended.values())} races, {undone} undone after: {dict(ended)}")
    assert len(ended) >= 3, ended
    query = (
        sa.select(steps.c.call_id, steps.c.change_id)
        .where(steps.c.did == "applied")
        .group_by(steps.c.call_id, steps.c.change_id)
        .having(sa.func.count() > 1)
    )
    assert await home.app.journal.run(lambda c: c.execute(query).all()) == []
    outcome = await home.call(OLIVIA, "audit_verify")
    assert outcome.answer is not None
    assert outcome.answer["faults"] == []


async def race(home: Lodging, id: str, dice: random.Random) -> None:
    def by(who: Any, tool: str, **arguments: Any) -> Any:
        way = dice.choice((home.app.gate, *ways[who.subject]))
        who = who.model_copy(update={"door": dice.choice(DOORS)})
        return way.call(who, tool, {"id": id, **arguments}, wait_s=60)

    runners = [
        lambda: by(OLIVIA, "call_confirm"),
        lambda: by(OLIVIA, "call_approve"),
        lambda: by(OSCAR, "call_approve"),
        lambda: by(OLIVIA, "call_reject", reason="no"),
        lambda: by(OSCAR, "call_reject", reason="no"),
        lambda: expire(home),
    ]
    dice.shuffle(runners)
    late = dice.choice((2, 3, len(runners)))
    await asyncio.gather(*(run() for run in runners[:late]))
    if (await home.state(id)).waiting:  # nobody of those was let
        await home.call(OLIVIA, "call_confirm", id=id)


async def expire(home: Lodging) -> None:
    clock.ahead += WAY_ON
    await home.app.local_gate.carrier.sweep()


async def undone_once(home: Lodging, id: str, moves: list[tuple[str, State]]) -> None:
    """Both are told that it is being undone, or that it is already."""
    asked = await asyncio.gather(
        *(home.call(who, "call_undo", id=id) for who in (OLIVIA, OSCAR, OLIVIA))
    )
    assert moves.count((id, State.UNDOING)) == 1
    assert sum(outcome.error is None for outcome in asked) == 1, asked
