"""Replays recorded requests against the practice cluster and says where its answers differ."""

import json
import re
import threading
import time
from pathlib import Path
from typing import Any

import httpx

FOLDER = Path(__file__).parents[3].parent / "shared" / "data" / "kube-api"
DEADLINE = 5.0

# What is another value every time.
VOLATILE = {
    "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "time", "startedAt",
    "finishedAt", "startTime", "completionTime", "firstTimestamp", "lastTimestamp", "hostIP",
    "podIP", "ip", "imageID", "containerID", "description", "continue", "remainingItemCount",
    "serverAddress", "lastProbeTime", "lastTransitionTime", "lastUpdateTime",
}  # fmt: skip
# Texts that differ in every run: names that were made up, addresses, ages.
MASKS = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
    (r"kube-api-access-[a-z0-9]{5}", "TOKEN"),
    (r"web-[a-z0-9]{8,10}(-[a-z0-9]{5}|\.[0-9a-f]{16})?", "WEB"),
    (r"\b(good|bad|late|noimage|made)-[a-z0-9]{5}\b", r"\1-POD"),
    (r"\b\d+\.\d+\.\d+\.\d+(:\d+)?\b", "ADDRESS"),
    (r"^\d+[smhd](\d+[smh])?$", "AGE"),
    (r"tick \d+", "tick N"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"\b[a-z0-9]{8,10}$(?<=[a-z0-9]{8})", lambda m: "HASH" if m[0][0].isdigit() else m[0]),
    (r"lookup \S+ on ADDRESS", "lookup"), (r"lookup (\S+): no", "lookup: no"),
    (r"too old resource version: 1 \(\d+\)", "too old"),
    (r"busybox:1.3[67]", "busybox"), (r"docker.io/library/", ""),
)  # fmt: skip


def chapters() -> list[Path]:
    return sorted(FOLDER.glob("*.json"))


def masked(text: str) -> str:
    for pattern, replacement in MASKS:
        text = re.sub(pattern, replacement, text)
    return text


def differences(want: Any, got: Any, path: str = "", counts: bool = False) -> list[str]:
    """Where an answer is not of the recorded shape; `counts` are taken as they come."""
    if isinstance(want, dict) and isinstance(got, dict):
        want = {masked(key): value for key, value in want.items()}
        got = {masked(key): value for key, value in got.items()}
        found = [f"{path}.{key}: missing" for key in want.keys() - got.keys()]
        found += [f"{path}.{key}: not recorded ({got[key]})" for key in got.keys() - want.keys()]
        for key in want.keys() & got.keys():
            if key not in VOLATILE:
                inside = counts or key == "status"
                found += differences(want[key], got[key], f"{path}.{key}", inside)
        return found
    if isinstance(want, list) and isinstance(got, list):
        if path.endswith("managedFields"):
            want, got = (sorted(entries, key=by_manager) for entries in (want, got))
        if len(want) != len(got):
            return [f"{path}: {len(want)} recorded, got {len(got)}: {json.dumps(got)[:300]}"]
        pairs = enumerate(zip(want, got, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, f"{path}[{i}]", counts)]
    if isinstance(want, str) and isinstance(got, str):
        want, got = masked(want), masked(got)
    if counts and isinstance(want, int) and type(want) is type(got) and not isinstance(want, bool):
        return []
    return [] if want == got else [f"{path}: recorded {want!r}, got {got!r}"]


def by_manager(entry: dict[str, Any]) -> tuple[str, ...]:
    return tuple(entry.get(key, "") for key in ("manager", "operation", "subresource"))


def subset(want: Any, got: Any) -> list[str]:
    """Where discovery says something of a kind that was recorded otherwise; kinds may be missing,
    as they may have less to them, and ours may have more."""
    if "resources" not in want and "groups" not in want:
        return differences(want, got)
    key = "resources" if "resources" in want else "groups"
    recorded = {entry["name"]: entry for entry in want[key]}
    found = differences(want | {key: []}, got | {key: []})
    for entry in got[key]:
        same = recorded.get(entry["name"])
        if same and key == "resources":
            found += differences(same, entry, entry["name"])
    return found


class Replay:
    """Our cluster, and what in it corresponds to what was recorded."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(
            base_url=url, headers={"User-Agent": "python-requests/2"}, timeout=10, verify=False
        )
        self.ours: dict[str, str] = {}

    def send(self, request: dict[str, Any]) -> httpx.Response:
        headers = {"Accept": request.get("accept", "application/json")}
        token = request.get("token", "admin")
        if token:
            headers["Authorization"] = f"Bearer {token}"
        other = request.get("impersonate")
        if other:
            headers["Impersonate-User"] = other["user"]
        listed = [("Impersonate-Group", group) for group in (other or {}).get("groups", ())]
        content = None
        if "body" in request:
            headers["Content-Type"] = request["content_type"]
            content = self._translated(json.dumps(request["body"]))
        path = self._translated(self._pod_known(request["path"]))
        return self.client.request(
            request["method"], path, content=content, headers=[*headers.items(), *listed]
        )

    def check(self, step: dict[str, Any], discovery: bool = False) -> list[str]:
        """Send one recorded request; what is read is read again until it is as recorded."""
        if "conditions" in json.dumps(step["answer"]) and step["request"]["method"] != "GET":
            self.wait_until_still()
        until = time.monotonic() + DEADLINE
        while True:
            found = self._once(step, discovery)
            if not found or step["request"]["method"] != "GET" or time.monotonic() > until:
                return found
            time.sleep(0.01)

    def _once(self, step: dict[str, Any], discovery: bool) -> list[str]:
        response = self.send(step["request"])
        if response.status_code != step["status"]:
            return [
                f"status {step['status']} recorded, got {response.status_code}: "
                f"{response.text[:300]}"
            ]
        want = step["answer"]
        got = response.text if isinstance(want, str) else response.json()
        kind = response.headers["content-type"]
        if kind != step.get("content_type", kind):
            return [f"content type {step['content_type']} recorded, got {kind}"]
        found = (subset if discovery else differences)(want, got)
        if not found and not discovery:
            self._learn(want, got)
        return found

    def watch(self, step: dict[str, Any], writes: Any) -> list[str]:
        """Watch, and write meanwhile."""
        start = self.client.get("/api/v1/namespaces/acme/configmaps", headers=ADMIN).json()
        revision = re.search(r"resourceVersion=(\d+)", step["request"]["path"])
        assert revision
        if len(revision[1]) > 1:
            self.ours[revision[1]] = start["metadata"]["resourceVersion"]
        lines: list[Any] = []
        opened = threading.Event()

        def read() -> None:
            path = self._translated(step["request"]["path"])
            with self.client.stream("GET", path, headers=ADMIN) as response:
                opened.set()
                lines.extend(json.loads(line) for line in response.iter_lines())

        thread = threading.Thread(target=read)
        thread.start()
        opened.wait(DEADLINE)
        writes(self)
        thread.join(DEADLINE)
        return differences(step["answer"], lines)

    def wait_until_still(self) -> None:
        """Until nothing has changed for a while."""
        revision, since = "", time.monotonic()
        until = since + DEADLINE
        while time.monotonic() < until:
            listed = self.client.get("/api/v1/nodes?limit=1", headers=ADMIN).json()
            now = listed["metadata"]["resourceVersion"]
            if now != revision:
                revision, since = now, time.monotonic()
            elif time.monotonic() - since > 0.1:
                return
            time.sleep(0.01)

    def _learn(self, want: Any, got: Any) -> None:
        if isinstance(want, dict) and isinstance(got, dict):
            for key in want.keys() & got.keys():
                made_up = key == "name" and masked(want[key]) == masked(got[key])
                if made_up or key in ("uid", "resourceVersion", "continue"):
                    self.ours[str(want[key])] = str(got[key])
                self._learn(want[key], got[key])
        elif isinstance(want, list) and isinstance(got, list):
            for a, b in zip(want, got, strict=False):
                self._learn(a, b)

    def _translated(self, text: str) -> str:
        for recorded, ours in self.ours.items():
            if len(recorded) > 3:
                text = text.replace(recorded, ours)
        return text

    def _pod_known(self, path: str) -> str:
        """The recording read a pod that no recorded answer had named before."""
        match = re.search(r"/pods/(web-[a-z0-9]+-[a-z0-9]{5})", path)
        if match and match[1] not in self.ours:
            path_of_all = "/api/v1/namespaces/acme/pods?labelSelector=app%3Dweb"
            pods = self.client.get(path_of_all, headers=ADMIN).json()["items"]
            alive = [
                p
                for p in pods
                if "deletionTimestamp" not in p["metadata"] and p["metadata"].get("annotations")
            ]
            if alive:
                self.ours[match[1]] = alive[-1]["metadata"]["name"]
        return path


ADMIN = {"Authorization": "Bearer admin"}
