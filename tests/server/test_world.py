"""What a process works on, told from its settings and surroundings."""

from pathlib import Path

import pytest

from server import settings
from server.world import asked, aws_is_configured, must_match, world
from tools.errors import ToolError

CONFIG = """
current-context: one
clusters:
- {name: a, cluster: {server: "https://a"}}
- {name: b, cluster: {server: "https://b"}}
contexts:
- {name: one, context: {cluster: a}}
- {name: two, context: {cluster: b}}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (
        "KUBECONFIG",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_PROFILE",
        "AWS_ENDPOINT_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "config").write_text(CONFIG)
    return tmp_path


def test_a_cluster_is_known_by_its_server(home: Path) -> None:
    config = str(home / "config")
    assert world(settings.load(kubeconfig=config)) == {"cluster default": "https://a"}
    assert world(settings.load(kubeconfig=config, context="two")) == {
        "cluster default": "https://b"
    }
    more = {"second": {"kubeconfig": config, "context": "two"}}
    assert world(settings.load(clusters=more)) == {"cluster second": "https://b"}


def test_what_lies_in_the_home_directory_was_not_asked_for(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".kube").mkdir()
    (home / ".kube" / "config").write_text(CONFIG)
    assert world(settings.load()) == {"cluster default": "https://a"}
    assert asked(settings.load()) == {}
    monkeypatch.setenv("KUBECONFIG", str(home / "config"))
    assert asked(settings.load()) == {"cluster default": "https://a"}


@pytest.mark.parametrize("text", ["", "[]", "{", "contexts: 3", "current-context: none"])
def test_a_kubeconfig_that_is_no_good_names_no_cluster(home: Path, text: str) -> None:
    (home / "bad").write_text(text)
    assert world(settings.load(kubeconfig=str(home / "bad"))) == {}


def test_an_account_is_known_by_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not aws_is_configured(settings.load())
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:1")
    assert world(settings.load())["aws"] == "http://localhost:1 eu-west-1"
    with pytest.raises(ToolError, match="has nothing as aws"):
        must_match(asked(settings.load()), {}, 7)
