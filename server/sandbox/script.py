"""Reads the little of the shell language that practice containers understand."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

SEPARATORS = {";", "\n", "&", "&&", "||", "|", "(", ")"}
ENDS = {"do", "done", "then", "elif", "else", "fi", "}", ")"}
LONGEST = 64 * 1024


class SyntaxTrouble(Exception):
    """The script uses more than is understood here."""


@dataclass(frozen=True)
class Simple:
    """A program and its words, with the variables set for it; words are expanded when it runs."""

    words: tuple[str, ...]
    quiet: bool = False


@dataclass(frozen=True)
class Loop:
    """`for`, or `while` and `until` with a condition."""

    body: Sequence
    variable: str = ""
    words: tuple[str, ...] = ()
    condition: Sequence | None = None
    until: bool = False


@dataclass(frozen=True)
class Choice:
    """`if` with its branches; the last may have no condition."""

    branches: tuple[tuple[Sequence | None, Sequence], ...]


@dataclass(frozen=True)
class Sequence:
    """Commands one after another, each with the operator before it."""

    steps: tuple[tuple[str, Node], ...] = field(default=())


Node = Simple | Loop | Choice | Sequence


def parse(script: str) -> Sequence:
    """The script as a tree."""
    if len(script) > LONGEST:
        raise SyntaxTrouble("the script is too long")
    parser = _Parser(_tokens(script))
    tree = parser.sequence(set())
    if parser.peek():
        raise SyntaxTrouble(f"unexpected {parser.peek()!r}")
    return tree


def _tokens(script: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    while at < len(script):
        if script[at] in " \t" or script.startswith("\\\n", at):
            at += 1 if script[at] in " \t" else 2
        elif script[at] == "#":
            at = (script.find("\n", at) + 1 or len(script) + 1) - 1
        elif script[at : at + 2] in ("&&", "||"):
            tokens.append(script[at : at + 2])
            at += 2
        elif match := re.match(r"\d?>>?(?:&\d|[ \t]*[^\s;&|<>]+)|&>[ \t]*[^\s;&|]+", script[at:]):
            tokens.append(f">{match[0]}")
            at += match.end()
        elif script[at] in ";&|()\n":
            tokens.append(script[at])
            at += 1
        elif script[at] == "<":
            raise SyntaxTrouble("input redirection")
        else:
            end = _word_end(script, at)
            tokens.append(script[at:end])
            at = end
    return tokens


def _word_end(script: str, at: int) -> int:
    while at < len(script) and script[at] not in " \t\n;&|()<>":
        at = _after(script, at)
    return at


def _after(script: str, at: int) -> int:
    """Behind one character of a word, or behind a quoted or substituted part."""
    if script[at] == "\\":
        return at + 2
    if script[at] == "'":
        return _find(script, "'", at + 1) + 1
    if script[at] == '"':
        at += 1
        while script[at : at + 1] != '"':
            if at >= len(script):
                raise SyntaxTrouble("a quote that does not end")
            at = at + 1 if script[at] == "'" else _after(script, at)
        return at + 1
    if script.startswith("$(", at):
        return closing(script, at + 1) + 1
    if script.startswith("${", at):
        return _find(script, "}", at) + 1
    if script[at] == "`":
        return _find(script, "`", at + 1) + 1
    return at + 1


def _find(script: str, what: str, at: int) -> int:
    found = script.find(what, at)
    if found < 0:
        raise SyntaxTrouble(f"no closing {what}")
    return found


def closing(text: str, at: int) -> int:
    """Where the parenthesis that opens at `at` closes."""
    depth = 0
    while at < len(text):
        if text[at] in "'\"`\\":
            at = _after(text, at)
            continue
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if not depth:
            return at
        at += 1
    raise SyntaxTrouble("a parenthesis that does not close")


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def next(self) -> str:
        token = self.peek()
        self._at += 1
        return token

    def expect(self, word: str) -> None:
        self.skip_lines()
        if self.next() != word:
            raise SyntaxTrouble(f"{word} expected")

    def skip_lines(self) -> None:
        while self.peek() in ("\n", ";") and self.peek():
            self._at += 1

    def sequence(self, ends: set[str]) -> Sequence:
        steps: list[tuple[str, Node]] = []
        operator = ";"
        while True:
            while self.peek() in ("\n", ";", "&") and self.peek():
                operator = ";"
                self._at += 1
            if not self.peek() or self.peek() in ends:
                return Sequence(tuple(steps))
            steps.append((operator, self.command()))
            operator = self.peek()
            if operator in ("&&", "||", "|"):
                self._at += 1
                self.skip_lines()
            elif operator and operator not in SEPARATORS and operator not in ends:
                raise SyntaxTrouble(f"unexpected {operator!r}")

    def command(self) -> Node:
        word = self.peek()
        match word:
            case "for":
                return self._for()
            case "while" | "until":
                self.next()
                condition = self.sequence({"do"})
                return Loop(self._block("do", "done"), condition=condition, until=word == "until")
            case "if":
                return self._if()
            case "{":
                return self._block("{", "}")
            case "(":
                return self._block("(", ")")
            case "case" | "function" | "select" | "[[":
                raise SyntaxTrouble(word)
        if word in ENDS:
            raise SyntaxTrouble(f"unexpected {word!r}")
        return self._simple()

    def _simple(self) -> Simple:
        words: list[str] = []
        quiet = False
        while self.peek() and self.peek() not in SEPARATORS:
            token = self.next()
            if token.startswith(">"):
                # Between the streams it makes no difference here; into a file, nothing is left.
                quiet = quiet or (not re.search(r"&\d$", token) and not token.startswith(">2"))
            else:
                words.append(token)
        if self.peek() == "(":
            raise SyntaxTrouble("a function")
        return Simple(tuple(words), quiet)

    def _for(self) -> Loop:
        self.next()
        variable = self.next()
        words: list[str] = []
        self.expect("in")
        while self.peek() and self.peek() not in (";", "\n"):
            words.append(self.next())
        return Loop(self._block("do", "done"), variable, tuple(words))

    def _block(self, start: str, end: str) -> Sequence:
        self.expect(start)
        body = self.sequence({end})
        self.expect(end)
        return body

    def _if(self) -> Choice:
        branches: list[tuple[Sequence | None, Sequence]] = []
        word = self.next()
        while word in ("if", "elif"):
            condition = self.sequence({"then"})
            self.expect("then")
            branches.append((condition, self.sequence({"elif", "else", "fi"})))
            word = self.next()
        if word == "else":
            branches.append((None, self.sequence({"fi"})))
            word = self.next()
        if word != "fi":
            raise SyntaxTrouble("fi expected")
        return Choice(tuple(branches))
