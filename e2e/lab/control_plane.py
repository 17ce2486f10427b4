"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler of a lab: the real ones, on one binary.

RBAC and the audit log are on, every program has its own user. The API server listens on every address of the lab's
network, so that pods reach it at 10.244.0.1:6443; the certificate that it signs for itself names that address
and the one of the Service `kubernetes`.
"""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

from e2e.lab import users
from e2e.lab.build import KUBE
from e2e.lab.ready import answers, await_part
from e2e.lab.start import Start
from e2e.lab.users import Credentials

ETCD_URL = "http://127.0.0.1:2379"
ETCD_PEER_URL = "http://127.0.0.1:2380"
SERVICE_RANGE = "10.96.0.0/16"
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: Metadata
"""
_NOT_HERE = ("nodeipam", "cloud-node-lifecycle", "node-lifecycle-controller", "taint-eviction-controller")


class ControlPlane:
    """The four programs of one lab's control plane."""

    def __init__(self, folder: Path, credentials: Credentials) -> None:
        """Lay out the folder; `start` starts the programs."""
        self._credentials = credentials
        self._etcd_data = folder / "etcd"
        self._audit_policy = folder / "audit-policy.yaml"
        self._service_account_key = credentials.folder / "service-account.key"
        self.audit_log = folder / "audit.log"

    def start(self, start: Start) -> None:
        """Start all four and return when the API server is ready; the other two then soon are."""
        self._write_files()
        start("etcd", self._etcd_command())
        apiserver = start("kube-apiserver", self._apiserver_command())
        # Its readiness includes the default RBAC rules: the other two end themselves where they are forbidden to read.
        await_part(apiserver, self.ready)
        start("kube-controller-manager", self._controller_manager_command())
        start("kube-scheduler", self._scheduler_command())

    def _write_files(self) -> None:
        """Write what the programs read at their start."""
        self._audit_policy.write_text(AUDIT_POLICY)
        subprocess.run(
            ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self._service_account_key],
            check=True,
            capture_output=True,
        )

    def _etcd_command(self) -> list[str]:
        return [
            str(KUBE.program("labkube")),
            "etcd",
            f"--data-dir={self._etcd_data}",
            f"--listen-client-urls={ETCD_URL}",
            f"--advertise-client-urls={ETCD_URL}",
            f"--listen-peer-urls={ETCD_PEER_URL}",
            f"--initial-advertise-peer-urls={ETCD_PEER_URL}",
            f"--initial-cluster=default={ETCD_PEER_URL}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def _apiserver_command(self) -> list[str]:
        return [
            str(KUBE.program("labkube")),
            "kube-apiserver",
            f"--etcd-servers={ETCD_URL}",
            f"--cert-dir={self._credentials.certificate.parent}",
            "--bind-address=0.0.0.0",
            "--secure-port=6443",
            "--advertise-address=10.244.0.1",
            "--endpoint-reconciler-type=none",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={self._service_account_key}",
            f"--service-account-signing-key-file={self._service_account_key}",
            f"--token-auth-file={self._credentials.write_token_file()}",
            "--authorization-mode=RBAC",
            f"--audit-log-path={self.audit_log}",
            f"--audit-policy-file={self._audit_policy}",
        ]

    def _controller_manager_command(self) -> list[str]:
        kubeconfig = self._credentials.kubeconfig(users.CONTROLLER_MANAGER)
        return [
            str(KUBE.program("labkube")),
            "kube-controller-manager",
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            # Each controller acts as its own service account, with the few rights that Kubernetes gives to it.
            "--use-service-account-credentials=true",
            # The defaults (20 a second) are for sparing a distant API server; here they cost 3 s at the start.
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            f"--service-account-private-key-file={self._service_account_key}",
            f"--root-ca-file={self._credentials.certificate}",
            f"--controllers=*,{','.join(f'-{name}' for name in _NOT_HERE)}",
        ]

    def _scheduler_command(self) -> list[str]:
        kubeconfig = self._credentials.kubeconfig(users.SCHEDULER)
        return [
            str(KUBE.program("labkube")),
            "kube-scheduler",
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
        ]

    def ready(self) -> bool:
        """Whether the API server is ready, and shows the certificate that the kubeconfigs trust."""
        if not self._credentials.certificate.exists():
            return False
        trusted = ssl.create_default_context(cafile=str(self._credentials.certificate))
        return answers(f"{users.API_SERVER}/readyz", trusted=trusted)
