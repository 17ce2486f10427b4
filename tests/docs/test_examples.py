"""What README and docs show is accepted, and nothing that a user can write or meet is left out."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from canary.model import names, reasons
from canary.model.spec import parse_spec
from canary.model.template import Json

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
MANIFESTS = (ROOT / "e2e/demo/canary.yaml", ROOT / "e2e/kind/podinfo.yaml")
CRD = ROOT / "crds/fluxcanary.dev_canaries.yaml"
REFERENCE = (ROOT / "docs/canary.md").read_text()
_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _schema() -> Json:
    schema: Json = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def _paths(schema: Json, path: str) -> Iterator[str]:
    """The path of every field below: `spec.steps[].weight`."""
    if schema["type"] == "array":
        schema, path = schema["items"], f"{path}[]"
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from _paths(field, f"{path}.{name}")


def _used(value: object, path: str) -> Iterator[str]:
    """The path of every field that an example sets."""
    if isinstance(value, list):
        for item in value:
            yield from _used(item, f"{path}[]")
    if isinstance(value, dict):
        for name, field in value.items():
            yield f"{path}.{name}"
            yield from _used(field, f"{path}.{name}")


SPEC_FIELDS = frozenset(_paths(_schema()["properties"]["spec"], "spec"))
STATUS_FIELDS = frozenset(_paths(_schema()["properties"]["status"], "status"))


def _blocks() -> Iterator[tuple[str, Json]]:
    for page in PAGES:
        for number, block in enumerate(_BLOCK.findall(page.read_text()), start=1):
            for document in yaml.safe_load_all(block):
                yield f"{page.name}-{number}", document
    for file in MANIFESTS:
        for document in yaml.safe_load_all(file.read_text()):
            yield file.name, document


BLOCKS = tuple(_blocks())
CANARIES = tuple((name, document) for name, document in BLOCKS if document.get("kind") == names.KIND)
REASONS = {name: value for name, value in vars(reasons).items() if name.isupper()}


@pytest.mark.parametrize("document", [pytest.param(document, id=name) for name, document in BLOCKS])
def test_every_block_of_yaml_is_a_whole_object(document: Json) -> None:
    assert {"apiVersion", "kind"} <= document.keys()


@pytest.mark.parametrize("document", [pytest.param(document, id=name) for name, document in CANARIES])
def test_every_canary_shown_is_understood(document: Json) -> None:
    assert document["apiVersion"] == names.API_VERSION
    parse_spec(document["spec"])
    assert set(_used(document["spec"], "spec")) <= SPEC_FIELDS


def test_readme_and_the_reference_show_a_canary() -> None:
    assert {"README.md-1", "canary.md-1"} <= {name for name, _ in CANARIES}


@pytest.mark.parametrize("field", sorted(SPEC_FIELDS | STATUS_FIELDS))
def test_every_field_is_in_the_reference(field: str) -> None:
    assert f"`{field}`" in REFERENCE


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
