"""`name=value` on the command line, read as the tool's schema would have it."""

from pathlib import Path
from typing import Any

import pytest

from server.commands.arguments import parse
from tools.errors import Code, ToolError

SCHEMA: dict[str, Any] = {
    "properties": {
        "name": {"type": "string"},
        "replicas": {"type": "integer"},
        "cpu": {"type": "number"},
        "wait": {"type": "boolean"},
        "command": {"type": "array", "items": {"type": "string"}},
        "env": {"type": "object"},
        "since": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        "manifest": {"$ref": "#/$defs/Manifest"},
    },
    "$defs": {"Manifest": {"type": "object"}},
}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("name=007", "007"),
        ("name=", ""),
        ("name=a=b", "a=b"),
        ("replicas=3", 3),
        ("replicas=three", "three"),
        ("cpu=0.5", 0.5),
        ("wait=yes", True),
        ("wait=false", False),
        ("wait=maybe", "maybe"),
        ("command=ls", ["ls"]),
        ('command=["echo", "a b"]', ["echo", "a b"]),
        ('command:=["echo"]', ["echo"]),
        ('env={"A": "1"}', {"A": "1"}),
        ("name:=null", None),
    ],
)
def test_a_value_is_read_by_its_type(word: str, value: Any) -> None:
    assert list(parse([word], SCHEMA).values()) == [value]


def test_a_list_grows_with_each_word() -> None:
    assert parse(["command=echo", "command=a b"], SCHEMA) == {"command": ["echo", "a b"]}


def test_a_file_is_text_or_a_manifest_as_the_argument_is(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("kind: Pod\nspec: {}\n")
    found = parse([f"manifest=@{tmp_path}/m.yaml", f"name=@{tmp_path}/m.yaml"], SCHEMA)
    assert found == {"manifest": {"kind": "Pod", "spec": {}}, "name": "kind: Pod\nspec: {}\n"}


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("name", "is no argument"),
        ("=x", "is no argument"),
        ("replica=3", "did you mean replicas?"),
        ("env:={", "is to be JSON"),
        ("env={", "is to be JSON"),
        ("manifest=@/none", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said_with_how_to_write_it(word: str, says: str) -> None:
    with pytest.raises(ToolError) as caught:
        parse([word], SCHEMA)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert says in str(caught.value)
    assert caught.value.hint
