"""Runs a parsed script: a handful of harmless programs, and nothing on the host."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime

from .programs import PROGRAMS, evaluate, integer
from .script import Choice, Loop, Node, Sequence, Simple, closing, parse

Sleep = Callable[[float], Awaitable[object]]
Now = Callable[[], datetime]
STEPS_AT_ONCE = 20_000
DEEPEST = 20
LONGEST_VALUE = 64 * 1024
NAME = re.compile(r"[A-Za-z_]\w*")
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
PRETENDED = "practice cluster: only pretending to run: {}"


class Exit(Exception):
    """The script ends with a code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _Leave(Exception):
    """`break` or `continue`."""

    def __init__(self, again: bool) -> None:
        super().__init__(again)
        self.again = again


class Shell:
    """One running script: its variables, and the code of its last command."""

    def __init__(
        self,
        env: Mapping[str, str],
        sleep: Sleep,
        now: Now,
        arguments: tuple[str, ...] = (),
        depth: int = 0,
    ) -> None:
        self.variables = dict(env)
        self.exported = set(env)
        self.status = 0
        self.strict = False
        self._sleep = sleep
        self._now = now
        self._arguments = arguments
        self._depth = depth
        self._steps = 0

    async def script(self, text: str) -> AsyncIterator[str]:
        """Run a script and give what it writes, piece by piece."""
        async for piece in self._node(parse(text)):
            yield piece

    async def _count(self) -> None:
        self._steps += 1
        if self._steps > STEPS_AT_ONCE:
            raise Exit(137)
        if self._steps % 200 == 0:
            await self._sleep(0)

    async def _node(self, node: Node, tested: bool = False) -> AsyncIterator[str]:
        await self._count()
        match node:
            case Simple():
                pieces = self._simple(node)
            case Loop():
                pieces = self._loop(node)
            case Choice():
                pieces = self._choice(node)
            case Sequence():
                pieces = self._sequence(node, tested)
        async for piece in pieces:
            yield piece
        if self.strict and self.status and isinstance(node, Simple) and not tested:
            raise Exit(self.status)

    async def _sequence(self, node: Sequence, tested: bool) -> AsyncIterator[str]:
        for index, (joint, step) in enumerate(node.steps):
            if (joint == "&&" and self.status) or (joint == "||" and not self.status):
                continue
            following = node.steps[index + 1][0] if index + 1 < len(node.steps) else ""
            async for piece in self._node(step, tested or following in ("&&", "||")):
                # What is piped on is swallowed by what comes next.
                if following != "|":
                    yield piece

    async def _loop(self, node: Loop) -> AsyncIterator[str]:
        values: list[str] | None = None
        if node.condition is None:
            values = [value for word in node.words for value in await self._expand(word)]
        while True:
            await self._count()
            if values is not None:
                if not values:
                    return
                self.variables[node.variable] = values.pop(0)
            else:
                assert node.condition is not None
                async for piece in self._node(node.condition, tested=True):
                    yield piece
                if bool(self.status) is not node.until:
                    self.status = 0
                    return
            try:
                async for piece in self._node(node.body):
                    yield piece
            except _Leave as leave:
                if not leave.again:
                    return

    async def _choice(self, node: Choice) -> AsyncIterator[str]:
        for condition, body in node.branches:
            if condition is not None:
                async for piece in self._node(condition, tested=True):
                    yield piece
                if self.status:
                    continue
            async for piece in self._node(body):
                yield piece
            return
        self.status = 0

    async def _simple(self, node: Simple) -> AsyncIterator[str]:
        words = list(node.words)
        negated = words[:1] == ["!"]
        words = words[negated:]
        while words and (match := ASSIGNMENT.fullmatch(words[0])):
            value = " ".join(await self._expand(match[2], split=False))
            self.variables[match[1]] = value[:LONGEST_VALUE]
            words.pop(0)
            self.status = 0
        argv = [value for word in words for value in await self._expand(word)]
        if argv:
            async for piece in self.program(argv):
                if not node.quiet:
                    yield piece
        if negated:
            self.status = int(not self.status)

    async def program(self, argv: list[str]) -> AsyncIterator[str]:
        """Run one program; an unknown one is only named."""
        name, rest = argv[0].rpartition("/")[2], argv[1:]
        self.status = 0
        match name:
            case "sleep":
                await self._pause(rest)
            case "exit" | "return":
                raise Exit(integer(rest[0]) & 255 if rest else self.status)
            case "break" | "continue":
                raise _Leave(name == "continue")
            case "exec" | "command" | "time" | "nohup":
                if rest:
                    async for piece in self.program(rest):
                        yield piece
            case "sh" | "bash" | "ash" | "dash":
                async for piece in self._nested(rest):
                    yield piece
            case _ if name in PROGRAMS:
                written, self.status = PROGRAMS[name](self, rest)
                yield written
            case _:
                yield PRETENDED.format(" ".join(argv)) + "\n"

    async def _pause(self, words: list[str]) -> None:
        seconds = 0.0
        for word in words:
            match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", word)
            if match:
                seconds += float(match[1]) * UNITS[match[2]]
        await self._sleep(seconds or float("inf") * ("infinity" in words or 0) or 0.0)
        if seconds >= 0.01:
            self._steps = 0

    async def _nested(self, words: list[str]) -> AsyncIterator[str]:
        text, arguments, strict = script_of(words)
        if text is None or self._depth >= DEEPEST:
            return
        env = {key: value for key, value in self.variables.items() if key in self.exported}
        inner = Shell(env, self._sleep, self._now, arguments, self._depth + 1)
        inner.strict = strict
        try:
            async for piece in inner.script(text):
                yield piece
            self.status = inner.status
        except Exit as ended:
            self.status = ended.code

    async def _expand(self, word: str, split: bool = True) -> list[str]:
        """The words that a word stands for, once variables and commands in it are replaced."""
        words, current, started = [], "", False
        at, quoted = 0, False
        while at < len(word):
            char = word[at]
            if char == "'" and not quoted:
                end = word.index("'", at + 1)
                current, started, at = current + word[at + 1 : end], True, end + 1
            elif char == '"':
                quoted, started, at = not quoted, True, at + 1
            elif char == "\\" and at + 1 < len(word):
                keep = quoted and word[at + 1] not in '"\\$`\n'
                current += char * keep + word[at + 1]
                at += 2
            elif char in "$`":
                value, at = await self._substitute(word, at)
                if quoted or not split:
                    current += value
                    continue
                pieces = value.split()
                if value[:1].isspace() and (current or started):
                    words.append(current)
                    current = ""
                for index, piece in enumerate(pieces):
                    if index:
                        words.append(current)
                        current = ""
                    current += piece
            else:
                current, at = current + char, at + 1
        if current or started or not split:
            words.append(current)
        return words

    async def _substitute(self, word: str, at: int) -> tuple[str, int]:
        if word[at] == "`":
            end = word.index("`", at + 1)
            return await self._output(word[at + 1 : end]), end + 1
        if word.startswith("$((", at):
            end = closing(word, at + 1)
            return str(self._arithmetic(word[at + 3 : end - 1])), end + 1
        if word.startswith("$(", at):
            end = closing(word, at + 1)
            return await self._output(word[at + 2 : end]), end + 1
        if word.startswith("${", at):
            end = word.index("}", at)
            name, _, fallback = word[at + 2 : end].partition(":-")
            return self._value(name) or fallback, end + 1
        match = re.match(r"\$([A-Za-z_]\w*|[0-9?#@*$!])", word[at:])
        if not match:
            return "$", at + 1
        return self._value(match[1]), at + match.end()

    def _value(self, name: str) -> str:
        if name.isdigit():
            return self._arguments[int(name)] if int(name) < len(self._arguments) else ""
        special = {
            "?": str(self.status),
            "#": str(max(0, len(self._arguments) - 1)),
            "$": "1",
            "@": " ".join(self._arguments[1:]),
            "*": " ".join(self._arguments[1:]),
        }
        return special.get(name, self.variables.get(name, ""))

    async def _output(self, text: str) -> str:
        if self._depth >= DEEPEST:
            raise Exit(2)
        inner = Shell(self.variables, self._sleep, self._now, self._arguments, self._depth + 1)
        written = ""
        try:
            async for piece in inner.script(text):
                written = (written + piece)[:LONGEST_VALUE]
            self.status = inner.status
        except Exit as ended:
            self.status = ended.code
        return written.rstrip("\n")

    def _arithmetic(self, text: str) -> int:
        filled = re.sub(
            r"\$?\{?([A-Za-z_]\w*)\}?", lambda m: str(integer(self.variables.get(m[1], "0"))), text
        )
        try:
            return evaluate(filled)
        except ArithmeticError:
            raise Exit(2) from None

    def clock(self) -> datetime:
        """The time, for `date`."""
        return self._now()


def script_of(words: list[str]) -> tuple[str | None, tuple[str, ...], bool]:
    """The script of `sh -c`, its arguments, and whether it stops at the first failure."""
    strict = False
    for index, word in enumerate(words):
        if not word.startswith("-"):
            return None, (), strict
        strict = strict or "e" in word[1:]
        if "c" in word[1:] and not word.startswith("--"):
            rest = words[index + 1 :]
            if rest[:1] == ["--"]:
                rest = rest[1:]
            return (rest[0] if rest else ""), tuple(rest[1:]) or ("sh",), strict
    return None, (), strict
