"""What a real API server answered, the practice cluster answers too."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.sandbox import PracticeCluster, Timings, node

from .recording import ADMIN, FOLDER, Replay, chapters

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no recording at {FOLDER.name}")


@pytest.fixture(scope="module")
def replay() -> Iterator[Replay]:
    cluster = PracticeCluster(
        tokens={"alice": "alice"},
        speed=10,
        nodes=[node("node-1")],
        timings=Timings(pull=5, namespace=5),
    )
    with cluster.in_thread():
        found = Replay(cluster.url)
        for number in range(200):
            # The recording was made in a cluster that had these.
            name = f"bench-{number:03}"
            meta = {
                "name": name,
                "labels": {"bench": "1"},
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": '{"apiVersion":"v1","kind":"Namespace","metadata":{"annotations":{},'
                    f'"labels":{{"bench":"1"}},"name":"{name}"}}}}\n',
                },
            }
            found.client.post(
                "/api/v1/namespaces?fieldManager=kubectl-client-side-apply",
                headers=ADMIN,
                json={"apiVersion": "v1", "kind": "Namespace", "metadata": meta},
            ).raise_for_status()
        yield found


def change_while_watched(replay: Replay) -> None:
    path = "/api/v1/namespaces/acme/configmaps/w"
    for number in ("1", "2"):
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "w"},
            "data": {"n": number},
        }
        headers = ADMIN | {"Content-Type": "application/apply-patch+yaml"}
        answer = replay.client.patch(
            f"{path}?fieldManager=pilothouse", content=json.dumps(body), headers=headers
        )
        answer.raise_for_status()
    replay.client.delete(path, headers=ADMIN).raise_for_status()


@pytest.mark.parametrize("chapter", chapters(), ids=lambda path: path.stem)
def test_a_recorded_chapter_is_answered_alike(replay: Replay, chapter: Path) -> None:
    steps = json.loads(chapter.read_text())["steps"]
    found = []
    for step in steps:
        if "watch=1" in step["request"]["path"]:
            writes = change_while_watched if len(step["answer"]) > 1 else lambda _: None
            wrong = replay.watch(step, writes)
        else:
            wrong = replay.check(step, discovery=chapter.stem.startswith("01"))
        found += [f"{step['name']}: {difference}" for difference in wrong]
    assert not found, "\n".join(found)
