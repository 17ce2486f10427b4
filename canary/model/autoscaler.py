"""HorizontalPodAutoscalers as they were observed, and which of them may be kept from shrinking stable.

The floor is held by `spec.behavior.scaleDown.selectPolicy: Disabled` and a label, applied server-side as fields of
ours. Applying neither gives both back. What the API server filled in around them goes with them, and selectPolicy
becomes its default again, Max, which is why no other value may be held.
"""

from dataclasses import dataclass

from canary.model import names
from canary.model.template import Json

_DEFAULT = "Max"


@dataclass(frozen=True)
class Autoscaler:
    """An HPA."""

    name: str
    uid: str
    floor: str | None
    """The Canary that keeps it from shrinking its Deployment."""
    scale_down: str | None
    """How it chooses between its policies for shrinking: Max, Min or Disabled; None where it says nothing."""
    target_kind: str
    target_name: str

    def scales(self, deployment: str) -> bool:
        """Whether it scales the Deployment of this name, in its own namespace."""
        return (self.target_kind, self.target_name) == ("Deployment", deployment)


def parse_autoscaler(obj: Json) -> Autoscaler:
    """An object of autoscaling/v2."""
    metadata, spec = obj["metadata"], obj["spec"]
    scale_down = (spec.get("behavior") or {}).get("scaleDown") or {}
    return Autoscaler(
        name=metadata["name"],
        uid=metadata["uid"],
        floor=(metadata.get("labels") or {}).get(names.FLOOR_LABEL),
        scale_down=scale_down.get("selectPolicy"),
        target_kind=spec["scaleTargetRef"]["kind"],
        target_name=spec["scaleTargetRef"]["name"],
    )


def may_hold(autoscaler: Autoscaler) -> bool:
    """Whether it would shrink its Deployment, by a setting that giving our fields back restores.

    Min was chosen by the user, and would come back as Max. Disabled is held already, by us or by the user.
    """
    return autoscaler.scale_down in (None, _DEFAULT)
