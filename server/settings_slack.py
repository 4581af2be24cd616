"""Settings of Slack."""

from pydantic import Field, SecretStr

from server.settings_part import Part


class SlackConfig(Part):
    """Slack. `pilothouse slack manifest` prints the app to install there; docs/chatops.md."""

    bot_token: SecretStr = Field(SecretStr(""), description="`xoxb-…`; no Slack if empty")
    signing_secret: SecretStr = Field(
        SecretStr(""), description="takes signed requests at `/slack/events` with it"
    )
    app_token: SecretStr = Field(
        SecretStr(""), description="`xapp-…`: connects by Socket Mode with it"
    )
    approvers: str = Field("", description="id of the channel where calls wait for approval")
    channels: dict[str, str] = Field(
        {}, description="the tenant that a channel is about, by its id"
    )
    by_email: bool = Field(
        False,
        description="know members by the confirmed address that a user of the same has here; only "
        "where nobody but the identity provider sets addresses in Slack",
    )
    apart: bool = Field(
        False, description="`pilothouse slack` runs it, a process of its own, and not the server"
    )
    from_afar: bool = Field(
        False,
        description="let that process come over the network without a client's certificate; else "
        "only from this machine",
    )
    server_ca: str = Field(
        "", description="CA of the server's certificate, for that process; the system's if empty"
    )
    client_cert: str = Field("", description="certificate that it shows the server")
    client_key: str = Field("", description="its key, where that is not in the same file")
    command: str = Field("/pilot", pattern="^/[a-z0-9_-]{1,31}$", description="the slash command")
    api: str = Field("https://slack.com/api/", description="another address of Slack's Web API")

    @property
    def inside(self) -> bool:
        """Does the server itself run it?"""
        return bool(self.bot_token.get_secret_value()) and not self.apart
