"""The API server for many apps at once: one connection for writes, one stream a kind for all namespaces."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from e2e.sights import Sights

Manifest = dict[str, Any]

PATHS = {
    "Namespace": "/api/v1/namespaces",
    "Service": "/api/v1/namespaces/{}/services",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/{}/ingresses",
    "Canary": "/apis/fluxcanary.dev/v1beta1/namespaces/{}/canaries",
}
_WATCHED = {
    "Deployment": "/apis/apps/v1/deployments",
    "Ingress": "/apis/networking.k8s.io/v1/ingresses",
    "Canary": "/apis/fluxcanary.dev/v1beta1/canaries",
}
_AGAIN_SECONDS = 0.3


class Api:
    """The API server, as the one who applies the apps; used by many threads."""

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        trust = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self.http = httpx.Client(
            base_url=cluster["server"],
            headers={"Authorization": f"Bearer {user['token']}"},
            verify=trust,
            timeout=httpx.Timeout(30, read=None),
            trust_env=False,
        )

    def apply(self, manifest: Manifest) -> None:
        """Server-side apply, as Flux does it."""
        metadata = manifest["metadata"]
        path = f"{PATHS[manifest['kind']].format(metadata.get('namespace'))}/{metadata['name']}"
        self._ask("PATCH", f"{path}?fieldManager=flux&force=true", manifest, "application/apply-patch+yaml")

    def patch(self, kind: str, namespace: str, name: str, body: Manifest) -> None:
        """Merge patch, as a human does it."""
        path = f"{PATHS[kind].format(namespace)}/{name}?fieldManager=human"
        self._ask("PATCH", path, body, "application/merge-patch+json")

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object and, in the background, what it owns; nothing happens where there is none."""
        answer = self.http.delete(f"{PATHS[kind].format(namespace)}/{name}?propagationPolicy=Background")
        if answer.status_code != httpx.codes.NOT_FOUND:
            answer.raise_for_status()

    def names(self, kind: str, namespace: str, selector: str) -> list[str]:
        """What there is of a kind with these labels."""
        answer = self.http.get(PATHS[kind].format(namespace), params={"labelSelector": selector}).raise_for_status()
        return [item["metadata"]["name"] for item in answer.json()["items"]]

    def _ask(self, method: str, path: str, body: Manifest, content_type: str) -> None:
        answer = self.http.request(method, path, content=json.dumps(body), headers={"Content-Type": content_type})
        if answer.is_error:
            raise AssertionError(f"{method} {path}: {answer.text}")


class Observatory:
    """Watches the Deployments, Ingresses and Canaries of all namespaces, for `e2e.rules` and for those who wait."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._sights: defaultdict[str, Sights] = defaultdict(Sights)
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(kind, path), daemon=True) for kind, path in _WATCHED.items()
        ]

    def __enter__(self) -> Self:
        """Begin to watch."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching: the streams end with the client."""
        self._stopping.set()
        self._api.http.close()
        for thread in self._threads:
            thread.join(5)

    def sights(self, namespace: str) -> Sights:
        """What was seen of a namespace."""
        return self._sights[namespace]

    def _run(self, kind: str, path: str) -> None:
        while not self._stopping.is_set():
            try:
                self._follow(kind, path)
            except (httpx.TransportError, httpx.StreamError, RuntimeError):
                self._stopping.wait(_AGAIN_SECONDS)

    def _follow(self, kind: str, path: str) -> None:
        """One stream, of some seconds: from a listing on, so that nothing that went meanwhile is missed."""
        listed = self._api.http.get(path).raise_for_status().json()
        now = time.time()
        for obj in listed["items"]:
            self._sights[obj["metadata"]["namespace"]].see(now, {**obj, "kind": kind})
        present: defaultdict[str, set[str]] = defaultdict(set)
        for obj in listed["items"]:
            present[obj["metadata"]["namespace"]].add(obj["metadata"]["name"])
        for namespace, sights in list(self._sights.items()):
            sights.see_only(now, kind, present[namespace])
        version = listed["metadata"]["resourceVersion"]
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "300"}
        with self._api.http.stream("GET", path, params=query) as stream:
            for line in stream.iter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                obj = event["object"]
                self._sights[obj["metadata"]["namespace"]].see(time.time(), obj, gone=event["type"] == "DELETED")
