"""Whether what Pilothouse depends on answers."""

import asyncio

from server.health import Health


async def test_who_asks_at_once_shares_one_answer_and_who_goes_takes_it_from_nobody() -> None:
    asked = 0
    answered = asyncio.Event()

    async def slow() -> None:
        nonlocal asked
        asked += 1
        await answered.wait()

    health = Health({"slow": slow})
    impatient, patient = (asyncio.create_task(health.all()) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.wait({impatient})
    answered.set()
    found = await patient
    assert found["slow"]["ok"]
    assert asked == 1
