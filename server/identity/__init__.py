"""Who calls, and what they may."""

from server.identity.callers import Identity, user
from server.identity.tokens import new_token, sha256

__all__ = ["Identity", "new_token", "sha256", "user"]
