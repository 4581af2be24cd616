"""Manifests that the agent wrote, as what applying them would do."""

from typing import Any

from chatops.conversation import Configuration
from tools.calls import Outcome
from tools.errors import ToolError

APPLY = "resource_apply"


def configuration(
    arguments: dict[str, Any], outcome: Outcome
) -> tuple[tuple[str, ...], Configuration]:
    """A manifest with what the cluster's dry run said of it; and which object it is, so that what
    was mended takes the place of what was refused."""
    from tools.resources import parsed

    given, tenant = arguments.get("manifest", ""), str(arguments.get("tenant", ""))
    try:
        thing = parsed(given)
        which: tuple[str, ...] = (tenant, thing["kind"], thing["metadata"]["name"])
    except ToolError:
        thing, which = {}, (tenant, str(given))
    return which, Configuration(
        manifest=given if isinstance(given, str) else _yaml(thing or given),
        summary=outcome.summary,
        changes=outcome.changes,
        undo=outcome.undo,
        error=outcome.error,
        tool=APPLY,
        arguments=arguments,
        call_id=outcome.call_id if outcome.state.value != "planning" else None,
    )


def _yaml(thing: Any) -> str:
    import yaml

    return str(yaml.safe_dump(thing, sort_keys=False, allow_unicode=True))
