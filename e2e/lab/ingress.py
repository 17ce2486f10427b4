"""The real ingress-nginx controller, with Debian's nginx in the place of its image's.

What the image has and Debian has not (a stream module, some Lua libraries) is taken out of the template or replaced by
small shims; the splitting of traffic, the metrics and the way of configuring it are the controller's own.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from e2e.lab import users
from e2e.lab.build import INGRESS_NGINX
from e2e.lab.errors import LabError
from e2e.lab.process import Process
from e2e.lab.ready import answers
from e2e.lab.start import Start
from e2e.lab.users import Credentials

METRICS = "127.0.0.1:10254"
HTTP_PORT = 8080
HTTPS_PORT = 8443

_ROUND_ROBIN = """\
-- Stands in for lua-resty-balancer's C library: each server in turn. Weights are ignored, they are all 1 here.
local _M = {}
local mt = { __index = _M }

local function fill(self, nodes)
  self.nodes = nodes
  self.ids = {}
  for id in pairs(nodes) do
    self.ids[#self.ids + 1] = id
  end
  self.last = math.random(0, math.max(#self.ids - 1, 0))
end

function _M.new(_, nodes)
  local self = setmetatable({}, mt)
  fill(self, nodes)
  return self
end

function _M.reinit(self, nodes)
  fill(self, nodes)
end

function _M.find(self)
  if #self.ids == 0 then
    return nil
  end
  self.last = self.last % #self.ids + 1
  return self.ids[self.last]
end

return _M
"""
_EMPTY = "return {}\n"
SHIMS: dict[str, str] = {
    "cookie.lua": 'return require("nginx.cookie")\n',
    "dns/resolver.lua": 'return require("nginx.dns.resolver")\n',
    "http.lua": _EMPTY,
    "chash.lua": _EMPTY,
    "global_throttle.lua": _EMPTY,
    "ipmatcher.lua": _EMPTY,
    "lock.lua": "return { new = function() return {} end }\n",
    "roundrobin.lua": _ROUND_ROBIN,
}
"""Lua modules below lua/resty: renamed in Debian, or only there to be loaded (OCSP, upstream-hash-by,
global-rate-limit and load-balance: ewma do not work in the lab)."""

MOUNT_POINTS: dict[str, str] = {
    "etc-nginx": "/etc/nginx",
    "etc-controller": "/etc/ingress-controller",
    "tmp": "/tmp/nginx",  # noqa: S108 - a mount point, empty on the machine itself
    "log": "/var/log/nginx",
    "lib": "/var/lib/nginx",
}
"""Folder of the lab → where the controller sees it: paths that are compiled into the controller and into nginx."""


def start_ingress_nginx(start: Start, credentials: Credentials, folder: Path) -> Process:
    """Start the controller, which starts nginx."""
    _lay_out(credentials, folder)
    return start("ingress-nginx", _command(folder), wrappers=1)


def ingress_nginx_ready() -> bool:
    """Whether the controller and its nginx have a configuration.

    A second later the last 503 is gone: whoever has an app waits for 50 good answers in a row.
    """
    return answers(f"http://{METRICS}/healthz")


def _lay_out(credentials: Credentials, folder: Path) -> None:
    """Make the folders that are mounted over the machine's, owned by the user that nginx runs as."""
    shutil.copytree(INGRESS_NGINX.program("etc-nginx"), folder / "etc-nginx")
    shutil.copy("/etc/nginx/mime.types", folder / "etc-nginx")
    template = folder / "etc-nginx" / "template" / "nginx.tmpl"
    template.write_text(adapt_template(template.read_text()))
    for name, text in SHIMS.items():
        shim = folder / "etc-nginx" / "lua" / "resty" / name
        shim.parent.mkdir(parents=True, exist_ok=True)
        shim.write_text(text)
    for name in ("ssl", "auth", "telemetry"):
        (folder / "etc-controller" / name).mkdir(parents=True)
    shutil.copy(credentials.kubeconfig(users.INGRESS_NGINX), folder / "etc-controller" / "kubeconfig")
    shutil.copy(credentials.certificate, folder / "etc-controller" / "ca.crt")
    _point_at_ca(folder / "etc-controller" / "kubeconfig", credentials.certificate)
    # www-data cannot look into a home's cache, so the program comes along.
    shutil.copy(INGRESS_NGINX.program("nginx-ingress-controller"), folder / "etc-controller")
    for name in ("tmp", "log", "lib"):
        (folder / name).mkdir()
    for path in _everything(folder):
        shutil.chown(path, "www-data", "www-data")
    for mount_point in MOUNT_POINTS.values():
        Path(mount_point).mkdir(parents=True, exist_ok=True)


def adapt_template(text: str) -> str:
    """Make nginx.tmpl fit Debian's nginx: no stream block, and a listener for what is posted to it."""
    without_stream, removed = re.subn(r"^stream \{\n.*?^\}\n", "", text, count=1, flags=re.MULTILINE | re.DOTALL)
    listen = "listen 127.0.0.1:{{ .StatusPort }};"
    if removed != 1 or without_stream.count(listen) != 1:
        raise LabError("ingress-nginx: nginx.tmpl is not the one that the lab knows how to adapt")
    # The first sync posts an empty TCP and UDP list there: with nobody listening no backend is ever configured.
    return without_stream.replace(listen, f"{listen} listen 127.0.0.1:{{{{ .StreamPort }}}};")


def _point_at_ca(kubeconfig: Path, certificate: Path) -> None:
    """Let the copy name the certificate's copy: the lab's own credentials are for root alone."""
    text = kubeconfig.read_text()
    kubeconfig.write_text(text.replace(str(certificate), "/etc/ingress-controller/ca.crt"))


def _everything(folder: Path) -> Iterator[Path]:
    """The folder and all below it."""
    yield folder
    yield from folder.rglob("*")


def _command(folder: Path) -> list[str]:
    """The controller in pid and mount namespaces of its own.

    A pid namespace, for a killed controller would leave its nginx behind, and a stopping one waits for every process
    called nginx that it sees. setpriv sets the parent-death signal again that its change of user clears.
    """
    binds = " && ".join(f"mount --bind {folder / name} {target}" for name, target in MOUNT_POINTS.items())
    environment = [
        "env",
        "-i",
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME=/tmp",
        "NGINX_BINARY=/usr/sbin/nginx",
        "POD_NAME=ingress-nginx-controller-0",
        "POD_NAMESPACE=ingress-nginx",
    ]
    as_www_data = [
        "setpriv",
        "--pdeathsig=KILL",
        "--reuid=www-data",
        "--regid=www-data",
        "--clear-groups",
        "--inh-caps=-all",
        "--no-new-privs",
    ]
    controller = [
        "/etc/ingress-controller/nginx-ingress-controller",
        "--kubeconfig=/etc/ingress-controller/kubeconfig",
        "--configmap=ingress-nginx/ingress-nginx-controller",
        f"--http-port={HTTP_PORT}",
        f"--https-port={HTTPS_PORT}",
        "--healthz-host=127.0.0.1",
        "--publish-status-address=10.244.0.1",
        "--post-shutdown-grace-period=0",
        # Below 1, for nginx compares whole seconds: of two changes in one second a worker could keep the older.
        "--sync-rate-limit=0.9",
    ]
    isolated = ["unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
    return [*environment, *isolated, "sh", "-c", f'{binds} && exec "$@"', "sh", *as_www_data, *controller]
