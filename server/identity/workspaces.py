"""Workspaces: people, tenants, and the role that each has in all of them."""

from collections.abc import Callable
from datetime import datetime

import sqlalchemy as sa

from server.identity.rights import Rights
from server.identity.rows import Rows
from server.journal import Journal, Json, Time
from tools.calls import Grant, Role
from tools.context import Directory

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
    """The workspaces in the journal's database, and in memory."""

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
