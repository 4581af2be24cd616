"""A small part of CEL, as much as mutating policies that place pods are written in.

Literals, lists, maps and objects (`Object.spec{...}`, `JSONPatch{...}`), fields and indexes, `has`,
`exists`, `all`, `size`, `startsWith`, `jsonpatch.escapeKey`, comparisons, `in`, `+`, logic and
conditions.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

Variables = Mapping[str, Any]
Evaluate = Callable[[Variables], Any]
TOKENS = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<number>\d+(?:\.\d+)?)"""
    r"""|(?P<name>[A-Za-z_]\w*)|(?P<sign>&&|\|\||==|!=|<=|>=|[-+!?:.,(){}\[\]<>]))"""
)
WORDS = {"true": True, "false": False, "null": None}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    ">": lambda a, b: bool(a > b),
    "<=": lambda a, b: bool(a <= b),
    ">=": lambda a, b: bool(a >= b),
    "in": lambda a, b: a in b,
}


class NotUnderstood(Exception):
    """The expression uses more of the language than this."""


class EvaluationError(Exception):
    """The expression is understood, and has no value here."""


def evaluate(expression: str, variables: Variables) -> Any:
    """The value of an expression."""
    try:
        return compiled(expression)(variables)
    except (TypeError, AttributeError) as wrong:
        raise EvaluationError(f"no such overload: {wrong}") from wrong


@functools.lru_cache(maxsize=256)
def compiled(expression: str) -> Evaluate:
    """The expression ready to be evaluated."""
    parser = _Parser(_tokens(expression))
    found = parser.condition()
    if parser.peek():
        raise NotUnderstood(f"unexpected {parser.peek()!r}")
    return found


def _tokens(text: str) -> list[str]:
    tokens = []
    at, text = 0, text.strip()
    while at < len(text):
        match = TOKENS.match(text, at)
        if not match or match.lastgroup is None:
            raise NotUnderstood(text[at : at + 20])
        tokens.append(match[match.lastgroup])
        at = match.end()
    return tokens


class _Parser:
    """Each method reads one kind of expression and gives what evaluates it."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def take(self, *wanted: str) -> str:
        token = self.peek()
        if not token or (wanted and token not in wanted):
            raise NotUnderstood(f"{' or '.join(wanted) or 'more'} expected, not {token!r}")
        self._at += 1
        return token

    def condition(self) -> Evaluate:
        test = self.either()
        if self.peek() != "?":
            return test
        self.take("?")
        yes = self.condition()
        self.take(":")
        no = self.condition()
        return lambda known: yes(known) if test(known) else no(known)

    def either(self) -> Evaluate:
        left = self.both()
        while self.peek() == "||":
            self.take()
            left = _or(left, self.both())
        return left

    def both(self) -> Evaluate:
        left = self.comparison()
        while self.peek() == "&&":
            self.take()
            left = _and(left, self.comparison())
        return left

    def comparison(self) -> Evaluate:
        left = self.sum()
        if self.peek() not in COMPARISONS:
            return left
        compare, right = COMPARISONS[self.take()], self.sum()
        return lambda known: compare(left(known), right(known))

    def sum(self) -> Evaluate:
        left = self.unary()
        while self.peek() == "+":
            self.take()
            left = _plus(left, self.unary())
        return left

    def unary(self) -> Evaluate:
        if self.peek() == "!":
            self.take()
            inner = self.unary()
            return lambda known: not inner(known)
        if self.peek() == "-":
            self.take()
            inner = self.unary()
            return lambda known: -inner(known)
        return self.postfix(self.primary())

    def postfix(self, value: Evaluate) -> Evaluate:
        while self.peek() in (".", "["):
            if self.take() == "[":
                index = self.condition()
                self.take("]")
                value = _item(value, index)
                continue
            name = self.take()
            value = self.method(value, name) if self.peek() == "(" else _field(value, name)
        return value

    def method(self, value: Evaluate, name: str) -> Evaluate:
        self.take("(")
        if name in ("exists", "all"):
            variable = self.take()
            self.take(",")
            test = self.condition()
            self.take(")")
            return _over_items(value, variable, test, any if name == "exists" else all)
        arguments = self.listed(")")
        if name == "startsWith" and len(arguments) == 1:
            return lambda known: value(known).startswith(arguments[0](known))
        if name == "size" and not arguments:
            return lambda known: len(value(known))
        raise NotUnderstood(name)

    def primary(self) -> Evaluate:
        word = self.take()
        if word == "(":
            inner = self.condition()
            self.take(")")
            return inner
        if word == "[":
            items = self.listed("]")
            return lambda known: [item(known) for item in items]
        if word == "{":
            return self.entries()
        if word[0] in "\"'":
            text = re.sub(r"\\(.)", r"\1", word[1:-1])
            return lambda known: text
        if word[0].isdigit():
            number = float(word) if "." in word else int(word)
            return lambda known: number
        if word in WORDS:
            return lambda known: WORDS[word]
        return self.named(word)

    def named(self, name: str) -> Evaluate:
        if name == "has":
            self.take("(")
            inner = self.postfix(self.primary())
            self.take(")")
            return _has(inner)
        if name == "size" and self.peek() == "(":
            self.take("(")
            (inner,) = self.listed(")")
            return lambda known: len(inner(known))
        if name == "jsonpatch":
            for word in (".", "escapeKey", "("):
                self.take(word)
            (inner,) = self.listed(")")
            return lambda known: inner(known).replace("~", "~0").replace("/", "~1")
        if name in ("Object", "JSONPatch"):
            while self.peek() == ".":
                self.take()
                self.take()
            self.take("{")
            return self.entries(fields=True)
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise NotUnderstood(name)
        return _variable(name)

    def listed(self, end: str) -> list[Evaluate]:
        found = []
        while self.peek() != end:
            found.append(self.condition())
            if self.peek() != end:
                self.take(",")
        self.take(end)
        return found

    def entries(self, fields: bool = False) -> Evaluate:
        pairs: list[tuple[Evaluate, Evaluate]] = []
        while self.peek() != "}":
            key = _constant(self.take()) if fields else self.condition()
            self.take(":")
            pairs.append((key, self.condition()))
            if self.peek() != "}":
                self.take(",")
        self.take("}")
        return lambda known: {key(known): value(known) for key, value in pairs}


def _constant(value: str) -> Evaluate:
    return lambda known: value


def _variable(name: str) -> Evaluate:
    def value(known: Variables) -> Any:
        if name not in known:
            raise NotUnderstood(name)
        return known[name]

    return value


def _field(value: Evaluate, name: str) -> Evaluate:
    def found(known: Variables) -> Any:
        inside = value(known)
        if not isinstance(inside, dict) or name not in inside:
            raise EvaluationError(f"no such key: {name}")
        return inside[name]

    found.parts = value, name  # type: ignore[attr-defined]
    return found


def _has(field: Evaluate) -> Evaluate:
    if not hasattr(field, "parts"):
        raise NotUnderstood("has of what is no field")
    value, name = field.parts

    def present(known: Variables) -> bool:
        inside = value(known)
        return isinstance(inside, dict) and name in inside

    return present


def _item(value: Evaluate, index: Evaluate) -> Evaluate:
    def found(known: Variables) -> Any:
        try:
            return value(known)[index(known)]
        except (KeyError, IndexError) as wrong:
            raise EvaluationError(f"no such key: {index(known)}") from wrong

    return found


def _over_items(
    value: Evaluate, variable: str, test: Evaluate, how: Callable[[Any], bool]
) -> Evaluate:
    return lambda known: how(test({**known, variable: item}) for item in value(known))


def _or(left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda known: left(known) or right(known)


def _and(left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda known: left(known) and right(known)


def _plus(left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda known: left(known) + right(known)
