"""The page: what goes on, what is recommended, what waits, and deciding about it."""

from server.doors.web.pages import web_routes
from server.doors.web.sessions import Sessions
from server.doors.web.visits import Web

__all__ = ["Sessions", "Web", "web_routes"]
