"""Secrets are taken out of whatever leaves the process: here, for all tools and all doors."""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from typing import Any

MASK = "•••"

# By the name of the key. `secretName`, `tokenExpirationSeconds` and their like name no secret.
KEY = re.compile(
    r"(?i)(^|[_\-.])(password|passwd|passphrase|pwd|secret|token|api_?key|access_?key|account_?key|"
    r"private_?key|secret_?key|app_?key|license_?key|credentials?|authorization|client_?secret|"
    r"connection_?string|dsn|client-key-data|dockerconfigjson|htpasswd)$"
    r"|^(auth|pat|apikey|secretkey|authtoken)$"
    r"|(?<=[a-z])(Password|Passphrase|Secret|Token|ApiKey|AccessKey|AccountKey|PrivateKey)$"
)

# By shape, wherever it stands in a text, each behind what it is looked for by: looking for that is
# many times quicker than for the shape.
SHAPES: tuple[tuple[tuple[str, ...], str], ...] = (
    # JWT. It is looked for at the beginning of a word: from each `eyJ` within a long one, the
    # search would go to its end, and a text of a hundred thousand of these would take minutes.
    (("eyJ",), r"(?<![\w-])(?:sk\.)?eyJ[\w-]{8,}\.(?:eyJ[\w-]{8,}\.)?[\w-]{8,}"),
    (("AKIA", "ASIA", "LTAI", "AKID"),
     r"\b(?:(?:AKIA|ASIA)[0-9A-Z]{16}|LTAI[0-9A-Za-z]{16,24}|AKID[0-9A-Za-z]{32})\b"),
    (("-----BEGIN",),
     r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----[\s\S]*?"
     r"(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)"),
    (("AGE-SECRET-KEY-",), r"AGE-SECRET-KEY-1[0-9A-Z]{50,}"),
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"\bgh[pousr]_[A-Za-z0-9]{30,}\b"),
    (("github_pat_",), r"\bgithub_pat_\w{30,}\b"),
    (("glpat-", "gldt-", "glrt-", "glptt-"), r"\bgl(?:pat|dt|rt|ptt)-[\w-]{20,}"),
    (("glsa_", "glc_"), r"\bgl(?:sa|c)_[\w+/=-]{30,}"),
    (("xox",), r"\bxox[abeprs]-[\w-]{11,}"),
    (("xapp-",), r"\bxapp-\d-[\w-]{20,}"),
    (("hooks.slack.com", "/api/webhooks/"),
     r"(?<=hooks\.slack\.com/services/)[\w/]{20,}|(?<=/api/webhooks/)\d{10,}/[\w-]{30,}"),
    (("sk-",), r"(?<![\w-])sk-(?:(?:ant|proj|svcacct|or)-[\w-]{20,}|\w{32,})"),
    (("k_live_", "k_test_"), r"\b[rs]k_(?:live|test)_\w{16,}"),
    (("whsec_",), r"\bwhsec_[\w+/=]{20,}"),
    (("AIza",), r"\bAIza[\w-]{35}"),
    (("ya29.",), r"\bya29\.[\w-]{20,}"),
    (("GOCSPX-",), r"\bGOCSPX-[\w-]{20,}"),
    (("npm_", "rubygems_"), r"\bnpm_\w{36}\b|\brubygems_[0-9a-f]{48}\b"),
    (("pypi-",), r"\bpypi-AgE[\w-]{30,}"),
    (("dckr_pat_", "dckr_oat_"), r"\bdckr_[po]at_[\w-]{20,}"),
    (("SG.",), r"\bSG\.[\w-]{16,}\.[\w-]{30,}"),
    (("key-",), r"\bkey-[0-9a-f]{32}\b"),
    (("SK",), r"\bSK[0-9a-f]{32}\b"),
    (("dop_v1_", "doo_v1_", "dor_v1_"), r"\bdo[opr]_v1_[0-9a-f]{40,}"),
    (("hvs.", "hvb.", "hvr."), r"\bhv[sbr]\.[\w-]{20,}"),
    ((".atlasv1.",), r"\b\w{10,}\.atlasv1\.[\w-]{40,}"),
    (("shpat_", "shpss_", "shpca_", "shppa_"), r"\bshp(?:at|ss|ca|pa)_[0-9a-fA-F]{32}"),
    (("sq0",), r"\bsq0(?:atp|csp)-[\w-]{20,}"),
    (("lin_api_", "ntn_", "secret_"), r"\b(?:lin_api|ntn|secret)_[A-Za-z0-9]{40,}"),
    (("hf_", "r8_"), r"\b(?:hf_[A-Za-z]{30,}|r8_\w{30,})\b"),
    (("dapi",), r"\bdapi[0-9a-f]{32}\b"),
    (("NRAK-",), r"\bNRAK-[A-Z0-9]{27}\b"),
    (("sntrys_", "sntryu_"), r"\bsntry[su]_[\w+/=]{40,}"),
    (("pscale_",), r"\bpscale_(?:pw|tkn|oauth)_[\w.-]{30,}"),
    (("dp.",), r"\bdp\.(?:pt|st|sa|ct)\.[\w.-]{40,}"),
    (("PMAK-",), r"\bPMAK-[0-9a-f]{24}-[0-9a-f]{34}\b"),
    ((":AA",), r"\b\d{8,10}:AA[\w-]{32,34}\b"),
    (("HRKU-",), r"\bHRKU-[\w-]{36,}"),
    (("ATATT3", "ATCTT3"), r"\bAT[AC]TT3[\w=-]{40,}"),
    (("sbp_",), r"\bsbp_[0-9a-f]{40}\b"),
    (("FlyV1",), r"(?<=FlyV1 )fm\d_[\w+/=,]{30,}"),
    (("EAA",), r"\bEAA[A-Za-z0-9]{60,}\b"),
    (("ph_",), r"\bph_[\w-]{20,}"),
    (("$2", "$argon2", "$apr1$", "$6$"),
     r"\$2[aby]\$\d\d\$[./\w]{53}|\$argon2[di]{1,2}\$[\w$=,+/]{40,}|\$(?:apr1|6)\$[./\w$]{24,}"),
    (("://",), r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"),  # user:password in a URL
)  # fmt: skip
# A word before it says that it is one; these in any case.
TOLD = (
    r"(?i:(?<=bearer )[\w\-.~+/]{16,}=*|(?<=authorization: basic )[A-Za-z0-9+/]{12,}=*"
    r"|(?<=password=)[^\s&;,\"']+|(?<=passwd=)[^\s&;,\"']+|(?<=pwd=)[^\s&;,\"']+"
    r"|(?<=secret=)[^\s&;,\"']+|(?<=token=)[^\s&;,\"']+|(?<=accountkey=)[^\s&;,\"']+"
    r"|(?<=sharedaccesskey=)[^\s&;,\"']+|(?<=[?&]sig=)[^\s&;,\"']+"
    r"|(?<=api_key=)[^\s&;,\"']+|(?<=apikey=)[^\s&;,\"']+"
    r"|(?<=aws_secret_access_key=)[^\s&;,\"']+|(?<=aws_secret_access_key = )[^\s&;,\"']+"
    r"|(?<=password: )[^\s&;,\"']+|(?<=_auth=)[^\s&;,\"']+|(?<=_authtoken=)[^\s&;,\"']+)"
)
BY_WORD, ALL = re.compile(TOLD), re.compile("|".join((*(shape for _, shape in SHAPES), TOLD)))
HINTS = tuple(hint for hints, _ in SHAPES for hint in hints)
# All but these are, or end in, as many letters in a row as hardly a word has: where there is none
# that long, there is no need to look for the others.
LONG = re.compile(r"[\w+=/-]{16}")
BRIEF = tuple(
    h for h in HINTS if h.startswith(("eyJ", "://", "-----", "hooks", "/api", "$", "SG.", "dp."))
)


def _one_of(words: tuple[str, ...]) -> re.Pattern[str]:
    """By their first letters: where none of these stands, nothing else is tried."""
    grouped = groupby(sorted(words), lambda word: word[0])
    return re.compile("|".join(
        f"{re.escape(first)}(?:{'|'.join(re.escape(word[1:]) for word in rest)})"
        for first, rest in grouped
    ))  # fmt: skip


ANY_HINT, BRIEF_HINT = _one_of(HINTS), _one_of(BRIEF)
# The shortest that is masked by its shape alone, but for what stands behind `://`.
SHORTEST = 16
WORDS = re.compile(
    r"(?i)bearer |: basic |password=|passwd=|pwd=|secret=|token=|key=|key = |sig=|password: |_auth"
)

# In lower case: every key that names a secret holds one of these, and all that WORDS finds; some
# are looked for only where there is what they have in common.
TRACES: dict[str, tuple[str, ...]] = {
    **{word: (word,) for word in (
        "passw", "passphrase", "pwd", "secret", "token", "dockerconfigjson", "credential", '"pat"',
        "dsn", "bearer ", ": basic ", "sig=",
    )},
    "key": (
        "apikey", "api_key", "accesskey", "access_key", "accountkey", "account_key", "privatekey",
        "private_key", "app_key", "appkey", "license_key", "licensekey", "client-key-data", "key=",
        "key = ",
    ),
    "auth": ('"auth"', "authorization", "_auth"),
    "connection": ("connectionstring", "connection_string"),
}  # fmt: skip


def spotless(text: str) -> bool:
    """Is there no trace of a secret in a value's JSON text? Then `mask` changes nothing in it."""
    # Beyond ASCII there are letters that KEY takes for others and that have no lower case.
    return text.isascii() and not _hinted(text) and not _traced(text.lower())


def _traced(low: str) -> bool:
    return any(
        common in low and any(map(low.__contains__, words)) for common, words in TRACES.items()
    )


def _hinted(text: str) -> bool:
    return (ANY_HINT if LONG.search(text) else BRIEF_HINT).search(text) is not None


def mask_text(text: str) -> str:
    """The text with what looks like a secret replaced."""
    if len(text) < SHORTEST and "://" not in text and "=" not in text and " " not in text:
        return text
    # Each of the words holds one of these; most texts hold none.
    worded = "=" in text or ": " in text or (" " in text and "bearer " in text.lower())
    if _hinted(text):
        return ALL.sub(MASK, text)
    return BY_WORD.sub(MASK, text) if worded and WORDS.search(text) else text


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
        if self._in_key or ("-----BEGIN " in line and "PRIVATE KEY" in line):
            self._in_key = "-----END " not in line
            return MASK + "\n" * line.endswith("\n")
        return mask_text(line)


class Pieces:
    """Masks what a tool tells piece by piece: `text` that is cut anywhere, and lines of a log, of
    which a private key is many."""

    def __init__(self) -> None:
        self._text = Stream()
        self._logs: dict[tuple[Any, Any], Stream] = {}

    def piece(self, piece: dict[str, Any]) -> dict[str, Any]:
        rest = {k: v for k, v in piece.items() if k not in ("text", "line")}
        masked: dict[str, Any] = mask(rest)
        if "text" in piece:
            masked["text"] = self._text.feed(str(piece["text"]))
        if "line" in piece:
            log = self._logs.setdefault((piece.get("pod"), piece.get("container")), Stream())
            masked["line"] = log.feed(f"{piece['line']}\n").removesuffix("\n")
        return masked

    def rest(self) -> Iterator[dict[str, Any]]:
        if text := self._text.end():
            yield {"text": text}
