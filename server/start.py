"""Where the command begins. A client that starts `pilothouse mcp` waits for it, so that one command
is read here when it is plain; the command line's library alone takes a tenth of a second."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

NAMES = (
    "state",
    "kubeconfig",
    "context",
    "config",
    "token",
    "url",
    "toolsets",
    "policy",
    "prometheus",
)
FLAGS = ("read_only",)


# The four folders are import packages of their own, and so are others' of those names.
OURS = ("server", "chatops", "tools", "recommender")


def shadowed(names: tuple[str, ...] = OURS) -> str:
    """What is wrong where another package is imported in the place of one of ours, else nothing."""
    from importlib.util import find_spec

    home = Path(__file__).resolve().parents[1]
    for name in names:
        found = find_spec(name)
        where = Path(found.origin).resolve() if found and found.origin else None
        if where is None or where.parents[1] != home:
            return (
                f"The package `{name}` of Pilothouse is hidden by {where or 'nothing'}. Install "
                "Pilothouse in an environment of its own (pipx, `uv tool install`), and start it "
                "from a directory without a folder of that name."
            )
    return ""


def main() -> None:
    if wrong := shadowed():
        print(wrong, file=sys.stderr)
        sys.exit(1)
    arguments = sys.argv[1:]
    options = plain(arguments[1:]) if arguments[:1] == ["mcp"] else None
    if options is None:
        from server import cli

        cli.main()
    else:
        from server.commands import running, serving

        running.run(serving.mcp(**options))


def plain(arguments: Sequence[str]) -> dict[str, Any] | None:
    """The options of `pilothouse mcp`, or None where the command line has something to say."""
    options: dict[str, Any] = dict.fromkeys((*NAMES, *FLAGS))
    rest = list(arguments)
    while rest:
        word, given, value = rest.pop(0).partition("=")
        name = word.removeprefix("--").replace("-", "_")
        if not word.startswith("--") or options.get(name, "") is not None:
            return None
        if name in FLAGS and not given:
            options[name] = True
        elif name in NAMES and (given or rest):
            options[name] = value if given else rest.pop(0)
        else:
            return None
    return options


if __name__ == "__main__":
    main()
