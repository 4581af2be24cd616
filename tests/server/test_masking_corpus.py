"""How many secrets are known, and how seldom what is none is taken for one."""

import base64
import json
import random
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from server.masking import MASK, Stream, mask, mask_text, spotless
from tests.conftest import ROOT
from tests.server import secrets

ALARMS = 1 / 1000


def test_there_are_enough_shapes() -> None:
    assert len(secrets.BARE) + len(secrets.WORDED) + len(secrets.CALLED) >= 120


@pytest.mark.parametrize("name", secrets.BARE)
def test_a_secret_is_masked_in_a_log_a_variable_and_an_answer(name: str) -> None:
    held(secrets.BARE[name], f"started with {secrets.BARE[name]} at noon")


@pytest.mark.parametrize("name", secrets.WORDED)
def test_a_secret_within_words_is_masked(name: str) -> None:
    words, secret = secrets.WORDED[name]
    held(secret, words.format(secret))


def held(secret: str, text: str) -> None:
    for line in secret.splitlines():
        assert line not in mask_text(text)
        assert line not in json.dumps(mask({"note": text, "env": [{"name": "X", "value": text}]}))
        stream = Stream()
        assert line not in "".join(map(stream.feed, text)) + stream.end()
    assert not spotless(json.dumps({"note": text}))


@pytest.mark.parametrize("key", secrets.CALLED)
def test_a_secret_is_masked_by_what_it_is_called(key: str) -> None:
    said = mask({key: "correct horse", "env": [{"name": key, "value": "correct horse"}]})
    assert said == {key: MASK, "env": [{"name": key, "value": MASK}]}


_dice = random.Random(11)


def hexes(number: int) -> str:
    return "".join(_dice.choices("0123456789abcdef", k=number))


def word() -> str:
    return _dice.choice(
        [
            "api",
            "web",
            "worker",
            "task-runner",
            "desk-booking",
            "risk-engine",
            "disk-pressure",
            "sidekiq",
            "key-rotator",
            "token-exchange",
            "secret-sync",
            "password-reset",
            "auth",
            "hf_cache",
            "basic",
            "bearer-gate",
            "sk-north",
        ]
    )


def pod() -> str:
    name = f"{word()}-{word()}-{hexes(10)}"
    return f"{name}-{''.join(_dice.choices('bcdfghjklmnpqrstvwxz2456789', k=5))}"


def ordinary() -> dict[str, Any]:
    """An object as a cluster has them: digests, uids, hashes, long names, a public certificate."""
    public = base64.b64encode(_dice.randbytes(600)).decode()
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": f"{word()}-{word()}",
            "namespace": word(),
            "uid": str(uuid.UUID(int=_dice.getrandbits(128))),
            "resourceVersion": str(_dice.randrange(10**9)),
            "labels": {
                "app.kubernetes.io/name": word(),
                "pod-template-hash": hexes(10),
                "helm.sh/chart": f"{word()}-1.2.{_dice.randrange(99)}",
                "git-commit": hexes(40),
            },
            "annotations": {
                "checksum/config": hexes(64),
                "kubernetes.io/description": f"The {word()} of {word()}: see https://example.org/a",
                "deployment.kubernetes.io/revision": "7",
                "eks.amazonaws.com/role-arn": f"arn:aws:iam::123456789012:role/{pod()}",
            },
        },
        "spec": {
            "serviceAccountName": f"{word()}-{word()}",
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": word(),
                    "image": f"registry.example:5000/team/{word()}@sha256:{hexes(64)}",
                    "args": [f"--config=/etc/{word()}/config.yaml", "--token-ttl=3600", "-v=2"],
                    "env": [
                        {"name": "LOG_LEVEL", "value": "info"},
                        {"name": "DB_HOST", "value": f"{word()}.svc.cluster.local"},
                        {"name": "TOKEN_TTL", "value": "3600"},
                        {"name": "PASSWORD_MIN_LENGTH", "value": "12"},
                        {"name": "URL", "value": f"https://{word()}.example.org:8443/v1?page=2"},
                        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db"}}},
                    ],
                    "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets/tokens"}],
                }
            ],
            "volumes": [
                {"name": "tls", "secret": {"secretName": f"{word()}-tls"}},
                {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
            ],
            "imagePullSecrets": [{"name": "registry-credentials"}],
        },
        "status": {
            "podIP": "10.1.2.3",
            "containerID": f"containerd://{hexes(64)}",
            "pods": [pod() for _ in range(5)],
            "message": f'pod "{pod()}" failed: exit code 137 after 12m3s, back-off 5m0s',
            "caBundle": public,
        },
        "certificate": f"-----BEGIN CERTIFICATE-----\n{public}\n-----END CERTIFICATE-----",
    }  # fmt: skip


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def test_ordinary_manifests_are_left_as_they_are() -> None:
    whole = alarms = 0
    for _ in range(400):
        thing = ordinary()
        was, now = list(leaves(thing)), list(leaves(mask(thing)))
        whole += len(was)
        alarms += sum(a != b for a, b in zip(was, now, strict=True))
    assert whole > 15_000
    assert alarms <= whole * ALARMS, f"{alarms} of {whole}"


def test_our_own_pages_and_manifests_are_left_as_they_are() -> None:
    """Documentation speaks of secrets all the time, and has none."""
    lines = [
        line
        for pattern in ("*.md", "docs/*.md", "deploy/*.yaml")
        for file in ROOT.glob(pattern)
        for line in file.read_text().splitlines()
    ]
    masked = [line for line in lines if mask_text(line) != line]
    assert len(lines) > 500
    assert len(masked) <= len(lines) * 2 * ALARMS, masked
