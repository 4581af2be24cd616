"""What can be said without any model, made from the tools' own declarations.

`workload_scale(tenant, name, replicas)` is said as `scale web to 5 in acme`, `workload scale web
replicas=5 tenant=acme`, or anything in between; a tool that is declared is sayable at once.
"""

import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from tools.calls import ToolInfo

# What people say for `get`: the one thing that no declaration has.
SAID = {"why": ("recommendation_get", "call_get")}
UNKNOWN = "That is no command that I know."
FILLERS = frozenset({"the", "of", "please", "me", "my", "show"})
CALL_ID = re.compile(r"[0-9a-f]{3,12}")
# Arguments that may be named by their place though they need not be there.
PLACED = ("id", "tenant", "name")
TRUE = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
MOST_WORDS = 200
QUOTED = r"\"([^\"]*)\"|'([^']*)'"
JSON = re.compile(r"\w+=(?:\[.*?\]|\{.*?\})(?=\s|$)")
WORD = re.compile(rf"{JSON.pattern}|(?:\"[^\"]*\"|'[^']*'(?=\s|$)|\S)+")


@dataclass(frozen=True)
class Command:
    """A tool with the arguments that were said; `missing` are those that it cannot do without."""

    tool: ToolInfo
    arguments: dict[str, Any]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unclear:
    """Not understood. `instead` are whole sentences that would be; `near` says whether it looks
    like a command at all."""

    message: str
    instead: tuple[str, ...] = ()
    near: bool = True


class Misfit(Exception):
    """A word that fits nothing."""


def understand(text: str, tools: Sequence[ToolInfo], tenant: str = "") -> Command | Unclear:
    """What a text asks for, of these tools. `tenant` is meant where none is named."""
    words, phrases = _words(text), _phrases(tools)
    while len(words) > 1 and words[0].lower() in FILLERS:
        words = words[1:]
    for count in range(min(3, len(words)), 0, -1):
        phrase = " ".join(words[:count]).lower()
        if found := phrases.get(phrase):
            return _choose(phrase, found, words[count:], tenant)
    return _nearest(words, phrases)


def sentence(tool: ToolInfo) -> str:
    """How a tool is said, with its arguments: `workload scale NAME REPLICAS in TENANT`."""
    needed = required(tool)
    words = [_phrase(tool.name), *(n.upper() for n in needed if n != "tenant")]
    return " ".join(words + (["in TENANT"] if "tenant" in needed else []))


def required(tool: ToolInfo) -> list[str]:
    return list(tool.input_schema.get("required", []))


def properties(tool: ToolInfo) -> dict[str, Any]:
    return dict(tool.input_schema.get("properties", {}))


def kind_of(tool: ToolInfo, name: str) -> str:
    """`string`, `integer`, `number`, `boolean`, `array`, `object`, or `enum`."""
    schema = properties(tool)[name]
    if ref := schema.get("$ref"):
        schema = tool.input_schema["$defs"][ref.rpartition("/")[2]]
    if "enum" in schema:
        return "enum"
    if options := schema.get("anyOf"):
        kinds = [o.get("type", "object") for o in options]
        return "object" if "object" in kinds else str(kinds[0])
    return str(schema.get("type", "object"))


def coerced(tool: ToolInfo, name: str, text: str) -> Any:
    """A value as it was written. Raises `Misfit`."""
    kind = kind_of(tool, name)
    try:
        if kind == "integer":
            return int(text)
        if kind == "number":
            return float(text)
        if kind == "boolean":
            return TRUE[text.lower()]
        if text[:1] in "[{" and kind in ("array", "object"):
            return json.loads(text)
    except (ValueError, KeyError):
        wanted = {"integer": "a whole number", "number": "a number", "boolean": "yes or no"}
        raise Misfit(f"`{name}` is {wanted.get(kind, 'JSON')}, not `{text}`.") from None
    if kind == "array":
        return [part for part in text.split(",") if part]
    if kind == "enum" and text not in (options := _options(tool, name)):
        close = get_close_matches(text, options, 1, 0.5)
        raise Misfit(
            f"`{name}` is one of {', '.join(options)}, not `{text}`."
            + (f" Did you mean {close[0]}?" if close else "")
        )
    return text


def _options(tool: ToolInfo, name: str) -> list[str]:
    return [str(option) for option in properties(tool)[name].get("enum", [])]


def _words(text: str) -> list[str]:
    """The words as they were typed: without what a chat makes of quotes and links."""
    text = re.sub(r"<(?:mailto:|https?://)?([^|>]*\|)?([^>]*)>", r"\2", text.strip())
    text = html.unescape(text).translate(str.maketrans("“”„‘’\u00a0", '"""\'\' '))
    words = [w if JSON.fullmatch(w) else re.sub(QUOTED, r"\1\2", w) for w in WORD.findall(text)]
    return [word.strip("`") for word in words if word.strip("`")][:MOST_WORDS]


def _phrase(name: str) -> str:
    return name.replace("_", " ")


def _phrases(tools: Sequence[ToolInfo]) -> dict[str, list[ToolInfo]]:
    """Everything that a command may begin with, and the tools that it may mean."""
    found: dict[str, list[ToolInfo]] = {}
    for tool in tools:
        for phrase in {*_ways(tool.name)}:
            found.setdefault(phrase, []).append(tool)
    return found


def _ways(name: str) -> Iterator[str]:
    noun, _, verb = name.rpartition("_")
    noun = _phrase(noun)
    yield name
    yield f"{noun} {verb}"
    yield f"{verb} {noun}"
    if verb == "list":
        several = noun if noun.endswith("s") else f"{noun}s"
        yield several
        yield f"list {several}"
    elif verb == "get":
        yield noun
    else:
        yield verb
    for word, names in SAID.items():
        if name in names:
            yield word


def _choose(
    phrase: str, tools: Sequence[ToolInfo], words: list[str], tenant: str
) -> Command | Unclear:
    """The one tool that is meant; a word of several tools means the one whose noun its first
    argument begins with (`logs job-7`), or the only one that is complete."""
    if len(tools) > 1:
        first = next((w for w in words if w.lower() not in FILLERS), "")
        named = [tool for tool in tools if _is_of(first, tool.name)]
        if phrase in SAID and not named:  # `why is it slow?` is a question
            return Unclear(UNKNOWN, near=False)
        tools = named if len(named) == 1 else tools
    read = [_read(tool, words, tenant) for tool in tools]
    fit = [one for one in read if isinstance(one, Command)]
    whole = [one for one in fit if not one.missing]
    for only in (read, whole, fit):
        if len(only) == 1:
            return only[0]
    tools = [one.tool for one in whole or fit] or tools
    instead = tuple(" ".join([_phrase(tool.name), *map(_quoted, words)]) for tool in tools[:5])
    return Unclear(f"`{phrase}` may mean several things. Which one?", instead)


def _is_of(word: str, name: str) -> bool:
    noun = name.rpartition("_")[0]
    prefix, dash, _ = word.lower().partition("-")
    if dash and len(prefix) >= 3:
        return noun.startswith(prefix)
    return noun == "call" and bool(CALL_ID.fullmatch(word.lower()))


@dataclass
class _Reading:
    """A tool's arguments, filled word by word."""

    tool: ToolInfo
    arguments: dict[str, Any] = field(default_factory=dict)

    def put(self, name: str, word: str) -> None:
        self.arguments[name] = coerced(self.tool, name, word)

    def free(self) -> Iterator[str]:
        """What the next word without a name may be, in order."""
        needed = required(self.tool)
        places = [name for name in needed if name != "tenant"]
        known = properties(self.tool)
        places += [name for name in PLACED if name in known and name not in places]
        return (name for name in places if name not in self.arguments)

    def value(self) -> str | None:
        """What `to 5` sets: a number before anything else."""
        names = [n for n in properties(self.tool) if n not in (*PLACED, *self.arguments)]
        needed = [n for n in required(self.tool) if n in names]
        numbers = [n for n in needed if kind_of(self.tool, n) in ("integer", "number")]
        return next(iter((*numbers, *needed)), None)


def _read(tool: ToolInfo, words: Sequence[str], tenant: str) -> Command | Unclear:
    try:
        arguments = _filled(tool, list(words))
    except Misfit as error:
        return Unclear(f"{error} It is said as `{sentence(tool)}`.")
    known = properties(tool)
    if tenant and "tenant" in known and "tenant" not in arguments:
        arguments["tenant"] = tenant
    missing = tuple(name for name in required(tool) if name not in arguments)
    return Command(tool, {n: arguments[n] for n in known if n in arguments}, missing)


def _filled(tool: ToolInfo, words: list[str]) -> dict[str, Any]:
    known, reading, last = properties(tool), _Reading(tool), ""
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        low = word.lower()
        if equals and re.fullmatch(r"[a-z_]+", name):
            if name not in known:
                raise Misfit(f"`{name}` is nothing that this takes{_like(name, known)}.")
            reading.put(name, value)
        elif low in ("in", "for") and words and "tenant" in known:
            reading.put("tenant", words.pop(0))
        elif low == "to" and words and (name := reading.value() or ""):
            reading.put(name, words.pop(0))
        elif low == "because" and words and "reason" in known:
            reading.arguments["reason"] = " ".join(words)
            words = []
        elif known.get(low, {}).get("type") == "boolean":
            reading.arguments[low] = True
        elif low in FILLERS:
            continue
        elif name := next(reading.free(), ""):
            reading.put(name, word)
            last = name
        elif _is_prose(known.get(last, {})):
            reading.arguments[last] += f" {word}"
        elif name := _enumerated(tool, word, reading.arguments):
            reading.put(name, word)
        else:
            raise Misfit(f"I do not know what `{word}` is here.")
    return reading.arguments


def _is_prose(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "string" and schema.get("maxLength", 0) >= 200


def _enumerated(tool: ToolInfo, word: str, arguments: Mapping[str, Any]) -> str:
    fits = [n for n in properties(tool) if n not in arguments and word in _options(tool, n)]
    return fits[0] if len(fits) == 1 else ""


def _like(word: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(word, list(known), 1, 0.6)
    return f"; did you mean `{close[0]}`" if close else ""


def _nearest(words: list[str], phrases: Mapping[str, Any]) -> Unclear:
    """What may have been meant: the beginning of the sentence, put right."""
    instead: list[str] = []
    for count in range(min(2, len(words)), 0, -1):
        said = " ".join(words[:count]).lower()
        known = [phrase for phrase in phrases if phrase.count(" ") == count - 1]
        for close in get_close_matches(said, known, 2, 0.7 if len(words) < 4 else 0.8):
            instead.append(" ".join([close, *map(_quoted, words[count:])]))
    if instead:
        return Unclear(f"I do not know `{words[0]}`.", tuple(dict.fromkeys(instead))[:3])
    return Unclear(UNKNOWN, near=False)


def _quoted(word: str) -> str:
    return f'"{word}"' if " " in word else word
