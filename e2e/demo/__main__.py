"""The story: a cluster, an app that Flux delivers, one Canary, a good release, a bad one, and what came of it."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from e2e.demo import summary
from e2e.demo.cluster import Cluster
from e2e.demo.rollout import PROMOTED, RATE, ROLLED_BACK, Rollout, Stage
from e2e.demo.screen import Screen
from e2e.installation import IMAGES, install
from e2e.lab.build import KUBERNETES_VERSION, ensure_built
from e2e.lab.errors import LabError
from e2e.lab.folder import kept_logs_dir
from e2e.lab.lab import Lab
from e2e.lab.reference import Reference, failing, good
from e2e.lab.system import ensure_packages

CANARY = Path(__file__).with_name("canary.yaml")
NAME = os.environ.get("DEMO_NAME", "demo")
"""Of the lab: two demos can run side by side under two names."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """Somebody wants the demo to end now."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def main() -> int:
    """Show it; the exit code says whether it went as it must."""
    screen = Screen()
    for number in _SIGNALS:
        signal.signal(number, _stop)
    try:
        _demo(screen, keep=os.environ.get("KEEP", "") not in ("", "0"))
    except LabError as error:
        screen.say(f"\nThe demo failed after {screen.elapsed:.0f} s. {error}", "bold red")
        if kept_logs_dir().exists():
            screen.say(f"Logs of the last labs: {kept_logs_dir()}")
        return 1
    except Stopped as stop:
        screen.say(f"\nStopped by {stop}.", "bold")
        return 128 + stop.number
    return 0


def _stop(number: int, _: FrameType | None) -> None:
    """Leave by the way that cleans up; a second signal must not interrupt that."""
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise Stopped(number)


def _demo(screen: Screen, *, keep: bool) -> None:
    ensure_packages()
    ensure_built()
    lab = Lab(NAME, keep=keep, images=IMAGES)
    with ExitStack() as at_end:
        with screen.part(f"a lab: Kubernetes {KUBERNETES_VERSION}, Flux, ingress-nginx, Prometheus"):
            at_end.enter_context(lab)
        if keep:
            at_end.callback(_tell_how_to_reach, screen, lab)
        _play(screen, lab)


def _play(screen: Screen, lab: Lab) -> None:
    """The acts, in a cluster that is up."""
    app = _install(lab, screen)
    with Cluster(lab.kubeconfig) as cluster:
        stage = Stage(lab, app, cluster, screen)
        with stage.load:
            promoted = _good(stage)
            rolled_back = _bad(stage)
    _sum_up(screen, promoted, rolled_back)


def _install(lab: Lab, screen: Screen) -> Reference:
    app = Reference(lab, ["staging"])
    with screen.part("podinfo, release 1, delivered by Flux from Git"):
        app.install(good(1))
        app.wait(120)
    with screen.part("Fluxcanary: kubectl apply -k deploy/"):
        install(lab)
    screen.title("One object is added. Deployment, Service, Ingress and HPA stay as they are.")
    screen.say(CANARY.read_text().rstrip(), "blue")
    lab.apply(CANARY)
    lab.wait_for(lambda: "Initialized" in lab.kubectl("get", "canaries", "-A"), 60, "the Canary to be Initialized")
    screen.note(lab.kubectl("get", "canary", "podinfo", "-n=staging", "-o=jsonpath={..conditions[0].message}"), "green")
    return app


def _good(stage: Stage) -> Rollout:
    stage.screen.title(f"Users send {RATE} requests a second. Release 2 is good.")
    return stage.run(good(2), PROMOTED)


def _bad(stage: Stage) -> Rollout:
    stage.screen.title("Release 3 is bad: a third of its answers are 500.")
    return stage.run(failing(3), ROLLED_BACK)


def _sum_up(screen: Screen, promoted: Rollout, rolled_back: Rollout) -> None:
    screen.title("What happened")
    for text in (*summary.of_good(promoted), "", *summary.of_bad(rolled_back)):
        screen.say(text)
    summary.check(promoted, rolled_back)
    screen.say("")
    screen.note("done", "bold green")


def _tell_how_to_reach(screen: Screen, lab: Lab) -> None:
    screen.title("The cluster stays up (KEEP=1)")
    screen.say(f"Its kubectl:                  {lab.kubectl_script} get canary -n staging")
    screen.say(f"A shell in its network:       {lab.shell_command}")
    screen.say(
        f"A release of your own:        commit and push in {lab.git.work_tree('podinfo')} (Flux looks once a minute)"
    )
    screen.say(f"To end it:                    {Path(sys.executable)} -m e2e.lab down {NAME}")


if __name__ == "__main__":
    raise SystemExit(main())
