"""Services that come with a certificate, over real TLS."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from server.app import App
from server.commands.serving import serving
from server.commands.slack import _tls
from server.identity import new_token
from server.remote_chat import RemoteHouse
from server.settings_slack import SlackConfig
from tests.house import settings
from tools.calls import Caller
from tools.errors import Code, ToolError

BILLING = "spiffe://acme.example/billing"


@dataclass
class Authority:
    folder: Path
    name: str

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.cert = self._signed(self.name, self.key, [], ca=True)
        self.path = self._write(self.name, self.cert)

    def issue(self, common_name: str, *names: x509.GeneralName) -> tuple[str, str]:
        """The paths of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        cert = self._signed(common_name, key, list(names))
        file = self.folder / f"{self.name}-{common_name}.key"
        file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return self._write(f"{self.name}-{common_name}", cert), str(file)

    def _signed(self, name: str, key: Any, names: list[Any], ca: bool = False) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        by = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(by)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return made.sign(self.key, SHA256())

    def _write(self, name: str, cert: x509.Certificate) -> str:
        file = self.folder / f"{name}.pem"
        file.write_bytes(cert.public_bytes(Encoding.PEM))
        return str(file)


@dataclass
class Served:
    app: App
    url: str
    ours: Authority
    others: Authority

    def client(self, cert: tuple[str, str] | None = None, **headers: str) -> httpx.AsyncClient:
        context = ssl.create_default_context(cafile=self.ours.path)
        if cert:
            context.load_cert_chain(*cert)
        return httpx.AsyncClient(base_url=self.url, verify=context, headers=headers, timeout=30)


@asynccontextmanager
async def served(tmp_path: Path, practice: Any, **tls: Any) -> AsyncIterator[Served]:
    practice.kubeconfig(path=tmp_path / "kubeconfig")
    ours, others = Authority(tmp_path, "ours"), Authority(tmp_path, "others")
    cert, key = ours.issue("server", x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    callers = {
        BILLING: {"subject": "billing", "operator": True},
        "old-service": {"operator": True, "agent": False},
    }
    made = settings(
        tmp_path, str(tmp_path / "kubeconfig"), "http://127.0.0.1:1", port=0,
        tls={"cert": cert, "key": key, "client_ca": ours.path, "callers": callers} | tls,
        slack={"apart": True},
    )  # fmt: skip
    async with serving(made) as (app, url):
        yield Served(app, url, ours, others)


async def test_the_certificates_name_says_who_calls_through_every_door(
    tmp_path: Path, practice: Any
) -> None:
    async with served(tmp_path, practice) as it:
        assert it.url.startswith("https://")
        billing = it.ours.issue("x", x509.UniformResourceIdentifier(BILLING))
        async with it.client(billing) as http:
            me = (await http.get("/api/v1/caller")).json()
            assert (me["subject"], me["agent"], me["operator"]) == ("billing", True, True)
            listed = await http.post("/api/v1/tools/tenant_list", json={})
            assert listed.status_code == 200
            headers = {"accept": "application/json, text/event-stream"}
            body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
            assert (await http.post("/mcp", json=body, headers=headers)).status_code == 200
            token, sha256 = new_token()
            await it.app.identity.tokens.create(
                Caller.of("root"), sha256=sha256, subject="olivia", tenants={}, operator=True,
                agent=False, person="", expires_days=None,
            )  # fmt: skip
            own = {"authorization": f"Bearer {token}"}
            said = (await http.get("/api/v1/caller", headers=own)).json()
            assert said["subject"] == "olivia", "who brings a token is known by that"
            assert it.app.identity.certificates._here
        async with it.client(it.ours.issue("old-service")) as http:
            me = (await http.get("/api/v1/caller")).json()
            assert me["subject"] == "old-service"
            assert not me.get("agent")
            async with http.stream("GET", "/api/v1/events") as events, asyncio.timeout(10):
                lines = events.aiter_lines()
                await anext(lines)
                it.app.events.publish("call", {"text": "x" * 100_000})
                told = [line async for line in _until(lines, "data: ")][-1]
                assert told == f'data: {{"text":"{"x" * 100_000}"}}'


async def _until(lines: AsyncIterator[str], start: str) -> AsyncIterator[str]:
    async for line in lines:
        yield line
        if line.startswith(start):
            return


async def test_nobody_is_let_in_by_another_name_another_ca_or_no_certificate(
    tmp_path: Path, practice: Any
) -> None:
    async with served(tmp_path, practice) as it:
        # A common name counts for nothing beside a newer name.
        both = it.ours.issue("old-service", x509.DNSName("unknown.example"))
        for cert in (None, it.ours.issue("stranger"), both):
            async with it.client(cert) as http:
                assert (await http.get("/health")).status_code == 200
                assert (await http.get("/api/v1/caller")).status_code == 401
        forged = it.others.issue("old-service")
        with pytest.raises(httpx.HTTPError):
            async with it.client(forged) as http:
                await http.get("/api/v1/caller")


async def test_a_connections_token_ends_with_it(tmp_path: Path, practice: Any) -> None:
    async with served(tmp_path, practice) as it:
        async with it.client(it.ours.issue("old-service")) as http:
            await http.get("/api/v1/caller")
            (token,) = it.app.identity.certificates._here
            assert await it.app.identity.identify(token, "rest")
        async with it.client() as http:  # by now the other one is closed
            stolen = {"authorization": f"Bearer {token}"}
            assert (await http.get("/api/v1/caller", headers=stolen)).status_code == 401


async def test_slack_by_itself_comes_from_afar_with_a_certificate_and_not_without(
    tmp_path: Path, practice: Any
) -> None:
    async with served(tmp_path, practice) as it:
        nothing = {"tenants": {}, "agent": False, "person": "", "expires_days": None}
        root, tokens = Caller.of("root"), it.app.identity.tokens
        made: dict[str, Any] = nothing | {"subject": "olivia", "operator": True}
        await tokens.create(root, sha256=new_token()[1], **made)
        token, sha256 = new_token()
        made = nothing | {"subject": "slack", "operator": False}
        await tokens.create(root, sha256=sha256, slack=True, **made)
        afar = {"authorization": f"Bearer {token}", "x-forwarded-for": "192.0.2.7"}
        cert, key = it.ours.issue("old-service")
        for shown, status in ((None, 403), (it.ours.issue("stranger"), 403), ((cert, key), 200)):
            async with it.client(shown) as http:
                answer = await http.post("/chat/house/waiting", json={}, headers=afar)
                assert answer.status_code == status, answer.text
        config = SlackConfig(server_ca=it.ours.path, client_cert=cert, client_key=key)
        house = RemoteHouse(it.url, token, _tls(config))
        assert await house.waiting() == []
        await house.close()
        with pytest.raises(ToolError, match="cannot be used"):
            _tls(SlackConfig(client_cert=str(tmp_path / "none")))


async def test_a_certificate_can_be_required(tmp_path: Path, practice: Any) -> None:
    async with served(tmp_path, practice, require=True) as it:
        with pytest.raises(httpx.HTTPError):
            async with it.client() as http:
                await http.get("/health")


async def test_what_it_asked_holds_as_long_as_the_settings_say_so(
    tmp_path: Path, practice: Any
) -> None:
    async with served(tmp_path, practice) as it:
        certificates = it.app.identity.certificates
        found = await certificates.find(certificates.come([BILLING]))
        assert found
        asked = found[0].model_copy(update={"operator": True})
        assert it.app.identity.still(asked) == asked
        certificates._callers = {}
        assert it.app.identity.still(asked) is None


async def test_files_that_are_no_certificates_are_refused_at_the_start(
    tmp_path: Path, practice: Any
) -> None:
    with pytest.raises(ToolError) as caught:
        async with served(tmp_path, practice, cert=__file__):
            pass
    assert caught.value.code is Code.INVALID_ARGUMENT
    with pytest.raises(ToolError, match="go together"):
        async with served(tmp_path, practice, key=""):
            pass
