"""Carrying plans out: change by change, acknowledged, settled, and taken back where that fails."""
