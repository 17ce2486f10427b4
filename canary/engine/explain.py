"""Why a rollout is where it is: the chain of parts that were content, and the one that decides."""

from dataclasses import dataclass

from canary.engine.decision import Answer, Decision
from canary.engine.plan import chain
from canary.engine.world import World


@dataclass(frozen=True)
class Line:
    """One part of the chain. `content`: it asked for nothing."""

    part: str
    """In words."""
    content: bool
    reason: str = ""
    message: str = ""

    def __str__(self) -> str:
        if self.content:
            return f"ok    {self.part}"
        return f"here  {self.part}: {self.reason}: {self.message}"


def explain(world: World) -> tuple[Line, ...]:
    """What `plan` looks at in this World, up to what it decides; the same reason and message as in its conditions."""
    lines = []
    for part in chain(world):
        answer = part(world)
        lines.append(_line(part.__name__, answer))
        if answer:
            break
    return tuple(lines)


def _line(name: str, answer: Answer | None) -> Line:
    words = name.replace("_", " ")
    if answer is None:
        return Line(words, content=True)
    if isinstance(answer, Decision):
        return Line(words, False, answer.why.reason, answer.why.message)
    return Line(words, False, "Asking", type(answer).__name__)
