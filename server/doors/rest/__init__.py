"""The REST door: what a platform asks of a server, its pages of answers, and every tool."""

from server.doors.rest.app import rest_app
from server.doors.rest.inside import Inside, Local, caller_of, narrow, unknown_caller

__all__ = ["Inside", "Local", "caller_of", "narrow", "rest_app", "unknown_caller"]
