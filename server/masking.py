"""Secrets are taken out of whatever leaves the process: here, for all tools and all doors."""

import re
from functools import lru_cache
from typing import Any

MASK = "•••"

# By the name of the key. `secretName`, `tokenExpirationSeconds` and their like name no secret.
KEY = re.compile(
    r"(?i)(^|[_\-.])(password|passwd|pwd|secret|token|api_?key|access_?key|private_?key|credential"
    r"s?|authorization|client_?secret|connection_?string|dsn)$|(?<=[a-z])(Password|Secret|Token|Ap"
    r"iKey|AccessKey|PrivateKey)$"
)

# By shape, wherever it stands in a text.
SHAPES = re.compile(
    # JWT. It is looked for at the beginning of a word: from each `eyJ` within a long one, the
    # search would go to its end, and a text of a hundred thousand of these would take minutes.
    r"(?<![\w-])eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"  # AWS access key id
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\bgh[pousr]_[A-Za-z0-9]{30,}\b|\bgithub_pat_\w{30,}\b|\bglpat-[\w-]{20,}"
    r"|\bxox[abeprs]-[\w-]{10,}|\bsk-(?:ant-|proj-)?[\w-]{20,}|\bph_[\w-]{20,}"
    r"|(?<=://)[^/\s:@]+:[^/\s:@]+(?=@)"  # user:password in a URL
    r"|(?i:(?<=bearer )[\w\-.~+/]{16,}=*)"
    r"|(?i:(?<=password=)[^\s&;,\"']+|(?<=passwd=)[^\s&;,\"']+|(?<=secret=)[^\s&;,\"']+"
    r"|(?<=token=)[^\s&;,\"']+|(?<=aws_secret_access_key=)[^\s&;,\"']+)"
)
# Every shape holds one of these; looking for them is many times quicker than for the shapes.
HINTS = ("eyJ", "AKIA", "ASIA", "-----BEGIN", "gh", "glpat-", "xox", "sk-", "ph_", "://")
WORDS = re.compile(r"(?i)bearer |password=|passwd=|secret=|token=|access_key=")

# In lower case: every key that names a secret holds one of these, and every shape.
TRACES = (
    "password", "passwd", "pwd", "secret", "token", "apikey", "api_key", "accesskey", "access_key",
    "privatekey", "private_key", "credential", "authorization", "connectionstring",
    "connection_string", "dsn", "eyj", "akia", "asia", "-----begin", "ghp_", "gho_", "ghu_", "ghs_",
    "ghr_", "github_pat_", "glpat-", "xox", "sk-", "ph_", "://", "bearer ",
)  # fmt: skip


def spotless(text: str) -> bool:
    """Is there no trace of a secret in a value's JSON text? Then `mask` changes nothing in it."""
    # Beyond ASCII there are letters that KEY takes for others and that have no lower case.
    return text.isascii() and not any(map(text.lower().__contains__, TRACES))


def mask_text(text: str) -> str:
    """The text with what looks like a secret replaced."""
    # Each of the words ends in one of the two; most texts hold neither.
    worded = ("=" in text or " " in text) and WORDS.search(text)
    if worded or any(map(text.__contains__, HINTS)):
        return SHAPES.sub(MASK, text)
    return text


@lru_cache(4096)
def _secret(key: str) -> bool:
    """Does a key of this name hold a secret?"""
    return KEY.search(key) is not None


def mask(value: Any) -> Any:
    """The same JSON value with secrets replaced: a Secret's data by its kind, others by the name of
    their key or by their shape."""
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, list):
        return [mask(item) for item in value]
    if not isinstance(value, dict):
        return value
    secret = value.get("kind") == "Secret"
    masked: dict[str, Any] = {}
    for key, item in value.items():
        if secret and key in ("data", "stringData") and isinstance(item, dict):
            masked[key] = dict.fromkeys(item, MASK)
        elif isinstance(item, str) and item and _secret(key):
            masked[key] = MASK
        else:
            masked[key] = mask(item)
    # An environment variable is a pair, its name apart from its value.
    name = value.get("name")
    if isinstance(name, str) and isinstance(value.get("value"), str) and _secret(name):
        masked["value"] = MASK
    # A difference says in its path what its values are called (`env[DB_PASSWORD].value`).
    path = value.get("path")
    if isinstance(path, str) and any(map(_secret, re.split(r"[.\[\]]+", path)[-4:])):
        masked |= {side: MASK for side in ("before", "after") if isinstance(value.get(side), str)}
    return masked


class Stream:
    """Masks a text that comes in pieces, also where a secret is cut in two: the end of a piece is
    held back until a line is whole (or `most` characters have come)."""

    def __init__(self, most: int = 8192) -> None:
        self._held = ""
        self._most = most
        self._in_key = False

    def feed(self, piece: str) -> str:
        self._held += piece
        cut = self._held.rfind("\n") + 1
        if not cut and len(self._held) > self._most:
            cut = len(self._held)
        whole, self._held = self._held[:cut], self._held[cut:]
        return "".join(map(self._line, whole.splitlines(keepends=True)))

    def end(self) -> str:
        held, self._held = self._held, ""
        return self._line(held)

    def _line(self, line: str) -> str:
        # A private key is many lines; each one after its first is masked until the last.
        if self._in_key or ("-----BEGIN " in line and "PRIVATE KEY-----" in line):
            self._in_key = "-----END " not in line
            return MASK + "\n" * line.endswith("\n")
        return mask_text(line)
