"""What a process works on. Two that share one state must mean the same clusters and account."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.settings import ClusterConfig, Settings
from tools.errors import Code, ToolError

REGION = ("AWS_REGION", "AWS_DEFAULT_REGION")


def world(settings: Settings) -> dict[str, str]:
    """`cluster NAME` to its server, and `aws` to endpoint, region and profile."""
    found = {f"cluster {n}": _server(config) for n, config in settings.all_clusters.items()}
    return {what: where for what, where in found.items() if where} | _aws(settings)


def asked(settings: Settings) -> dict[str, str]:
    """The part of it that was asked for in so many words, and not merely lies about (a kubeconfig
    in the home directory): that part must be what the state's owner works on."""
    named = world(settings)
    if not (settings.kubeconfig or settings.context or os.environ.get("KUBECONFIG")):
        named.pop("cluster default", None)
    return named


def must_match(mine: Mapping[str, str], held: Mapping[str, str], pid: int) -> None:
    """Raises `ToolError` where the owner of the state works on something else."""
    for what, where in mine.items():
        if held.get(what) != where:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"The Pilothouse that holds this state (process {pid}) has "
                f"{held.get(what) or 'nothing'} as {what}, and this one was asked for {where}.",
                "Ask for the same, or name another --state directory.",
            )


def aws_is_configured(settings: Settings) -> bool:
    aws = settings.aws
    named = aws.region or aws.bucket or aws.endpoint
    return bool(named or any(os.environ.get(n) for n in (*REGION, "AWS_PROFILE")))


def _aws(settings: Settings) -> dict[str, str]:
    if not aws_is_configured(settings):
        return {}
    region = settings.aws.region or next((os.environ[n] for n in REGION if os.environ.get(n)), "")
    endpoint = settings.aws.endpoint or os.environ.get("AWS_ENDPOINT_URL", "")
    parts = endpoint, region, os.environ.get("AWS_PROFILE", ""), settings.aws.bucket
    return {"aws": " ".join(filter(None, parts))}


def _server(config: ClusterConfig) -> str:
    """The address of a cluster's API server, empty where that cannot be told."""
    import yaml

    from tools.backends.kubernetes.connection import where_from

    try:
        source = where_from(config.kubeconfig)
        if not source:
            return f"https://{os.environ['KUBERNETES_SERVICE_HOST']}"
        files = [Path(f).expanduser() for f in source.split(os.pathsep) if f]
        loaded = [yaml.safe_load(f.read_text()) or {} for f in files if f.is_file()]
    except (ToolError, OSError, yaml.YAMLError):
        return ""
    try:
        named = config.context or next(
            c["current-context"] for c in loaded if "current-context" in c
        )
        cluster = _entry(loaded, "contexts", named)["context"]["cluster"]
        return str(_entry(loaded, "clusters", cluster)["cluster"]["server"])
    except (KeyError, StopIteration, TypeError):
        return ""


def _entry(loaded: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    return next(e for config in loaded for e in config.get(kind) or () if e["name"] == name)
