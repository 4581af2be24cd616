"""Making pods from templates, and telling of it."""

from __future__ import annotations

import json
import zlib
from typing import Any

from ..errors import ApiError
from ..schema import clone
from ..world import World, owner_reference

Object = dict[str, Any]
HASH_LABEL = "pod-template-hash"
DIGITS = "456789bcdf"


def template_hash(template: Object, salt: str = "") -> str:
    """The short name of a template."""
    text = json.dumps(template, sort_keys=True) + salt
    return "".join(DIGITS[int(digit)] for digit in str(zlib.crc32(text.encode())))


def pod_from(kind: str, owner: Object, template: Object, name: str = "") -> Object:
    """A pod as the owner wants it; without a name one is made up."""
    meta = template.get("metadata", {})
    made: Object = {key: clone(meta[key]) for key in ("labels", "annotations") if key in meta}
    prefix = f"{owner['metadata']['name']}-"
    made |= {"name": name} if name else {"generateName": prefix}
    made |= {
        "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [owner_reference(kind, owner)],
    }
    return {"metadata": made, "spec": clone(template["spec"])}


def make_pod(world: World, kind: str, owner: Object, pod: Object) -> Object:
    """Create a pod and tell of it, also when it is refused."""
    component = f"{kind.lower()}-controller"
    try:
        made = world.create("Pod", pod)
    except ApiError as refused:
        message = f"Error creating: {refused.message}"
        world.event(kind, owner, "Warning", "FailedCreate", message, component)
        raise
    message = f"Created pod: {made['metadata']['name']}"
    world.event(kind, owner, "Normal", "SuccessfulCreate", message, component)
    return made


def remove_pod(world: World, kind: str, owner: Object, pod: Object) -> None:
    """Delete a pod and tell of it."""
    world.delete("Pod", pod)
    message = f"Deleted pod: {pod['metadata']['name']}"
    component = f"{kind.lower()}-controller"
    world.event(kind, owner, "Normal", "SuccessfulDelete", message, component)


def make_many(world: World, kind: str, owner: Object, template: Object, count: int) -> str:
    """Create pods in batches that double while all goes well; answers what the first refusal says.

    Batches keep a quota from being asked for hundreds of pods that it has no room for.
    """
    size = 1
    while count > 0:
        refusals = []
        for _ in range(min(size, count)):
            try:
                make_pod(world, kind, owner, pod_from(kind, owner, template))
                count -= 1
            except ApiError as refused:
                refusals.append(refused.message)
        if refusals:
            return refusals[0]
        size *= 2
    return ""
