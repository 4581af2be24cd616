"""What Pilothouse is made of: exactly the versions that were looked at, each with its hashes. Which
of them somebody has since found a hole in, only an audit that is online can say (pip-audit)."""

import ast
import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PINNED = re.compile(r"([A-Za-z0-9._-]+)==([^ ;\\]+)( ;[^\\]*)?")
# What runs code that was sent, or opens whatever it is told to.
NEVER = {"pickle", "cPickle", "marshal", "shelve", "dill", "jsonpickle", "telnetlib", "ftplib"}
NEVER_CALLED = {"eval", "exec", "compile", "__import__", "urlopen", "urlretrieve", "from_string"}
OURS = [
    f for part in ("server", "tools", "chatops", "recommender") for f in (ROOT / part).rglob("*.py")
]


def pins() -> dict[str, list[str]]:
    """Each requirement with its hashes."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        words = line.strip().removesuffix("\\").strip()
        if words.startswith("--hash="):
            found[name].append(words.removeprefix("--hash="))
        elif words:
            name = words
            found[name] = []
    return found


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_requirement_is_pinned_with_hashes_and_no_address() -> None:
    for requirement, hashes in pins().items():
        assert PINNED.fullmatch(requirement), requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), requirement
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text
    options = [line for line in text.splitlines() if line.startswith("-")]
    assert not options, "where it is got from is for whoever installs it to say"


def test_what_is_declared_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = list(project["dependencies"])
    for more in project["optional-dependencies"].values():
        asked += more
    names = {plain(re.match(r"[A-Za-z0-9._-]+", one)[0]) for one in asked}  # type: ignore[index]
    # `changes` is for who wants it, and is not installed here.
    pinned = {plain(PINNED.match(one)[1]) for one in pins()}  # type: ignore[index]
    assert names - pinned <= {"pilothouse", "ruptures"}


def test_what_is_installed_is_what_was_pinned() -> None:
    wanted: dict[str, set[str]] = {}
    for requirement in pins():
        found = PINNED.match(requirement)
        assert found
        wanted.setdefault(plain(found[1]), set()).add(found[2])
    here = {plain(one.metadata["Name"]): one.version for one in distributions()}
    if not here.keys() & {"pilothouse"}:
        pytest.skip("not installed as `make` installs it")
    other = {n: v for n, v in here.items() if n in wanted and v not in wanted[n]}
    assert not other


@pytest.mark.parametrize("file", OURS, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_that_was_sent_is_run_or_opened(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
            assert not names & NEVER, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in NEVER, node.lineno
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            owner = getattr(getattr(node.func, "value", None), "id", "")
            if name == "compile" and owner == "re":
                continue
            assert name not in NEVER_CALLED, (node.lineno, name)
            shell = [k for k in node.keywords if k.arg == "shell"]
            assert not shell, (node.lineno, "shell")
