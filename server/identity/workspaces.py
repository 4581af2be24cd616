"""Workspaces: people, tenants, and the role that each has in all of them."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from server.identity.rights import Rights, granted
from server.identity.rows import Row, Rows
from server.journal import Journal, Json, Time
from tools.calls import Caller, Grant, Role
from tools.errors import Code, ToolError
from tools.holdings import Directory, WorkspaceInfo

metadata = sa.MetaData()
workspaces = sa.Table(
    "workspaces",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("tenants", Json, nullable=False),  # name to uid
    sa.Column("members", Json, nullable=False),  # subject to role
    sa.Column("created", Time, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
)


class Workspaces:
    """The workspaces in the journal's database, and in memory. It is `tools.context.Workspaces`."""

    def __init__(
        self, journal: Journal, directory: Directory, clock: Callable[[], datetime]
    ) -> None:
        self.rows = Rows(journal, workspaces)
        self._directory = directory
        self._clock = clock

    def rights(self, subject: str) -> Rights:
        """What somebody's memberships give them."""
        rights = Rights()
        for row in self.rows.all.values():
            if role := row["members"].get(subject):
                grants = {t: Grant(role=Role(role), uid=uid) for t, uid in row["tenants"].items()}
                rights |= Rights(grants=grants)
        return rights

    def of(self, subject: str) -> dict[str, Role]:
        """Somebody's workspaces by name, and their role there."""
        rows = self.rows.all.values()
        return {r["name"]: Role(role) for r in rows if (role := r["members"].get(subject))}

    async def leave(self, subject: str) -> None:
        """Take somebody out of every workspace."""
        for row in list(self.rows.all.values()):
            if subject in row["members"]:
                left = {who: role for who, role in row["members"].items() if who != subject}
                await self.rows.change(row["id"], members=left)

    async def list(self, caller: Caller) -> Sequence[WorkspaceInfo]:
        rows = self.rows.all.values()
        return [_info(row) for row in rows if self._role(caller, row)]

    async def get(self, caller: Caller, id: str) -> WorkspaceInfo:
        return _info(self._row(caller, id))

    async def create(
        self,
        by: Caller,
        *,
        name: str,
        description: str,
        tenants: Sequence[str],
        members: Mapping[str, Role],
    ) -> WorkspaceInfo:
        self._is_free(name)
        row = {
            "id": f"w-{secrets.token_hex(4)}",
            "name": name,
            "description": description,
            "tenants": await self._uids(tenants),
            "members": _members(members),
            "created": self._clock(),
            "created_by": by.person,
        }
        return _info(await self.rows.add(row))

    async def change(self, by: Caller, id: str, **values: Any) -> WorkspaceInfo:
        row = self._row(by, id)
        role = self._role(by, row)
        if role is not Role.OPERATOR and (role is not Role.ADMIN or set(values) - {"members"}):
            raise ToolError(
                Code.PERMISSION_DENIED,
                f"You may not change this of {row['name']}.",
                "Its admins change who is in it; the rest is for operators.",
            )
        if values.get("name", row["name"]) != row["name"]:
            self._is_free(values["name"])
        if "tenants" in values:
            # Those that stay are the ones that they were, also where another has the name now.
            added = [name for name in values["tenants"] if name not in row["tenants"]]
            kept = {n: uid for n, uid in row["tenants"].items() if n in values["tenants"]}
            values["tenants"] = kept | await self._uids(added)
        if "members" in values:
            values["members"] = _members(values["members"])
        await self.rows.change(row["id"], **values)
        return _info(row)

    async def delete(self, by: Caller, id: str) -> WorkspaceInfo:
        row = self._row(by, id)
        await self.rows.drop(row["id"])
        return _info(row)

    def _role(self, caller: Caller, row: Row) -> Role | None:
        if caller.operator:
            return Role.OPERATOR
        role = row["members"].get(caller.subject)
        return Role(role) if role else None

    def _row(self, caller: Caller, id: str) -> Row:
        rows = self.rows.all
        named = (row for row in rows.values() if row["name"] == id)
        row = rows.get(id) or next(named, None)
        if row is None or not self._role(caller, row):
            raise ToolError(
                Code.NOT_FOUND, f"There is no workspace {id}.", "workspace_list shows yours."
            )
        return row

    def _is_free(self, name: str) -> None:
        if any(row["name"] == name for row in self.rows.all.values()):
            raise ToolError(Code.ALREADY_EXISTS, f"There is a workspace {name}.", "Take another.")

    async def _uids(self, tenants: Sequence[str]) -> dict[str, str]:
        found = await granted(self._directory, dict.fromkeys(tenants, Role.VIEWER))
        return {name: grant.uid for name, grant in found.items()}


def _members(members: Mapping[str, Role]) -> dict[str, str]:
    if Role.OPERATOR in members.values():
        raise ToolError(
            Code.INVALID_ARGUMENT,
            "`operator` is no role in a workspace.",
            "Use viewer, user or admin; user_update makes an operator.",
        )
    return {subject: Role(role).value for subject, role in members.items()}


def _info(row: Row) -> WorkspaceInfo:
    return WorkspaceInfo.model_validate(row | {"tenants": sorted(row["tenants"])})
