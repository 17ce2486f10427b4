"""The node: follows the pods that are bound to it, and keeps an agent for each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import aiohttp

from e2e.lab.node.api import ApiError
from e2e.lab.node.machine import Machine
from e2e.lab.node.objects import NODE_NAME, Json
from e2e.lab.node.pod_agent import PodAgent
from e2e.lab.node.pods import Pod, parse_pod
from e2e.lab.node.registration import keep_alive, register

_PODS = "/api/v1/pods"
_OWN_PODS = {"fieldSelector": f"spec.nodeName={NODE_NAME}"}
_LAST_SECONDS = 1.0
"""What containers are given to end by themselves when the agent is told to stop."""

_log = logging.getLogger("lab.node")


class Node:
    """The node: registers itself, and keeps an agent for each pod bound to it."""

    def __init__(self, machine: Machine, agent: Callable[[Pod, Machine], PodAgent]) -> None:
        """Take what the pods share, and what begins a pod's life."""
        self._machine = machine
        self._agent = agent
        self._pods: dict[str, PodAgent] = {}

    async def serve(self) -> None:
        """Register, then follow the pods until cancelled."""
        await register(self._machine.api)
        self._machine.spawn(keep_alive(self._machine.api), "heartbeat")
        version = ""
        while True:
            try:
                version = version or await self._list()
                async for event in self._machine.api.watch(_PODS, {**_OWN_PODS, "resourceVersion": version}):
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._take(event)
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                _log.warning("watch of pods: %s %s", type(error).__name__, error)
                if isinstance(error, ApiError):
                    version = ""  # the history that is needed may be gone (410)
                await asyncio.sleep(0.5)

    async def stop(self) -> None:
        """End all pods' processes; the pods stay in the API, as those of a node that lost its power."""
        await asyncio.gather(*(pod.leave(_LAST_SECONDS) for pod in self._pods.values()))

    async def _list(self) -> str:
        """Bring the agents in line with the pods that there are; give the resourceVersion to watch from."""
        found = await self._machine.api.call("GET", _PODS, query=_OWN_PODS)
        pods = [parse_pod(raw) for raw in found["items"]]
        for uid in set(self._pods) - {pod.uid for pod in pods}:
            self._vanished(uid)
        for pod in pods:
            self._seen(pod)
        return str(found["metadata"]["resourceVersion"])

    def _take(self, event: Json) -> None:
        """Pass an event on to the pod's agent; the rest are bookmarks, which have a version and nothing else."""
        if event["type"] in ("ADDED", "MODIFIED"):
            self._seen(parse_pod(event["object"]))
        elif event["type"] == "DELETED":
            self._vanished(event["object"]["metadata"]["uid"])

    def _seen(self, pod: Pod) -> None:
        """Tell the pod's agent; a pod that has ended for good needs one only to be deleted."""
        agent = self._pods.get(pod.uid)
        if agent is None and pod.phase in ("Succeeded", "Failed") and pod.terminating_grace_seconds is None:
            return
        if agent is None:
            agent = self._pods[pod.uid] = self._agent(pod, self._machine)
        agent.update(pod)

    def _vanished(self, uid: str) -> None:
        """End a pod that is no longer in the API, if it has not ended already."""
        agent = self._pods.pop(uid, None)
        if agent is not None:
            self._machine.spawn(agent.leave(0), f"end of {agent.pod.path}")
