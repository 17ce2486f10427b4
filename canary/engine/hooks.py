"""What webhooks say, and what follows."""

from dataclasses import replace
from datetime import datetime, timedelta

from analysis.verdict import Verdict
from canary.engine.decision import SAFETY_LOOK, Answer, AskWebhooks, Decision, told
from canary.engine.outcome import counted, roll_back
from canary.engine.world import Finding, World, known_spec
from canary.model import reasons
from canary.model.status import Check, HookRecord
from canary.model.webhook import Call, HookAnswer, HookType, OnTimeout, Webhook

_AS_ANSWER = {OnTimeout.HOLD: Verdict.ERROR, OnTimeout.ROLLBACK: Verdict.FAIL, OnTimeout.ADVANCE: Verdict.PASS}


def ask(world: World, hooks: tuple[Webhook, ...], *, since: datetime) -> AskWebhooks | None:
    """The question for those whose answers are not in the World yet. Answers from before `since` do not count."""
    renew_before = world.now - known_spec(world).analysis.interval
    calls = tuple(
        Call(hook, str(world.status.phase), world.status.template, since, renew_before)
        for hook in hooks
        if hook.name not in world.answers
    )
    return AskWebhooks(calls) if calls else None


def open_or_why(world: World, hook: Webhook) -> str | None:
    """Why a gate is closed; None where its webhook says yes, or need not answer."""
    answer = world.answers.get(hook.name)
    if answer is None:
        return f"waiting for the answer of webhook {hook.name}"
    return None if _verdict(hook, answer) is Verdict.PASS else answer.message


def rolls_back(world: World) -> Answer | None:
    """A webhook of type rollback says yes; or one that was told to, by silence, gave no answer."""
    spec = known_spec(world)
    hooks = spec.hooks(HookType.ROLLBACK)
    since = max(world.now - 2 * spec.analysis.interval, world.status.started_at or world.now)
    if question := ask(world, hooks, since=since):
        return question
    for hook in hooks:
        answer = world.answers[hook.name]
        if answer and answer.verdict is Verdict.PASS:
            return roll_back(world, reasons.ROLLED_BACK, f"webhook {hook.name} asked for it")
    return silent(world)


def silent(world: World) -> Decision | None:
    """A webhook gave no answer, and that is to be a rollback."""
    for hook in known_spec(world).webhooks:
        answer = world.answers.get(hook.name)
        if answer and answer.verdict is Verdict.ERROR and hook.on_timeout is OnTimeout.ROLLBACK:
            return roll_back(world, reasons.ROLLED_BACK, answer.message)
    return None


def before_traffic(world: World) -> Answer | Finding | None:
    """The webhooks of type pre-rollout: each must say yes once, and each no counts as a failed check."""
    hooks = known_spec(world).hooks(HookType.PRE_ROLLOUT)
    if question := ask(world, hooks, since=world.status.started_at or world.now):
        return question
    if rolled_back := silent(world):
        return rolled_back
    for hook in hooks:
        answer = world.answers[hook.name]
        if answer and answer.verdict is Verdict.FAIL and answer.at > (world.status.checked_at or answer.at - _MOMENT):
            check = Check(hook.name, Verdict.FAIL, None, answer.message)
            return counted(world, (check,), (check,), after=known_spec(world).analysis.interval)
    closed_by = next((why for hook in hooks if (why := open_or_why(world, hook))), None)
    return Finding(reasons.CANARY_NOT_READY, f"pre-rollout: {closed_by}") if closed_by else None


def rollout_checks(world: World, *, since: datetime) -> tuple[Check, ...] | AskWebhooks:
    """A check for each webhook of type rollout."""
    hooks = known_spec(world).hooks(HookType.ROLLOUT)
    if question := ask(world, hooks, since=since):
        return question
    return tuple(_check(hook, world.answers[hook.name]) for hook in hooks)


def after_the_end(world: World) -> Answer | None:
    """The webhooks of type post-rollout are told once, in order, and what they answer is only reported."""
    status = world.status
    due = next((record for record in status.hooks if record.verdict is Verdict.INCONCLUSIVE), None)
    if due is None:
        return None
    hook = next((hook for hook in known_spec(world).hooks(HookType.POST_ROLLOUT) if hook.name == due.name), None)
    if hook is None:
        why = Finding(reasons.WEBHOOK_FAILED, f"webhook {due.name} is not there any more")
        return _told(world, due, why)
    if question := ask(world, (hook,), since=due.at):
        return question
    answer = world.answers[hook.name]
    if answer is None:
        return Decision(status, Finding(reasons.WEBHOOK_GATE, f"telling webhook {hook.name}"), after=SAFETY_LOOK)
    why = Finding(reasons.WEBHOOK_FAILED, f"post-rollout: {answer.message}")
    record = HookRecord(hook.name, answer.verdict, answer.message, answer.at)
    return _told(world, due, why, record)


def _told(world: World, due: HookRecord, why: Finding, record: HookRecord | None = None) -> Decision:
    others = tuple(other for other in world.status.hooks if other.name != due.name)
    status = replace(world.status, hooks=(*others, record) if record else others)
    failed = record is not None and record.verdict is not Verdict.PASS
    return Decision(status, why, events=(told(why, warning=True),) if failed else (), after=timedelta())


_MOMENT = timedelta(microseconds=1)


def _verdict(hook: Webhook, answer: HookAnswer) -> Verdict:
    return _AS_ANSWER[hook.on_timeout] if answer.verdict is Verdict.ERROR else answer.verdict


def _check(hook: Webhook, answer: HookAnswer | None) -> Check:
    if answer is None:
        return Check(hook.name, Verdict.INCONCLUSIVE, None, f"webhook {hook.name} has not answered yet")
    return Check(hook.name, _verdict(hook, answer), None, answer.message)
