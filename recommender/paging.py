"""Cursors: where a sorted list goes on."""

import base64
import binascii
import json
from typing import Any

import sqlalchemy as sa

from recommender.model import RecommenderError
from recommender.tables import clean


def cursor_of(sort: str, key: float, id: str) -> str:
    """What stands for everything behind this one."""
    return base64.urlsafe_b64encode(json.dumps([sort, key, id]).encode()).decode().rstrip("=")


def after(
    cursor: str, sort: str, key: sa.ColumnElement[float], id: sa.ColumnElement[str]
) -> sa.ColumnElement[bool]:
    """What comes behind a cursor, sorted by `key` downwards and by `id` upwards."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        of, last, name = _three(json.loads(base64.b64decode(padded, b"-_", validate=True)))
    except (ValueError, TypeError, binascii.Error):
        of, last, name = "", 0.0, ""
    if of != sort:
        raise RecommenderError("This cursor is of another list.", "Begin anew, without a cursor.")
    return sa.or_(key < last, sa.and_(key == last, id > name))


def _three(found: Any) -> tuple[str, float, str]:
    sort, last, id = found
    return str(sort), float(last), clean(str(id))
