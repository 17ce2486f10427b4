"""An independent witness of the design's invariants: it watches the cluster and says which were broken.

It knows nothing of the operator's code. The invariants are in `e2e.rules`.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from e2e.lab.errors import CommandFailed, TimedOut
from e2e.lab.lab import Lab, kubectl_program
from e2e.rules import Case
from e2e.sights import SKEW_SECONDS, Manifest, Sight, Sights

_KINDS = {"deployments": "Deployment", "ingresses": "Ingress", "canaries": "Canary"}
_LABELLED = "deployments,replicasets,services,ingresses,endpointslices,pods,configmaps,horizontalpodautoscalers"
_CANARY_LABEL, _FLOOR_LABEL = "fluxcanary.dev/canary", "fluxcanary.dev/floor"
_AGAIN_SECONDS = 0.3


@dataclass
class Witness:
    """Watches one namespace between `__enter__` and `__exit__`, where it raises if a rule was broken."""

    lab: Lab
    namespace: str
    targets: Sequence[str] = ("podinfo",)
    """The Deployments that the Canary lists."""
    canary: str = ""
    """The Canary's name; the first target's where empty."""
    sights: Sights = field(default_factory=Sights)
    _watches: list[_Watch] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Begin to watch; returns when all that is there has been seen."""
        self._watches = [_Watch(self, resource) for resource in _KINDS]
        there = self.lab.get(",".join(_KINDS), f"--namespace={self.namespace}")["items"]
        named = [(obj["kind"], obj["metadata"]["name"]) for obj in there]
        self.lab.wait_for(lambda: all(self.history(*name) for name in named), 30, f"the witness to see {named}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching; say what was broken, unless the test has failed already."""
        time.sleep(SKEW_SECONDS)
        for watch in self._watches:
            watch.stop()
        broken = self.broken()
        if error is None:
            assert not broken, "\n".join(broken)

    def broken(self) -> list[str]:
        """A sentence for each rule that did not hold so far, and for each target of which nothing was seen."""
        unseen = [target for target in self.targets if not self.history("Deployment", target)]
        case = Case(self.sights, self.canary or self.targets[0], tuple(self.targets))
        return [*(f"Deployment {target} was never seen" for target in unseen), *case.broken()]

    def history(self, kind: str, name: str) -> tuple[Sight, ...]:
        """All that was seen of an object."""
        return self.sights.history(kind, name)

    def nothing_left(self, timeout: float = 60) -> None:
        """S12: wait until nothing of a rollout is left; pods have their grace period. Raises AssertionError."""
        await_nothing_left(self.lab, self.namespace, timeout)


class _Watch:
    """One `kubectl get --watch` in a thread, begun again when the API server ends it."""

    def __init__(self, witness: Witness, resource: str) -> None:
        self._witness = witness
        self._resource = resource
        self._stopping = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._run, name=f"witness of {resource}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it; all that it has received is taken in."""
        self._stopping.set()
        self._process.terminate()
        self._thread.join()

    def _start(self) -> subprocess.Popen[str]:
        argv = [kubectl_program(), f"--kubeconfig={self._witness.lab.kubeconfig}", "get", self._resource]
        options = [f"--namespace={self._witness.namespace}", "--watch", "--output-watch-events", "--output=json"]
        return subprocess.Popen(
            [*argv, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        )

    def _run(self) -> None:
        while True:
            self._follow()
            self._process.wait()
            if self._stopping.wait(_AGAIN_SECONDS):
                return
            self._process = self._start()
            if self._stopping.is_set():
                self._process.terminate()
            self._miss_what_went()

    def _follow(self) -> None:
        """Take in one stream to its end; each event is a line of JSON. The last one may be cut off."""
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                if line.endswith("\n"):
                    self._see(json.loads(line))

    def _see(self, event: Manifest) -> None:
        self._witness.sights.see(time.time(), event["object"], gone=event["type"] == "DELETED")

    def _miss_what_went(self) -> None:
        """A new stream begins with all that is there, and says nothing of what went while there was none."""
        try:
            found = self._witness.lab.get(self._resource, f"--namespace={self._witness.namespace}")
        except CommandFailed:
            return
        names = [item["metadata"]["name"] for item in found["items"]]
        self._witness.sights.see_only(time.time(), _KINDS[self._resource], names)


def leftovers(lab: Lab, namespace: str) -> list[str]:
    """What a rollout has left in a namespace: its objects, floors of HPAs, annotations of routes."""
    where = f"--namespace={namespace}"
    own = lab.kubectl("get", _LABELLED, where, f"--selector={_CANARY_LABEL}", "--output=name").split()
    floors = lab.kubectl("get", "horizontalpodautoscalers", where, f"--selector={_FLOOR_LABEL}", "--output=name")
    ingresses = lab.get("ingresses", where)["items"]
    routes = [f"ingress/{ingress['metadata']['name']}" for ingress in ingresses if _has_canary_annotation(ingress)]
    return sorted({*own, *floors.split(), *routes})


def await_nothing_left(lab: Lab, namespace: str, timeout: float = 60) -> None:
    """Wait until nothing of a rollout is left. Raises AssertionError, which names what is."""
    try:
        lab.wait_for(lambda: not leftovers(lab, namespace), timeout, "nothing to be left of a canary")
    except TimedOut as late:
        raise AssertionError(
            f"S12: left of a canary in {namespace} after {timeout:g} s: {leftovers(lab, namespace)}"
        ) from late


def _has_canary_annotation(ingress: Manifest) -> bool:
    annotations = ingress["metadata"].get("annotations") or {}
    return any(key.startswith("nginx.ingress.kubernetes.io/canary") for key in annotations)
