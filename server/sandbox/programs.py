"""The programs that practice containers know; each gives what it writes and its exit code."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

MOST_NUMBERS = 20_000
LONGEST_VALUE = 64 * 1024


class Running(Protocol):
    """What a program may see and change of the shell that runs it."""

    variables: dict[str, str]
    exported: set[str]
    strict: bool

    def clock(self) -> datetime:
        """The time."""


def integer(text: str) -> int:
    """The number that a word is, or 0."""
    try:
        return int(text)
    except ValueError:
        return 0


def _echo(shell: Running, words: list[str]) -> tuple[str, int]:
    ending = "\n"
    while words and re.fullmatch(r"-[neE]+", words[0]):
        ending = "" if "n" in words[0] else ending
        escapes = "e" in words[0]
        words = words[1:]
        if escapes:
            words = [_unescaped(word) for word in words]
    return " ".join(words) + ending, 0


def _unescaped(text: str) -> str:
    known = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "a": "", "b": "", "0": ""}
    return re.sub(r"\\(.)", lambda m: known.get(m[1], m[0]), text)


def _printf(shell: Running, words: list[str]) -> tuple[str, int]:
    if not words:
        return "", 2
    form, rest, written = _unescaped(words[0]), words[1:], ""
    while True:
        before = len(rest)

        def value(match: re.Match[str]) -> str:
            if match[0] == "%%":
                return "%"
            word = rest.pop(0) if rest else ""
            sort = match[2]
            try:
                if sort in "di":
                    return f"%{match[1]}d" % integer(word)
                return f"%{match[1]}s" % (_unescaped(word) if sort == "b" else word)
            except (ValueError, MemoryError):
                return word

        written += re.sub(r"%(-?0?\d{0,3}(?:\.\d{1,3})?)([sdib])|%%", value, form)
        if not rest or len(rest) == before or len(written) > LONGEST_VALUE:
            return written, 0


def _env(shell: Running, words: list[str]) -> tuple[str, int]:
    names = sorted(shell.exported & set(shell.variables))
    return "".join(f"{name}={shell.variables[name]}\n" for name in names), 0


def _printenv(shell: Running, words: list[str]) -> tuple[str, int]:
    if not words:
        return _env(shell, words)
    found = [shell.variables[word] for word in words if word in shell.variables]
    return "".join(f"{value}\n" for value in found), int(len(found) < len(words))


def _export(shell: Running, words: list[str]) -> tuple[str, int]:
    for word in words:
        name, assigned, value = word.partition("=")
        shell.exported.add(name)
        if assigned:
            shell.variables[name] = value
    return "", 0


def _date(shell: Running, words: list[str]) -> tuple[str, int]:
    forms = [word[1:] for word in words if word.startswith("+")]
    form = forms[0] if forms else "%a %b %d %H:%M:%S UTC %Y"
    form = form.replace("%s", str(int(shell.clock().timestamp()))).replace("%N", "000000000")
    return shell.clock().strftime(form) + "\n", 0


def _seq(shell: Running, words: list[str]) -> tuple[str, int]:
    numbers = [integer(word) for word in words]
    match numbers:
        case [last]:
            first, step = 1, 1
        case [first, last]:
            step = 1
        case [first, step, last]:
            step = step or 1
        case _:
            return "", 1
    found = range(first, last + (1 if step > 0 else -1), step)[:MOST_NUMBERS]
    return "".join(f"{number}\n" for number in found), 0


def _cat(shell: Running, words: list[str]) -> tuple[str, int]:
    missing = [word for word in words if not word.startswith("-")]
    text = "".join(f"cat: can't open '{word}': No such file or directory\n" for word in missing)
    return text, int(bool(missing))


def _test(shell: Running, words: list[str]) -> tuple[str, int]:
    words = [word for word in words if word != "]"]
    if words[:1] == ["!"]:
        return "", int(not _test(shell, words[1:])[1])
    match words:
        case [left, ("=" | "=="), right]:
            holds = left == right
        case [left, "!=", right]:
            holds = left != right
        case [left, ("-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge") as compare, right]:
            holds = getattr(operator, compare[1:])(integer(left), integer(right))
        case ["-z", word]:
            holds = not word
        case ["-n", word] | [word]:
            holds = bool(word)
        case _:
            holds = False
    return "", int(not holds)


def _nothing(shell: Running, words: list[str]) -> tuple[str, int]:
    return "", 0


def _failure(shell: Running, words: list[str]) -> tuple[str, int]:
    return "", 1


def _set(shell: Running, words: list[str]) -> tuple[str, int]:
    for word in words:
        if word.startswith(("-", "+")) and "e" in word:
            shell.strict = word.startswith("-")
    return "", 0


def _hostname(shell: Running, words: list[str]) -> tuple[str, int]:
    return shell.variables.get("HOSTNAME", "practice") + "\n", 0


Program = Callable[[Running, list[str]], tuple[str, int]]
PROGRAMS: dict[str, Program] = {
    "echo": _echo, "printf": _printf, "true": _nothing, ":": _nothing, "false": _failure,
    "env": _env, "printenv": _printenv, "export": _export, "date": _date, "seq": _seq,
    "cat": _cat, "test": _test, "[": _test, "set": _set, "trap": _nothing, "wait": _nothing,
    "cd": _nothing, "mkdir": _nothing, "touch": _nothing, "unset": _nothing,
    "hostname": _hostname, "sync": _nothing,
}  # fmt: skip


OPERATORS: dict[type[ast.AST], Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: lambda a, b: int(a / b), ast.Mod: operator.mod, ast.Lt: operator.lt,
    ast.Gt: operator.gt, ast.LtE: operator.le, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip


def evaluate(text: str) -> int:
    """The value of an arithmetic expression of numbers."""
    try:
        return _evaluate(ast.parse(text.strip() or "0", mode="eval").body)
    except (SyntaxError, KeyError) as wrong:
        raise ArithmeticError(text) from wrong


def _evaluate(node: ast.AST) -> int:
    match node:
        case ast.Constant(value=int() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand)
        case ast.BinOp(left=left, op=op, right=right):
            result = OPERATORS[type(op)](_evaluate(left), _evaluate(right))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            result = OPERATORS[type(op)](_evaluate(left), _evaluate(right))
        case _:
            raise KeyError(type(node))
    # Numbers of a shell have 64 bits.
    return (int(result) + 2**63) % 2**64 - 2**63
