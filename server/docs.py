"""What is made from the code: pages, and the tools as they are listed. `--check` says what is out
of date."""

import sys
from collections.abc import Iterator
from pathlib import Path

from server.doors import mcp_tools
from server.settings_page import page
from tools.tool import Tool, catalog

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- tools: made by `make docs` -->", "<!-- end of tools -->"


def tools_table() -> Iterator[str]:
    yield "| tool | what it does | needs | effect |"
    yield "|---|---|---|---|"
    for tool in catalog().values():
        summary = tool.description.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        yield f"| `{tool.name}` | {summary} | {tool.role.value} | {_effect(tool)} |"


def _effect(tool: Tool) -> str:
    said = tool.effect.value
    if tool.destructive:
        said += ", destructive"
    if tool.people_only:
        said += ", people only"
    return said


def pages() -> dict[Path, str]:
    """Each page that is made, whole, by its path."""
    readme = ROOT / "README.md"
    text = readme.read_text()
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    table = "\n".join(tools_table())
    return {
        readme: f"{before}{BEGIN}\n{table}\n{END}{after}",
        ROOT / "docs" / "settings.md": page(),
        mcp_tools.FILE: mcp_tools.made(),
    }


def main() -> int:
    stale = [
        path for path, text in pages().items() if not path.exists() or path.read_text() != text
    ]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is out of date: make docs")
        return bool(stale)
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
