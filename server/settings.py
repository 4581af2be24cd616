"""Settings: an option of the command line, else a `PILOTHOUSE_…` variable, else `pilothouse.toml`,
else the default. server/settings_page.py makes docs/settings.md from what is declared here."""

import base64
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from server.settings_identity import Oidc, People, Tls
from server.settings_part import Part, words
from server.settings_slack import SlackConfig
from tools.errors import Code, ToolError
from tools.tiers import DEFAULT_TIERS, Isolation, Tier, Tiers

PREFIX = "PILOTHOUSE_"
FILE = "pilothouse.toml"
ENCODED = "whsec_"

# Read elsewhere: where the settings are, which server to talk to and as whom, and the tests'.
OTHER_VARIABLES = ("CONFIG", "TOKEN", "URL", "TEST_", "BENCH_")
# What Kubernetes puts into every container beside a Service that is called `pilothouse`.
SERVICE_LINKS = ("SERVICE_HOST", "SERVICE_PORT", "PORT_")


class ClusterConfig(Part):
    """One cluster and how it is reached."""

    kubeconfig: str = Field("", description="kubeconfig file; in-cluster if there is none")
    context: str = Field("", description="context in it; its current one if empty")
    oidc_provider: str = Field("", description="its OIDC issuer; `aws.oidc_provider` if empty")


class AwsConfig(Part):
    """The AWS account for tenants' roles and prefixes. Credentials are found as boto3 finds them
    (`AWS_PROFILE`, `AWS_ENDPOINT_URL`, …)."""

    region: str = Field("", description="region; `AWS_REGION` or the profile's if empty")
    bucket: str = Field("", description="bucket that holds a prefix for every tenant")
    trust: Literal["irsa", "pod-identity"] = Field(
        "irsa", description="how a tenant's ServiceAccount takes on its IAM role"
    )
    oidc_provider: str = Field(
        "", description="the cluster's OIDC issuer, as IAM has it, without `https://` (for `irsa`)"
    )
    boundary: str = Field("", description="ARN of the permissions boundary of tenants' roles")
    endpoint: str = Field("", description="another address of AWS; `AWS_ENDPOINT_URL` if empty")


class PrometheusConfig(Part):
    """The Prometheus that recommendations are made from, or another server that speaks its API."""

    url: str = Field("", description="its URL; no recommendations if empty")
    token: SecretStr = Field(SecretStr(""), description="bearer token")
    user: str = Field("", description="user name, for basic authentication")
    password: SecretStr = Field(SecretStr(""), description="password, for basic authentication")
    ca_file: str = Field("", description="CA certificates to trust instead of the system's")
    headers: dict[str, str] = Field({}, description="more headers, such as `X-Scope-OrgID`")
    matchers: str = Field("", description='label matchers for every selector (`cluster="eu"`)')
    names: dict[str, str] = Field({}, description="metrics that are called something else here")
    queries: dict[str, str] = Field({}, description="expressions instead of ours, or `requests`")
    timeout_s: float = Field(60, gt=0, le=600, description="seconds that one request may take")
    every_h: float = Field(6, ge=0, le=168, description="hours between analyses; 0: on demand only")


class Prices(Part):
    """What resources cost, to say what a suggestion saves."""

    cpu_core_hour: float = Field(0.0312, ge=0, description="of one core for one hour")
    memory_gib_hour: float = Field(0.0042, ge=0, description="of one GiB for one hour")
    currency: str = Field("USD", max_length=8, description="what they are in")


def is_http(url: str) -> str:
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise ValueError("a URL begins with http:// or https://, and has a host")
    return url


class Webhook(Part):
    """Who is told of a call that waits for somebody."""

    url: str = Field("", description="where waiting calls are announced (POST, JSON)")
    secret: SecretStr = Field(
        SecretStr(""),
        description="key that announcements are signed with: `whsec_` and base64 (Standard "
        "Webhooks), or any text",
    )

    _is_one = field_validator("url")(is_http)

    @field_validator("secret")
    @classmethod
    def _decodes(cls, secret: SecretStr) -> SecretStr:
        if secret.get_secret_value() and not key_of(secret.get_secret_value()):
            raise ValueError("there is nothing behind whsec_")
        return secret

    @property
    def key(self) -> bytes:
        return key_of(self.secret.get_secret_value())


def key_of(secret: str) -> bytes:
    """A key as Standard Webhooks writes it, or any text. Raises `ValueError`."""
    if secret.startswith(ENCODED):
        return base64.b64decode(secret.removeprefix(ENCODED), validate=True)
    return secret.encode()


class Chat(Part):
    """Free conversation with Claude."""

    api_key: SecretStr = Field(
        SecretStr(""), description="key for Claude's API; `ANTHROPIC_API_KEY` if empty"
    )
    base_url: str = Field("", description="another address of it; `ANTHROPIC_BASE_URL` if empty")
    model: str = Field("claude-sonnet-5-5", min_length=1, description="which model")
    max_tokens: int = Field(8192, ge=256, le=128_000, description="longest single answer, tokens")
    turn_tokens: int = Field(
        150_000,
        ge=1000,
        description="tokens that one question may take; those read from the cache count a tenth",
    )
    turn_calls: int = Field(24, ge=1, le=200, description="tool calls that one question may take")
    turn_s: float = Field(300, gt=0, le=3600, description="seconds that one question may take")
    at_once: int = Field(8, ge=1, le=200, description="questions that are answered side by side")
    conversations: int = Field(1000, ge=1, description="conversations kept")
    keep_h: float = Field(24, gt=0, description="hours a conversation is kept after its last word")


class LokiConfig(Part):
    """A Loki that the audit trail is shipped to."""

    url: str = Field("", description="its URL; nothing is shipped if empty")
    tenant: str = Field("", description="the tenant there (`X-Scope-OrgID`)")
    token: SecretStr = Field(SecretStr(""), description="bearer token")
    user: str = Field("", description="user name, for basic authentication")
    password: SecretStr = Field(SecretStr(""), description="password, for basic authentication")
    labels: dict[str, str] = Field({}, description="labels beside `service_name` and `kind`")

    _is_one = field_validator("url")(is_http)


class Alertmanager(Part):
    """Alerts that come in at `/hooks/alertmanager`."""

    token: SecretStr = Field(
        SecretStr(""),
        description="what Alertmanager sends as bearer token or basic password; none are taken "
        "in if empty",
    )


class Approvals(Part):
    """How calls wait."""

    expiry_h: float = Field(24, gt=0, le=24 * 30, description="hours until a waiting call expires")
    sole_operator: bool = Field(
        False,
        description="a lone operator may approve their own calls with a second, recorded yes",
    )


class Limits(Part):
    """Bounds on what one call may take."""

    wait_s: float = Field(25, ge=0, le=600, description="seconds to wait for a write to end")
    read_s: float = Field(30, gt=0, le=600, description="seconds that a read may take")
    plan_s: float = Field(60, gt=0, le=600, description="seconds that planning a write may take")
    stream_s: float = Field(3600, gt=0, description="seconds that a stream stays open")
    body_kb: int = Field(1024, ge=1, le=65_536, description="largest request, in kB")
    answer_kb: int = Field(200, ge=4, le=65_536, description="largest answer, in kB")
    grace_s: float = Field(20, ge=0, le=600, description="seconds to finish in when told to stop")
    calls_per_second: int = Field(
        20,
        ge=0,
        description="requests of one caller in a second, over five; 0: as many as they like",
    )
    share: float = Field(
        0.1,
        gt=0,
        le=1,
        description="of the server's time, what one caller may take while others ask, over five "
        "seconds; counted where calls_per_second is",
    )
    address_per_second: int = Field(
        200, ge=0, description="requests from one address in a second; 0: as many as it likes"
    )
    sign_ins_per_minute: int = Field(
        30, ge=0, description="tries to sign in from one address in a minute; 0: all"
    )
    concurrent: int = Field(
        32, ge=0, description="calls that one caller may have under way; 0: as many as they like"
    )
    waiting: int = Field(
        100, ge=1, description="calls of one requester that may wait for a decision"
    )


class Log(Part):
    """What is written to stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level")
    format: Literal["auto", "json", "pretty"] = Field(
        "auto", description="`auto` is `pretty` on a terminal"
    )


class Settings(BaseSettings):
    """All settings."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    kubeconfig: str = Field(
        "", description="kubeconfig file; else `KUBECONFIG`, `~/.kube/config`, or in-cluster"
    )
    context: str = Field("", description="context in it; its current one if empty")
    clusters: dict[str, ClusterConfig] = Field(
        {}, description="more clusters by name (the one above is `default`)"
    )
    aws: AwsConfig = AwsConfig()
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65_535, description="port to listen on; 0 takes a free one")
    public_url: str = Field(
        "", description="address that clients see (`https://…`); the address listened on if empty"
    )
    allowed_hosts: Annotated[list[str], NoDecode] = Field(
        [], description="names that a request's `Host` may have, beside the address listened on"
    )
    allowed_origins: Annotated[list[str], NoDecode] = Field(
        [], description="web pages (`https://…`) that may send requests"
    )
    trusted_proxies: Annotated[list[str], NoDecode] = Field(
        [], description="addresses or networks of proxies whose `X-Forwarded-For` is believed"
    )
    state: Path = Field(
        default_factory=lambda: default_state(),
        description="directory of the state (`$XDG_STATE_HOME/pilothouse`)",
    )
    database: str = Field(
        "", description="SQLAlchemy URL of another database for the state, e.g. PostgreSQL"
    )
    key: SecretStr = Field(
        SecretStr(""),
        description="key that the state is encrypted with (32 bytes in base64; several with commas,"
        " the first encrypts); `pilothouse.key` in the state directory if empty",
    )
    read_only: bool = Field(False, description="refuse every tool that changes something")
    toolsets: Annotated[list[str] | None, NoDecode] = Field(
        None, description="groups of tools to offer; all if not set"
    )
    policy: Path | None = Field(None, description="Cedar policy file; the shipped one if not set")
    tiers: dict[str, Tier] = Field(
        {}, description="plan tiers by name, beside or instead of `free`, `pro`, `enterprise`"
    )
    isolation: Isolation = Isolation()
    prometheus: PrometheusConfig = PrometheusConfig()
    prices: Prices = Prices()
    strategies: dict[str, dict[str, Any]] = Field(
        {}, description="settings of strategies by name (`strategies.rightsize`)"
    )
    oidc: Oidc = Oidc()
    people: People = People()
    tls: Tls = Tls()
    webhook: Webhook = Webhook()
    loki: LokiConfig = LokiConfig()
    slack: SlackConfig = SlackConfig()
    approvals: Approvals = Approvals()
    chat: Chat = Chat()
    alertmanager: Alertmanager = Alertmanager()
    limits: Limits = Limits()
    log: Log = Log()

    @field_validator("prometheus", mode="before")
    @classmethod
    def _url_alone(cls, value: Any) -> Any:
        """`--prometheus URL` says no more than where it is."""
        return {"url": value} if isinstance(value, str) else value

    @field_validator(
        "allowed_hosts", "allowed_origins", "toolsets", "trusted_proxies", mode="before"
    )
    @classmethod
    def _split(cls, value: Any) -> Any:
        return words(value)

    @field_validator("tiers")
    @classmethod
    def _add_tiers(cls, value: dict[str, Tier]) -> dict[str, Tier]:
        return DEFAULT_TIERS | value

    @field_validator("clusters")
    @classmethod
    def _keep_default(cls, value: dict[str, ClusterConfig]) -> dict[str, ClusterConfig]:
        if "default" in value:
            raise ValueError("`default` is the cluster of `kubeconfig` and `context`")
        return value

    @model_validator(mode="after")
    def _tokens_are_for_us(self) -> Self:
        if self.oidc.issuer and not (self.oidc.audience or self.public_url):
            raise ValueError(
                "oidc.audience or public_url must say what the identity provider's tokens are for"
            )
        return self

    @property
    def all_clusters(self) -> dict[str, ClusterConfig]:
        """Every cluster, the default one first."""
        default = ClusterConfig(kubeconfig=self.kubeconfig, context=self.context)
        return {"default": default} | self.clusters

    @property
    def all_tiers(self) -> Tiers:
        return Tiers(tiers=self.tiers or DEFAULT_TIERS, isolation=self.isolation)

    @property
    def database_url(self) -> str:
        return self.database or f"duckdb:///{self.state.absolute() / 'state.duckdb'}"

    @property
    def loopback(self) -> bool:
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        assert isinstance(init_settings, InitSettingsSource)
        options = dict(init_settings.init_kwargs)
        file = options.pop("_file", None)
        return (
            InitSettingsSource(settings_cls, init_kwargs=options),
            _Variables(settings_cls),
            TomlConfigSettingsSource(settings_cls, toml_file=file),
        )


class _Variables(EnvSettingsSource):
    """`PILOTHOUSE_…`, without what Kubernetes says about a Service of that name."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {
            name: value
            for name, value in super()._load_env_vars().items()
            if not (name.lower() == "pilothouse_port" and str(value).startswith("tcp://"))
        }


def default_state() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "pilothouse"


def load(config: str | Path | None = None, **options: Any) -> Settings:
    """The settings, with the options that were given (None is not given).

    The file is `config` or PILOTHOUSE_CONFIG, else pilothouse.toml here or in the state directory.
    Raises `ToolError` naming what is wrong, and the nearest name for one that is unknown.
    """
    given = {name: value for name, value in options.items() if value is not None}
    config = config or os.environ.get(PREFIX + "CONFIG")
    if config and not Path(config).is_file():
        raise ToolError(
            Code.INVALID_ARGUMENT, f"There is no settings file {config}.", "Check --config."
        )
    state = Path(given.get("state") or os.environ.get(PREFIX + "STATE") or default_state())
    file = next((f for f in (config, FILE, state / FILE) if f and Path(f).is_file()), None)
    _check_variables()
    try:
        return Settings(**{"_file": file} | given)
    except ValidationError as error:
        faults = [_fault(e["loc"], e["type"], e["msg"]) for e in error.errors()]
        where = f" (read {file})" if file else ""
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"Wrong settings: {'; '.join(faults)}{where}.",
            "docs/settings.md lists every setting.",
        ) from None
    except (ValueError, OSError) as error:  # TOML or JSON that does not parse
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"The settings cannot be read: {error}.",
            f"Mend {file}." if file else "Check the PILOTHOUSE_ variables.",
        ) from None


def nearest(word: str, names: list[str]) -> str:
    """`; did you mean …?` for a word that is nearly one of the names."""
    from difflib import get_close_matches

    close = get_close_matches(word, names, 1, 0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _fault(where: tuple[int | str, ...], kind: str, message: str) -> str:
    path = ".".join(map(str, where))
    if kind != "extra_forbidden":
        return f"{path}: {message.removeprefix('Value error, ')}"
    model: Any = Settings
    for step in where[:-1]:
        if str(step) in model.model_fields:  # else it is a name in a table
            model = model_in(model.model_fields[str(step)].annotation)
    known = list(model.model_fields) if model else []
    return f"there is no setting {path}{nearest(str(where[-1]), known)}"


def _check_variables() -> None:
    paths = list(names())
    known = [variable(path) for path in paths]
    tables = tuple(variable(path.partition("<")[0]) for path in paths if "<" in path)
    for name in sorted(os.environ):
        rest = name.removeprefix(PREFIX)
        if rest == name or name in known or name.startswith(tables):
            continue
        if rest.startswith(OTHER_VARIABLES + SERVICE_LINKS):
            continue
        if any(path.startswith(f"{rest.lower()}.") for path in paths):
            continue  # a whole table as JSON
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"There is no setting for the variable {name}{nearest(name, known)}",
            "docs/settings.md lists every setting.",
        )


def names(model: type[BaseModel] = Settings, above: str = "") -> Iterator[str]:
    """Every setting by its path (`limits.wait_s`, `clusters.<name>.context`)."""
    for name, field in model.model_fields.items():
        inner, is_table = model_in(field.annotation), get_origin(field.annotation) is dict
        if not inner or is_table:
            yield above + name
        if inner:
            yield from names(inner, f"{above}{name}{'.<name>' if is_table else ''}.")


def model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for a in get_args(annotation) if (m := model_in(a))), None)


def variable(path: str) -> str:
    return PREFIX + path.upper().replace(".", "__")
