"""The app as Slack is told of it: just the scopes and events that are used, and why."""

from typing import Any

from chatops.slack.receiving import PATH

# What each method of the Web API that we call asks for.
SCOPES: dict[str, str] = {
    "auth.test": "",
    "apps.connections.open": "",  # the app token's own connections:write
    "chat.postMessage": "chat:write",
    "chat.postEphemeral": "chat:write",
    "chat.update": "chat:write",
    "chat.delete": "chat:write",
    "chat.startStream": "chat:write",
    "chat.appendStream": "chat:write",
    "chat.stopStream": "chat:write",
    "assistant.threads.setStatus": "assistant:write",
    "assistant.threads.setSuggestedPrompts": "assistant:write",
    "files.getUploadURLExternal": "files:write",
    "files.completeUploadExternal": "files:write",
    "users.info": "users:read",
    "views.open": "",
    "views.publish": "",
}
# What each event that is listened to asks for.
EVENTS: dict[str, str] = {
    "app_home_opened": "",
    "app_mention": "app_mentions:read",
    "assistant_thread_context_changed": "assistant:write",
    "assistant_thread_started": "assistant:write",
    "message.im": "im:history",
}


def manifest(command: str = "/pilot", url: str = "", *, emails: bool = False) -> dict[str, Any]:
    """To be pasted at api.slack.com/apps. With the server's `url`, Slack sends signed requests
    there; without, we connect to Slack (Socket Mode)."""
    scopes = {*SCOPES.values(), *EVENTS.values(), "commands"} - {""}
    if emails:
        scopes |= {"users:read.email"}
    where = f"{url.rstrip('/')}{PATH}" if url else ""
    slash = {"command": command, "description": "Ask Pilothouse", "usage_hint": "help"}
    return {
        "display_information": {
            "name": "Pilothouse",
            "description": "Ask for changes to the platform, and decide about them",
        },
        "features": {
            "app_home": {
                "home_tab_enabled": True,
                "messages_tab_enabled": True,
                "messages_tab_read_only_enabled": False,
            },
            "bot_user": {"display_name": "pilothouse", "always_online": True},
            "slash_commands": [slash | ({"url": where} if url else {})],
            "assistant_view": {"assistant_description": "Ask about the platform, or change it"},
        },
        "oauth_config": {"scopes": {"bot": sorted(scopes)}},
        "settings": {
            "event_subscriptions": {"bot_events": sorted(EVENTS)}
            | ({"request_url": where} if url else {}),
            "interactivity": {"is_enabled": True} | ({"request_url": where} if url else {}),
            "org_deploy_enabled": False,
            "socket_mode_enabled": not url,
            "token_rotation_enabled": False,
        },
    }
