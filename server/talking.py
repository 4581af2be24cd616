"""The agent as the settings have it, and what is kept of alerts."""

import os
from collections.abc import Callable
from datetime import datetime, timedelta

from chatops.agent import Agent, Limits
from chatops.alerts import Alerts
from chatops.claude import Model
from chatops.memory import Memory
from server.journal import Journal
from server.masking import mask_text
from server.settings import Chat
from tools.calls import Gate
from tools.holdings import Directory


def make_agent(
    settings: Chat, gate: Gate, journal: Journal, clock: Callable[[], datetime]
) -> Agent:
    """Nothing is connected to before somebody asks; without a key nobody can."""
    model = Model(
        name=settings.model,
        key=settings.api_key.get_secret_value() or os.environ.get("ANTHROPIC_API_KEY", ""),
        base_url=settings.base_url,
        max_tokens=settings.max_tokens,
    )
    limits = Limits(
        calls=settings.turn_calls,
        tokens=settings.turn_tokens,
        turn_s=settings.turn_s,
        at_once=settings.at_once,
    )
    memory = Memory(
        journal.run,
        journal.vault,
        clock,
        most=settings.conversations,
        keep=timedelta(hours=settings.keep_h),
    )
    return Agent(gate, model, mask_text, memory, limits)


def make_alerts(
    gate: Gate, journal: Journal, tenants: Directory, clock: Callable[[], datetime]
) -> Alerts:
    async def uid(namespace: str) -> str | None:
        found = await tenants.find(namespace)
        return found.uid if found else None

    return Alerts(gate, journal.run, uid, mask_text, clock)
