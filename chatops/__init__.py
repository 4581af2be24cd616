"""Asking in chat: is handed the gate and speaks through it."""
