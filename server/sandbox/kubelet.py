"""The kubelet of all nodes: it runs the containers of pods, which only pretend."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from . import containers
from .environment import Missing, environment
from .errors import bad_request
from .logs import Line, Log
from .pods import containers as all_containers
from .pods import finished
from .podstatus import Box, Running, status_of
from .store import Event
from .world import World

Object = dict[str, Any]
COMPONENT = "kubelet"
NOT_THERE = ("nope", "does-not-exist", "missing", ".invalid")
NEVER_READY = "practice.pilothouse.dev/never-ready"
SERVER_LINES_KEPT = 600
# The exit code of a program that ends because it was told to.
TERMINATED = 143
WAITING: Object = {"waiting": {"reason": "ContainerCreating"}}
INITIALIZING: Object = {"waiting": {"reason": "PodInitializing"}}


class Kubelet:
    """Holds the pods that have a node, each with a task of its own."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._boxes: dict[str, Box] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ending: set[str] = set()
        self._addresses = itertools.count(2)
        world.api.store.listen(self._noticed)

    async def stop(self) -> None:
        """Drop everything."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def log(self, pod: Object, name: str, previous: bool) -> Log | None:
        """What a container wrote in this run, or in the one before."""
        meta, spec = pod["metadata"], pod["spec"]
        names = [container["name"] for container in spec["containers"]]
        if not name and len(names) > 1:
            raise bad_request(
                f"a container name must be specified for pod {meta['name']}, choose one of: "
                f"[{' '.join(names)}]"
            )
        name = name or names[0]
        if name not in [container["name"] for container in all_containers(spec)]:
            raise bad_request(f"container {name} is not valid for pod {meta['name']}")
        box = self._boxes.get(meta["uid"])
        about = f'container "{name}" in pod "{meta["name"]}"'
        if box is None:
            if not spec.get("nodeName"):
                raise bad_request(f"pod {meta['name']} does not have a host assigned")
            raise bad_request(f"{about} is waiting to start: ContainerCreating")
        running = next(c for c in [*box.first, *box.containers] if c.spec["name"] == name)
        if previous:
            if running.previous_log is None:
                raise bad_request(
                    f'previous terminated container "{name}" in pod "{meta["name"]}" not found'
                )
            return running.previous_log
        if running.log is None:
            raise bad_request(f"{about} is waiting to start: {_why_waiting(running)}")
        return running.log

    # Following the pods

    def _noticed(self, event: Event) -> None:
        if event.record.kind.kind != "Pod" or event.record.kind.group:
            return
        pod = event.record.object
        uid = pod["metadata"]["uid"]
        if event.type == "DELETED":
            self._drop(uid)
        elif not pod["spec"].get("nodeName"):
            return
        elif uid in self._boxes or uid in self._tasks:
            if uid in self._boxes:
                self._look_again(self._boxes[uid], pod)
            if pod["metadata"].get("deletionTimestamp") and uid not in self._ending:
                self._ending.add(uid)
                self._run(uid, self._end(pod))
        elif not finished(pod):
            self._run(uid, self._live(pod))

    def _look_again(self, box: Box, pod: Object) -> None:
        resized = box.pod["metadata"].get("generation") != pod["metadata"].get("generation")
        box.pod = pod
        if resized and not finished(pod):
            specs = {spec["name"]: spec for spec in pod["spec"]["containers"]}
            for container in box.containers:
                container.spec = specs[container.spec["name"]]
            self._world.clock.call_later(0, partial(self._publish, box))

    def _run(self, uid: str, work: Any) -> None:
        if old := self._tasks.pop(uid, None):
            old.cancel()
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[uid] = task
        task.add_done_callback(partial(self._done, uid))

    def _done(self, uid: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(uid) is task:
            del self._tasks[uid]
        if not task.cancelled() and (wrong := task.exception()):
            asyncio.get_running_loop().call_exception_handler(
                {"message": "the practice kubelet failed", "exception": wrong}
            )

    def _drop(self, uid: str) -> None:
        self._ending.discard(uid)
        if box := self._boxes.pop(uid, None):
            for container in [*box.first, *box.containers]:
                if container.log and not container.log.closed:
                    container.log.close()
        if task := self._tasks.pop(uid, None):
            task.cancel()

    # The life of a pod

    async def _live(self, pod: Object) -> None:
        await self._world.clock.sleep(self._world.timings.start)
        box = self._box(pod)
        for container in box.first:
            await self._keep(box, container)
            if container.exit_code:
                self._publish(box)
                return
        for container in box.containers:
            container.state = dict(WAITING)
        await asyncio.gather(*(self._keep(box, container) for container in box.containers))

    def _box(self, pod: Object) -> Box:
        number = next(self._addresses)
        node = self._world.get("Node", "", pod["spec"]["nodeName"])
        addresses = (node or {}).get("status", {}).get("addresses", [])
        host = next((a["address"] for a in addresses if a["type"] == "InternalIP"), "192.0.2.10")
        spec = pod["spec"]
        state = INITIALIZING if spec.get("initContainers") else WAITING
        box = Box(
            pod,
            f"10.244.{number // 250 % 250}.{number % 250 + 2}",
            host,
            self._world.now(),
            [Running(c, dict(INITIALIZING)) for c in spec.get("initContainers", ())],
            [Running(c, dict(state)) for c in spec["containers"]],
            held_back=pod["metadata"].get("annotations", {}).get(NEVER_READY) == "true",
            changed={
                c["type"]: (c["status"], c["lastTransitionTime"])
                for c in pod.get("status", {}).get("conditions", ())
            },
        )
        self._boxes[pod["metadata"]["uid"]] = box
        return box

    async def _keep(self, box: Box, container: Running) -> None:
        """Run a container, again and again where its pod wants that."""
        backoff = self._world.timings.backoff
        while True:
            await self._wait_until_possible(box, container)
            code = await self._execute(box, container)
            if not self._restarts(box, container, code):
                self._publish(box)
                return
            container.last_state = container.state
            container.previous_log = container.log
            uid = box.pod["metadata"]["uid"]
            name = f"{box.pod['metadata']['name']}_{box.pod['metadata']['namespace']}({uid})"
            said = f"restarting failed container={container.spec['name']} pod={name}"
            container.state = {
                "waiting": {
                    "reason": "CrashLoopBackOff",
                    "message": f"back-off {backoff:g}s {said}",
                }
            }
            self._publish(box)
            self._tell(
                box,
                "Warning",
                "BackOff",
                f"Back-off restarting failed container {container.spec['name']} in pod {name}",
            )
            await self._world.clock.sleep(backoff)
            backoff = min(backoff * 2, self._world.timings.longest_backoff)
            container.restarts += 1

    def _restarts(self, box: Box, container: Running, code: int) -> bool:
        policy = box.pod["spec"].get("restartPolicy")
        if container in box.first:
            return code != 0 and policy != "Never"
        return policy == "Always" or (policy == "OnFailure" and code != 0)

    async def _wait_until_possible(self, box: Box, container: Running) -> None:
        """Wait while its image, or something that its environment needs, is missing."""
        timings, tries = self._world.timings, 0
        waited = timings.pull
        while problem := self._problem(box, container, tries):
            container.state = {"waiting": problem}
            self._publish(box)
            reason, message = problem["reason"], problem["message"]
            image = container.spec.get("image", "")
            if reason == "ErrImagePull":
                said = f'Failed to pull image "{image}": {message}'
                self._tell(box, "Warning", "Failed", said)
                self._tell(box, "Warning", "Failed", f"Error: {reason}")
            elif reason == "ImagePullBackOff":
                self._tell(box, "Normal", "BackOff", f'Back-off pulling image "{image}"')
                self._tell(box, "Warning", "Failed", f"Error: {reason}")
            else:
                self._tell(box, "Warning", "Failed", f"Error: {message}")
            tries += 1
            await self._world.clock.sleep(waited)
            waited = min(waited * 1.5, timings.longest_backoff)

    def _problem(self, box: Box, container: Running, tries: int) -> Object | None:
        image = self._image(box, container)
        if any(part in image for part in NOT_THERE):
            if tries:
                message = f'Back-off pulling image "{image}": {_pull_error(image)}'
                return {"reason": "ImagePullBackOff", "message": message}
            return {"reason": "ErrImagePull", "message": _pull_error(image)}
        try:
            environment(self._world, box, container.spec)
        except Missing as missing:
            return {"reason": "CreateContainerConfigError", "message": str(missing)}
        return None

    def _image(self, box: Box, container: Running) -> str:
        # The image of a container may be changed while it waits for it.
        name = container.spec["name"]
        spec = next(c for c in all_containers(box.pod["spec"]) if c["name"] == name)
        container.spec = spec
        return str(spec.get("image", ""))

    async def _execute(self, box: Box, container: Running) -> int:
        spec, clock = container.spec, self._world.clock
        seed = f"{box.pod['metadata']['uid']}/{spec['name']}/{container.restarts}"
        container.container_id = f"containerd://{hashlib.sha256(seed.encode()).hexdigest()}"
        started = self._world.now()
        command, args = spec.get("command", ()), spec.get("args", ())
        serves = box.pod["spec"].get("restartPolicy") == "Always"
        server = containers.is_server(command, args, serves) and not (command or args)
        log = Log(_server_lines(self._world) if server else None)
        container.log = log
        container.state = {"running": {"startedAt": started}}
        self._publish(box)
        self._tell(box, "Normal", "Started", f"Started container {spec['name']}")
        code = 0
        try:
            if server:
                await asyncio.Event().wait()
            env = environment(self._world, box, spec)
            async for piece in containers.run(
                command, args, env, sleep=clock.sleep, now=clock.now, serves=serves
            ):
                if isinstance(piece, int):
                    code = piece
                else:
                    log.append(clock.now(), piece)
        finally:
            log.close()
        self._terminated(container, code, started)
        return code

    def _terminated(self, container: Running, code: int, started: str) -> None:
        container.state = {
            "terminated": {
                "exitCode": code,
                "reason": "Completed" if code == 0 else "Error",
                "startedAt": started,
                "finishedAt": self._world.now(),
                "containerID": container.container_id,
            }
        }

    async def _end(self, pod: Object) -> None:
        """Stop the containers of a pod that is being deleted, and let it go."""
        await self._world.clock.sleep(self._world.timings.stop)
        box = self._boxes.get(pod["metadata"]["uid"])
        if box:
            for container in [*box.first, *box.containers]:
                if container.running:
                    self._terminated(container, TERMINATED, container.state["running"]["startedAt"])
                if container.log and not container.log.closed:
                    container.log.close()
            box.stopped = True
            if not finished(box.pod):
                self._publish(box)
        self._world.delete("Pod", pod, "Background", grace=0)

    def _publish(self, box: Box) -> None:
        status = status_of(box, self._world.now())
        written = self._world.set_status("Pod", box.pod, status, manager="kubelet")
        if written:
            box.pod = written

    def _tell(self, box: Box, sort: str, reason: str, message: str) -> None:
        self._world.event("Pod", box.pod, sort, reason, message, COMPONENT)


def _why_waiting(container: Running) -> str:
    reason = container.state.get("waiting", {}).get("reason", "ContainerCreating")
    if reason in ("ErrImagePull", "ImagePullBackOff"):
        return "trying and failing to pull image"
    return str(reason)


def _pull_error(image: str) -> str:
    host, _, path = image.partition("/")
    if not path or "." not in host:
        host, path = "registry-1.docker.io", image if "/" in image else f"library/{image}"
    path, _, tag = path.partition(":")
    said = f'failed to pull and unpack image "{image}": failed to resolve image: '
    if host.endswith(".invalid"):
        return (
            f'{said}failed to do request: Head "https://{host}/v2/{path}/manifests/'
            f'{tag or "latest"}": dial tcp: lookup {host}: no such host'
        )
    return f"{said}{image}: not found"


def _server_lines(world: World) -> Callable[[Line | None], list[Line]]:
    """The lines of a server, made up for the time since the last one."""
    started = world.clock.now()

    def lines(last: Line | None) -> list[Line]:
        now = world.clock.now()
        count = int((now - started).total_seconds())
        first = 0
        if last is not None:
            first = round((last[0] - started).total_seconds())
        fresh = [(started, containers.STARTED)] if last is None else []
        for number in range(max(first, count - SERVER_LINES_KEPT), count):
            at = started + timedelta(seconds=number + 1)
            fresh.append((at, containers.access_line(number)))
        return fresh

    return lines
