"""What README and docs show is accepted, and nothing that a user can write or meet is left out."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from analysis.verdict import Verdict
from canary.engine.world import Identity
from canary.metrics.queries import queries
from canary.model import names, reasons
from canary.model.configuration import ConfigRef
from canary.model.evidence import Saved
from canary.model.metric_template import BUILTIN_VARIABLES, parse_metric_template
from canary.model.share import Header, Match, Share
from canary.model.spec import parse_spec
from canary.model.status import (
    Arm,
    Cause,
    Check,
    Condition,
    HookRecord,
    Phase,
    Release,
    Status,
    StepEvidence,
    Trial,
    dump_status,
)
from canary.model.template import Json
from canary.model.traffic import Backend, Traffic

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
MANIFESTS = (ROOT / "e2e/demo/canary.yaml", ROOT / "e2e/kind/podinfo.yaml")
CRDS = ROOT / "crds"
REFERENCE = (ROOT / "docs/canary.md").read_text()
METRICS = (ROOT / "docs/metrics.md").read_text()
_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _schema(plural: str, part: str) -> Json:
    crd = yaml.safe_load((CRDS / f"{names.GROUP}_{plural}.yaml").read_text())
    schema: Json = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]
    return schema


def _paths(schema: Json, path: str) -> Iterator[str]:
    """The path of every field below: `spec.steps[].weight`. The names in a map are the user's own: `<name>`."""
    if schema["type"] == "array":
        schema, path = schema["items"], f"{path}[]"
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from _paths(field, f"{path}.{name}")
    if own := schema.get("additionalProperties"):
        yield from _paths(own, f"{path}.<name>")


def _used(value: object, path: str) -> Iterator[str]:
    """The path of every field that is set."""
    if path.endswith(_MAPS) and isinstance(value, dict):
        for field in value.values():
            yield from _used(field, f"{path}.<name>")
        return
    if isinstance(value, list):
        for item in value:
            yield from _used(item, f"{path}[]")
    if isinstance(value, dict):
        for name, field in value.items():
            yield f"{path}.{name}"
            yield from _used(field, f"{path}.{name}")


_MAPS = (".templateVariables", ".metadata", ".labels", ".headers", ".handled")
"""Fields below which the names are the user's own."""

SPEC_FIELDS = frozenset(_paths(_schema(names.PLURAL, "spec"), "spec"))
STATUS_FIELDS = frozenset(_paths(_schema(names.PLURAL, "status"), "status"))
TEMPLATE_FIELDS = frozenset(_paths(_schema("metrictemplates", "spec"), "spec"))


def _blocks() -> Iterator[tuple[str, Json]]:
    for page in PAGES:
        for number, block in enumerate(_BLOCK.findall(page.read_text()), start=1):
            for document in yaml.safe_load_all(block):
                yield f"{page.name}-{number}", document
    for file in MANIFESTS:
        for document in yaml.safe_load_all(file.read_text()):
            yield file.name, document


NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CHECK = Check("errors", Verdict.PASS, 1.0, "well", Arm(10, 0.0), Arm(90, 0.0), 0.5)
EVERYTHING = Status(
    phase=Phase.SUSPENDED,
    suspended_phase=Phase.WAITING,
    share=Share(0.5, Match(Header("x-canary", regex="a|b"), "canary")),
    trial=(Trial("app", "2bbccebba9"),),
    straight=Cause.KNOWN_GOOD,
    evidence=(StepEvidence(1, 0.5, NOW, (CHECK,)),),
    checks=(CHECK,),
    hooks=(HookRecord("gate", Verdict.FAIL, "no", NOW),),
    judge=Saved(1, {"version": 1, "bounds": 0, "floats": ""}, {"pod": 1.0}),
    promoted=(Release("main@sha1:4c1ca09", (Trial("app", "2bbccebba9"),)),),
    configuration=((ConfigRef("ConfigMap", "app"), "0123456789"),),
    handled=(("abort", "1"),),
    conditions=(Condition("Ready", "True", "Promoted", "well", NOW),),
)
"""A status in which every field is set that is not always there."""

BLOCKS = tuple(_blocks())
CANARIES = tuple((name, document) for name, document in BLOCKS if document.get("kind") == names.KIND)
TEMPLATES = tuple((name, document) for name, document in BLOCKS if document.get("kind") == "MetricTemplate")
REASONS = {name: value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}


@pytest.mark.parametrize("document", [pytest.param(document, id=name) for name, document in BLOCKS])
def test_every_block_of_yaml_is_a_whole_object(document: Json) -> None:
    assert {"apiVersion", "kind"} <= document.keys()


@pytest.mark.parametrize("document", [pytest.param(document, id=name) for name, document in CANARIES])
def test_every_canary_shown_is_understood(document: Json) -> None:
    assert document["apiVersion"] == names.API_VERSION
    parse_spec(document["spec"])
    assert set(_used(document["spec"], "spec")) <= SPEC_FIELDS


@pytest.mark.parametrize("document", [pytest.param(document, id=name) for name, document in TEMPLATES])
def test_every_metric_template_shown_is_understood(document: Json) -> None:
    assert document["apiVersion"] == names.API_VERSION
    assert parse_metric_template(document).query
    assert set(_used(document["spec"], "spec")) <= TEMPLATE_FIELDS


@pytest.mark.parametrize("document", [pytest.param(document, id=name) for name, document in CANARIES])
def test_the_queries_of_every_canary_shown_can_be_written_with_the_templates_shown(document: Json) -> None:
    place = document["metadata"].get("namespace", "")
    found = {each["metadata"]["name"]: each for _, each in TEMPLATES if each["metadata"]["namespace"] == place}
    spec = parse_spec(document["spec"])
    own = {metric.name for metric in spec.analysis.metrics if metric.query or metric.template_ref}
    traffic = Traffic((Backend("podinfo", "podinfo", "80"),), (), frozenset())
    identity = Identity(place, document["metadata"]["name"], "uid", 1)
    written = queries(identity, spec, spec.targets[0].name, traffic, found.get)
    assert isinstance(written, dict)
    assert written.keys() == own


def test_every_metric_template_shown_is_used_by_a_canary_shown() -> None:
    metrics = [metric for _, document in CANARIES for metric in parse_spec(document["spec"]).analysis.metrics]
    assert {metric.template_ref for metric in metrics} >= {document["metadata"]["name"] for _, document in TEMPLATES}


def test_readme_and_the_reference_show_a_canary() -> None:
    assert {"README.md-1", "canary.md-1"} <= {name for name, _ in CANARIES}


@pytest.mark.parametrize("field", sorted(SPEC_FIELDS | STATUS_FIELDS))
def test_every_field_is_in_the_reference(field: str) -> None:
    assert f"`{field}`" in REFERENCE


def test_the_schema_has_every_field_of_a_status_that_is_written() -> None:
    assert set(_used(dump_status(EVERYTHING), "status")) == STATUS_FIELDS


@pytest.mark.parametrize("field", sorted(TEMPLATE_FIELDS))
def test_every_field_of_a_metric_template_is_on_the_page_of_metrics(field: str) -> None:
    assert f"| `{field}` |" in METRICS


@pytest.mark.parametrize("variable", sorted(BUILTIN_VARIABLES))
def test_every_built_in_variable_is_on_the_page_of_metrics(variable: str) -> None:
    assert f"| `{variable}` |" in METRICS


@pytest.mark.parametrize("reason", sorted(REASONS.values()))
def test_every_reason_is_in_the_reference(reason: str) -> None:
    assert f"`{reason}`" in REFERENCE


def test_the_reference_has_no_reason_that_is_not_in_the_code() -> None:
    table = REFERENCE.partition("## Reasons")[2].partition("\n## ")[0]
    told = set(re.findall(r"^\| `([A-Za-z]+)` \|", table, re.MULTILINE))
    assert told == set(REASONS.values())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_heading_leads_to_one(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text())
    broken = [(to, name) for to, name in links if name not in _anchors((page.parent / to) if to else page)]
    assert broken == []


def _anchors(page: Path) -> set[str]:
    """As GitHub names the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
