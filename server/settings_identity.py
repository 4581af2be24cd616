"""Settings of who comes in, and how: an identity provider, passwords, certificates."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from server.settings_part import Part, words
from tools.calls import Role

Words = Annotated[list[str], NoDecode, BeforeValidator(words)]


class Oidc(Part):
    """An OpenID Connect issuer whose tokens let people and programs in."""

    issuer: str = Field(
        "", description="its URL, exactly as its tokens' `iss` has it; none if empty"
    )
    audience: Words = Field(
        [],
        description="`aud`s of tokens that are for us; `public_url` and its `/mcp` if empty",
    )
    subject: str = Field(
        "sub",
        description="claim that names the caller; one that they cannot change themselves "
        "(`email` is taken unless `email_verified` is false)",
    )
    groups: str = Field("groups", description="claim with groups or roles; `a.b` is `b` inside `a`")
    pattern: str = Field(
        "{tenant}:{role}", description="groups that are a role in a tenant; none if empty"
    )
    roles: dict[str, dict[str, Role]] = Field(
        {}, description='a group by name to a role in each tenant (`{acme = "admin"}`)'
    )
    operators: Words = Field([], description="groups whose members are operators")
    agents: Words = Field(
        [], description="clients (`azp` or `client_id`) that are programs and never decide"
    )
    ca_file: str = Field("", description="CA certificates to trust instead of the system's")
    timeout_s: float = Field(5, gt=0, le=60, description="seconds that one request to it may take")
    remember_h: float = Field(
        24,
        gt=0,
        le=24 * 30,
        description="hours that what a token said holds for what was asked with it and waits",
    )
    client_id: str = Field("", description="client for signing in on the page; none if empty")
    client_secret: SecretStr = Field(SecretStr(""), description="its secret; PKCE alone if empty")
    scopes: str = Field("openid profile email", description="asked for when signing in")
    session_h: float = Field(8, gt=0, le=24 * 7, description="hours that signing in lasts")

    @field_validator("pattern")
    @classmethod
    def _has_both(cls, pattern: str) -> str:
        if pattern and (pattern.count("{tenant}") != 1 or pattern.count("{role}") != 1):
            raise ValueError("it has {tenant} and {role} once each, such as {tenant}:{role}")
        return pattern

    @field_validator("issuer")
    @classmethod
    def _is_safe(cls, issuer: str) -> str:
        local = re.match(r"http://(127\.\d+\.\d+\.\d+|localhost|\[::1\])(:|/|$)", issuer)
        if issuer and not issuer.startswith("https://") and not local:
            raise ValueError("an issuer's URL begins with https://")
        return issuer


class People(Part):
    """People who sign in here with a password."""

    registration: Literal["invitation", "open"] = Field(
        "invitation", description="`open` lets anybody register, who can then do nothing yet"
    )
    access_m: float = Field(15, gt=0, le=24 * 60, description="minutes that an access token holds")
    refresh_d: float = Field(30, gt=0, le=365, description="days that one may stay signed in")
    invitation_d: float = Field(7, gt=0, le=90, description="days that an invitation holds")


class CertificateCaller(Part):
    """Whom a client certificate stands for."""

    subject: str = Field("", description="the caller; the certificate's name if empty")
    person: str = Field("", description="whom an agent acts for, if not the subject")
    agent: bool = Field(True, description="a program, which never decides")
    operator: bool = Field(False, description="a role over the platform")
    tenants: dict[str, Role] = Field({}, description="a role in each tenant")


class Tls(Part):
    """Serving over TLS, and services that come with a certificate of their own."""

    cert: str = Field("", description="file with the server's certificate and its chain (PEM)")
    key: str = Field("", description="file with its key (PEM)")
    client_ca: str = Field("", description="CA certificates that clients' are signed by (PEM)")
    require: bool = Field(False, description="refuse clients without a certificate")
    callers: dict[str, CertificateCaller] = Field(
        {}, description="callers by their certificate's name (a SAN: URI or DNS; else its CN)"
    )

    @model_validator(mode="after")
    def _belong_together(self) -> "Tls":
        if bool(self.cert) != bool(self.key):
            raise ValueError("tls.cert and tls.key go together")
        if (self.client_ca or self.callers) and not (self.cert and self.client_ca):
            raise ValueError("clients' certificates need tls.cert, tls.key and tls.client_ca")
        return self
