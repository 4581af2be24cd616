"""What the engine needs of a backend to carry out a change there."""

from typing import Protocol

from tools.looking import Looks
from tools.plan import Change, Seen


class Writes(Looks, Protocol):
    """A backend with the right to change things: handed to the engine alone."""

    async def apply(self, change: Change, call_id: str) -> Seen:
        """Bring the change about, and return what is there then. Sent twice, it happens once.

        It is compare-and-swap where `change.seen` is known: an object whose uid or written fields
        are no longer as seen raises `ToolError(FAILED_PRECONDITION)`, one that is already as
        intended is left alone. A request whose answer was lost raises with `lost=True`.
        """
        ...

    def took_effect(self, change: Change, left: Seen) -> bool:
        """Does what `apply` returned show already that the change has taken effect? Where it does,
        `settled` need not be asked."""
        ...

    async def is_ours(self, change: Change, call_id: str) -> bool:
        """May what is there be of this call's making? Asked of a change that was to make it new and
        was sent without an answer."""
        ...

    async def settled(self, change: Change) -> str:
        """Empty when the change has taken effect (rollout done, namespace gone, role visible),
        else a line on what is being waited for. Raises when it never will."""
        ...
