"""Passwords: Argon2id, a few at once, in threads; bcrypt's hashes are taken and made anew.

Checking one that nobody has takes as long as checking a wrong one.
"""

import asyncio
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from tools.errors import Code, ToolError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

T = TypeVar("T")
LEAST, MOST = 12, 256
# Each takes a core and 64 MiB for as long as it lasts.
AT_ONCE, MOST_WAITING = 2, 64
BCRYPT = ("$2a$", "$2b$", "$2y$")
BCRYPT_READS = 72  # bytes, of a password as long as you like


class Passwords:
    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def hashed(self, password: str, email: str) -> str:
        """Raises `ToolError` for a password that is easily guessed."""
        fold = password.casefold()
        few = len(set(fold)) < 5
        if not LEAST <= len(password) <= MOST or few or fold in (email.casefold(), "pilothouse"):
            raise ToolError(
                Code.INVALID_ARGUMENT,
                f"A password has {LEAST} to {MOST} characters, at least 5 different ones, and is "
                "not your email address.",
                "A few words that have nothing to do with each other are a good one.",
            )
        return await self._slowly(_hash, password)

    async def check(self, hashed: str, password: str) -> tuple[bool, str]:
        """Is it this password; and if so, a better hash of it where there is one."""
        return await self._slowly(_check, hashed, password[:MOST])

    async def _slowly(self, work: Callable[..., T], *given: str) -> T:
        if self._waiting >= MOST_WAITING:
            raise ToolError(
                Code.RESOURCE_EXHAUSTED,
                "Too many people sign in at once.",
                "Try again in a moment.",
                retry_after=2,
            )
        self._waiting += 1
        try:
            async with self._slots:
                return await asyncio.to_thread(work, *given)
        finally:
            self._waiting -= 1


def is_hash(text: str) -> bool:
    """Is it a hash of a kind that can be checked?"""
    from argon2 import extract_parameters
    from argon2.exceptions import InvalidHashError

    if text.startswith(BCRYPT):
        return len(text) == 60
    try:
        extract_parameters(text)
    except InvalidHashError:
        return False
    return True


def _hash(password: str) -> str:
    return _hasher().hash(password.encode(errors="surrogatepass"))


def _check(hashed: str, password: str) -> tuple[bool, str]:
    from argon2.exceptions import InvalidHashError, VerificationError

    said = password.encode(errors="surrogatepass")
    if hashed.startswith(BCRYPT):
        import bcrypt

        try:
            same = bcrypt.checkpw(said[:BCRYPT_READS], hashed.encode())
        except ValueError:
            same = False
        return same, _hash(password) if same else ""
    try:
        _hasher().verify(hashed or _nobodys(), said)
    except (VerificationError, InvalidHashError):
        return False, ""
    if not hashed:
        return False, ""
    return True, _hash(password) if _hasher().check_needs_rehash(hashed) else ""


@cache
def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher

    return PasswordHasher()


@cache
def _nobodys() -> str:
    import secrets

    return _hash(secrets.token_urlsafe(16))
