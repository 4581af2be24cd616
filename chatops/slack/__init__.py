"""Slack: its requests, its messages, its limits. What is said there is heard by `chatops/`."""
