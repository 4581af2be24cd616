"""Services that come with a certificate: its name is a caller's in the settings."""

import secrets
from collections.abc import Mapping, Sequence

from server.identity.rights import Rights
from server.settings_identity import CertificateCaller
from tools.calls import Caller, Grant
from tools.holdings import Directory

PREFIX = "pc_"


class Certificates:
    def __init__(self, directory: Directory, callers: Mapping[str, CertificateCaller]) -> None:
        self._directory = directory
        self._callers = callers
        self._here: dict[str, str] = {}

    def come(self, names: Sequence[str]) -> str:
        """A token for a connection of whoever has these names; empty if that is nobody."""
        name = next((name for name in names if name in self._callers), "")
        if not name:
            return ""
        token = PREFIX + secrets.token_urlsafe(32)
        self._here[token] = name
        return token

    def go(self, token: str) -> None:
        self._here.pop(token, None)

    async def find(self, token: str) -> tuple[Caller, Rights] | None:
        """Who has the token of a connection, and what the settings give them in the tenants that
        are there now."""
        if (name := self._here.get(token)) is None:
            return None
        said = self._callers[name]
        grants = {}
        for tenant, role in said.tenants.items():
            if found := await self._directory.find(tenant):
                grants[tenant] = Grant(role=role, uid=found.uid)
        subject = said.subject or name
        caller = Caller.of(subject, person=said.person or subject, agent=said.agent)
        return caller, Rights(said.operator, grants)

    def still(self, caller: Caller) -> list[Rights]:
        """What a caller of earlier has by the settings of now."""
        return [
            Rights(
                said.operator,
                {
                    tenant: Grant(role=role, uid=caller.grants[tenant].uid)
                    for tenant, role in said.tenants.items()
                    if tenant in caller.grants
                },
            )
            for name, said in self._callers.items()
            if (said.subject or name) == caller.subject
            and (said.person or said.subject or name) == caller.person
        ]
