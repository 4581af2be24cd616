"""The agent as the settings have it."""

import os

from chatops.agent import Agent, Limits
from chatops.claude import Model
from server.masking import mask_text
from server.settings import Chat
from tools.calls import Gate


def make_agent(settings: Chat, gate: Gate) -> Agent:
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
        conversations=settings.conversations,
        keep_s=settings.keep_h * 3600,
    )
    return Agent(gate, model, mask_text, limits)
