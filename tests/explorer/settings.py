"""The settings that are explored: a spec and its edits, the targets, the templates, and what may happen."""

from dataclasses import dataclass, field
from typing import Any

from canary.model.share import NOTHING, Share
from canary.model.spec import CanarySpec, parse_spec
from canary.model.template import Json
from tests.manifests import template

A, B, C = range(3)
"""What serves; a good template; one that is measured as bad."""
BAD = C
RESTARTED = 3
"""A again, restarted by kubectl."""

QUEUE = {"name": "queue-length", "query": "queue_length", "thresholdRange": {"max": 5}}
ANALYSIS: Json = {"interval": "10s", "threshold": 2, "errorLimit": "10s", "metrics": [QUEUE]}
STEPS = [{"weight": 20, "for": "10s", "maxFor": "15s"}, {"weight": 80, "for": "10s", "maxFor": "15s"}]
BASE: Json = {
    "targets": [{"name": "x"}],
    "steps": STEPS,
    "analysis": ANALYSIS,
    "progressDeadlineSeconds": 15,
    "knownGoodRevisions": 0,
}


def spec(**fields: Any) -> CanarySpec:
    """The base with other fields."""
    return parse_spec({**BASE, **fields})


def hook(type_: str, on_timeout: str = "hold") -> Json:
    """A webhook named after its type."""
    return {"name": type_, "type": type_, "url": "http://gate.staging/", "onTimeout": on_timeout}


@dataclass(frozen=True)
class Setting:
    """One cluster to explore."""

    name: str
    specs: tuple[CanarySpec, ...]
    """The one at the beginning, and what it may be edited to."""
    apps: tuple[str, ...] = ("x",)
    templates: tuple[int, ...] = (A, B, C)
    without_traffic: frozenset[str] = frozenset()
    autoscaled: bool = False
    commands: tuple[str, ...] = ()
    command_costs: int = 1
    """Whether a command is an interruption."""
    tampering: bool = True
    """Whether somebody touches our objects."""
    flux: bool = False
    """Whether Flux waits for health."""
    shares: tuple[Share, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Number all shares of all specs."""
        found = dict.fromkeys(step.share for one in self.specs for step in one.steps)
        object.__setattr__(self, "shares", (NOTHING, *found))

    def pods(self, app: str, number: int) -> Json:
        """A template."""
        made = template(f"{app}:{'ABCA'[number]}", {"app": app})
        if number == RESTARTED:
            made["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "now"}
        return made

    def name_of(self, number: int) -> str:
        """Of a template."""
        return ("A", "B", "C", "A restarted")[number]


ALL = ("abort", "pause", "resume", "retry", "promote", "advance")

SINGLE = Setting(
    "one target, two steps, edits",
    (spec(), spec(steps=[{"weight": 50, "for": "5s", "maxFor": "10s"}])),
    flux=True,
)
COMMANDS = Setting("commands", (spec(),), commands=ALL, tampering=False)
HELD = Setting(
    "onFailure: hold, and a manual gate",
    (spec(onFailure="hold", steps=[{**STEPS[0], "gate": "manual"}, STEPS[1]]),),
    commands=("abort", "promote", "advance"),
    tampering=False,
)
GATES = Setting(
    "gates and hooks",
    (
        spec(
            webhooks=[hook("confirm-rollout"), hook("pre-rollout"), hook("confirm-promotion"), hook("post-rollout")],
            freeze={"alerts": [{"name": "Burning"}]},
            steps=STEPS[:1],
        ),
    ),
    commands=("pause", "resume", "advance"),
    tampering=False,
)
HOOKS = Setting(
    "webhooks that judge",
    (
        spec(
            webhooks=[hook("rollout", "rollback"), hook("rollback"), hook("confirm-promotion", "advance")],
            steps=STEPS[:1],
        ),
    ),
    tampering=False,
)
PAIR = Setting(
    "a set of two",
    (
        spec(targets=[{"name": "x"}, {"name": "y"}], steps=STEPS[:1]),
        spec(targets=[{"name": "x"}], steps=STEPS[:1]),
    ),
    apps=("x", "y"),
    templates=(A, B),
)
ALONG = Setting(
    "a set of two, one without traffic",
    (spec(targets=[{"name": "x"}, {"name": "y"}], steps=STEPS[:1]),),
    apps=("x", "y"),
    templates=(A, B),
    without_traffic=frozenset({"y"}),
    tampering=False,
)
MATCH = Setting(
    "a match, then a weight, then the bake, with an autoscaler",
    (
        spec(
            steps=[
                {"match": [{"headers": {"x-canary": {"exact": "always"}}}], "for": "5s", "maxFor": "10s"},
                {"weight": 50, "for": "5s", "maxFor": "10s"},
            ],
            bake="10s",
            analysis={**ANALYSIS, "onInconclusive": "advance"},
        ),
    ),
    autoscaled=True,
)
STRAIGHT = Setting(
    "known good and restarted",
    (spec(knownGoodRevisions=2, steps=STEPS[:1], analysis={**ANALYSIS, "onError": "rollback"}),),
    templates=(A, B, RESTARTED),
    commands=("pause", "resume", "promote"),
    tampering=False,
)
SETTINGS = (SINGLE, COMMANDS, HELD, GATES, HOOKS, PAIR, ALONG, MATCH, STRAIGHT)

SMALL = Setting("one step", (spec(steps=STEPS[:1]),), templates=(A, B), tampering=False)
ORDERED = Setting(
    "one step, two commands",
    (spec(steps=STEPS[:1]),),
    templates=(A, B),
    commands=("promote", "advance"),
    tampering=False,
)
"""Small ones, in which a planted bug is found soon."""
TABLE = Setting(
    "one step with a manual gate",
    (spec(steps=[{**STEPS[0], "gate": "manual"}]),),
    templates=(A, B, C),
    commands=("advance", "retry"),
    command_costs=0,
    tampering=False,
)
"""In it every move of the table of phases is taken soon."""
