"""Settings: where they come from, and that none is unknown or undocumented."""

from pathlib import Path

import pytest

from server import settings
from server.settings_page import page
from tools.errors import Code, ToolError


@pytest.fixture(autouse=True)
def _empty_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_an_option_wins_over_a_variable_over_the_file_over_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "pilothouse.toml", 'port = 1\nhost = "127.0.0.2"\ncontext = "file"\n')
    monkeypatch.setenv("PILOTHOUSE_PORT", "2")
    monkeypatch.setenv("PILOTHOUSE_CONTEXT", "variable")
    loaded = settings.load(port=3)
    assert (loaded.port, loaded.context, loaded.host) == (3, "variable", "127.0.0.2")
    assert loaded.limits.wait_s == 25


def test_a_table_may_come_half_from_the_file_and_half_from_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "pilothouse.toml", "[limits]\nwait_s = 3\nread_s = 4\n")
    monkeypatch.setenv("PILOTHOUSE_LIMITS__READ_S", "5")
    loaded = settings.load()
    assert (loaded.limits.wait_s, loaded.limits.read_s, loaded.limits.plan_s) == (3, 5, 60)


def test_the_file_is_found_in_the_state_directory_or_where_config_says(tmp_path: Path) -> None:
    write(tmp_path / "state" / "pilothouse.toml", "port = 1\n")
    named = write(tmp_path / "named.toml", "port = 2\n")
    assert settings.load(state=tmp_path / "state").port == 1
    assert settings.load(state=tmp_path / "state", config=named).port == 2


def test_more_clusters_and_tiers_stand_beside_the_default_ones(tmp_path: Path) -> None:
    write(
        tmp_path / "pilothouse.toml",
        '[clusters.berlin]\nkubeconfig = "b"\n'
        '[tiers.tiny]\nquota = {pods = "1"}\ndefault = {}\ndefault_request = {}\nmax = {}\n',
    )
    loaded = settings.load(kubeconfig="a")
    assert {n: c.kubeconfig for n, c in loaded.all_clusters.items()} == {
        "default": "a",
        "berlin": "b",
    }
    assert set(loaded.all_tiers.tiers) == {"free", "pro", "enterprise", "tiny"}


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PILOTHOUSE_ALLOWED_HOSTS", "a.example, b.example")
    loaded = settings.load(toolsets="tenants,jobs")
    assert loaded.toolsets == ["tenants", "jobs"]
    assert loaded.allowed_hosts == ["a.example", "b.example"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prot = 1", "there is no setting prot; did you mean port?"),
        ("[limits]\nwait = 1", "there is no setting limits.wait; did you mean wait_s?"),
        ("[clusters.a]\nkubeconf = ''", "no setting clusters.a.kubeconf; did you mean kubeconfig?"),
        ("port = 70000", "port: Input should be less than or equal to 65535"),
        ("port =", "cannot be read"),
        ("[clusters.default]\ncontext = 'x'", "is the cluster of"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    write(tmp_path / "pilothouse.toml", text)
    with pytest.raises(ToolError) as caught:
        settings.load()
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert says in caught.value.message


def test_an_unknown_variable_is_refused_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PILOTHOUSE_READONLY", "1")
    with pytest.raises(ToolError, match="did you mean PILOTHOUSE_READ_ONLY"):
        settings.load()


def test_what_kubernetes_says_of_a_service_called_pilothouse_is_no_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PILOTHOUSE_PORT", "tcp://10.0.0.1:8000")
    monkeypatch.setenv("PILOTHOUSE_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("PILOTHOUSE_PORT_8000_TCP_ADDR", "10.0.0.1")
    assert settings.load().port == 8000


def test_a_config_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="no settings file"):
        settings.load(config=tmp_path / "none.toml")


def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    write(tmp_path / "pilothouse.toml", "[webhook]\nsecret = 'hush'\n")
    assert "hush" not in repr(settings.load())


def test_every_setting_is_documented() -> None:
    documented = Path(__file__, "../../../docs/settings.md").resolve().read_text()
    assert documented == page(), "run: python -m server.settings_page > docs/settings.md"
