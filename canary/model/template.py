"""Pod templates: when two are the same."""

import copy
import hashlib
import json
from typing import Any, TypeAlias

from canary.model import names

Json: TypeAlias = dict[str, Any]
"""A JSON object as the API server holds it. Opaque everywhere but where objects are parsed or built."""


def template_hash(template: Json) -> str:
    """Ten hex digits that name a pod template.

    Over canonical JSON as the API server holds it, never over a client's struct, so that an upgrade of a client
    library changes no hash. `pod-template-hash` is left out, as the Deployment controller does when it compares.
    """
    plain = copy.deepcopy(template)
    metadata = plain.get("metadata") or {}
    metadata.pop("creationTimestamp", None)
    labels = metadata.get("labels") or {}
    labels.pop(names.POD_TEMPLATE_HASH, None)
    return text_hash(json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


def text_hash(text: str) -> str:
    """Ten hex digits that name a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:10]
