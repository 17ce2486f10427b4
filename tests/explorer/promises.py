"""What the design promises (S1 to S7, S12, S14), in terms of the abstract cluster; each write is looked at.

Nothing here is asked of the engine's own invariants. A judgement speaks of what the operator saw and heard in the pass
that it was given in, for a pod may become unready the moment after.
"""

from typing import TYPE_CHECKING

from analysis.verdict import Verdict
from canary.model.spec import CanarySpec, OnInconclusive
from canary.model.status import Cause, Phase, Status
from canary.model.webhook import HookType, OnTimeout
from tests.explorer.concrete import Model
from tests.explorer.settings import RESTARTED, A
from tests.explorer.state import TAMPERED, TICK, App, State, held

if TYPE_CHECKING:
    from tests.explorer.passes import Pass

SETTLED = 1
"""Ticks until a written share is in effect."""


class BrokenPromise(AssertionError):
    """What the design promises did not hold."""


class Promises:
    """Of one model."""

    def __init__(self, model: Model) -> None:
        self.model = model

    # ------------------------------------------------------------------------------------------------------ status

    def status_written(self, done: "Pass", now: State) -> None:
        """S2, S3, S4, S6, S14: what is decided has grounds."""
        old, new = self.model.status(done.seen), done.decision.status
        same = old.trial == new.trial
        _require(new.step <= old.step + 1 or not same, "S3: a step is left out")
        _require(
            same or not new.under_way or not (new.step or new.share), "S6: a newer template does not begin at weight 0"
        )
        _require(same or not new.under_way or not new.approved, "S3: a new release begins with an approved step")
        _require(not new.under_way or same or new.failure is None, "S6: a new release begins with an old failure")
        self._shares(done, old, new)
        self._commands(done, old, new)
        promoted = new.phase is Phase.PROMOTING and old.under_way
        if same and old.under_way and (new.step > old.step or promoted):
            self._goes_on(done, old, promoted=promoted)
        begins = new.under_way and not (same and (old.under_way or old.phase is Phase.SUSPENDED))
        if begins and now.failed:
            trial = tuple((trial.name, trial.template) for trial in new.trial)
            _require(trial != now.failed or _obeyed(done) == "retry", "S6: a failed template is tried again")
        overdue = old.phase is Phase.PROGRESSING and self._overdue(done, old)
        moved = new.phase is not old.phase or (new.step, new.trial, new.share) != (old.step, old.trial, old.share)
        _require(not overdue or moved or bool(_obeyed(done)) or new.straight is not None, "L2: past the deadline")

    def nothing_written(self, done: "Pass") -> None:
        """L2: a rollout whose time is over ends."""
        old = self.model.status(done.seen)
        overdue = old.phase is Phase.PROGRESSING and self._overdue(done, old)
        _require(not overdue or bool(done.decision.actions), "L2: past the deadline")

    def _overdue(self, done: "Pass", old: Status) -> bool:
        spec, now = self.model.spec(done.seen), done.world.now
        assert done.seen.wish is not None
        if spec.suspend or done.seen.wish.deleting or old.progressed_at is None:
            return False
        longest = max(step.max_hold for step in spec.steps)
        return now - old.progressed_at >= spec.progress_deadline + longest

    def _shares(self, done: "Pass", old: Status, new: Status) -> None:
        allowed = {step.share for step in self.model.spec(done.seen).steps}
        _require(not new.share or new.share == old.share or new.share in allowed, "S2: a share that is no step's")
        rises = bool(new.share) and new.share != old.share
        steps = self.model.spec(done.seen).steps
        written = steps[min(max(new.step, 1), len(steps)) - 1].share
        _require(not rises or (new.step > 0 and written == new.share), "S2: the share is not that of the step")
        _require(not rises or new.share.weight >= old.share.weight, "S2: the intended share falls")

    def _commands(self, done: "Pass", old: Status, new: Status) -> None:
        """A command speaks of what was on trial when it was given, and is held still."""
        obeyed, wish = _obeyed(done), done.seen.wish
        ordered = {
            "promote": new.straight is Cause.COMMAND and old.straight is not Cause.COMMAND,
            "advance": new.approved is not None and new.approved != old.approved,
            "retry": new.under_way and old.phase is Phase.FAILED and new.trial == old.trial and bool(new.trial),
        }
        for command, took_effect in ordered.items():
            if not took_effect:
                continue
            _require(obeyed == command, f"a command that nobody gave takes effect: {command}")
            assert wish is not None
            assert wish.command is not None
            about = tuple((trial.name, trial.template) for trial in new.trial)
            held_now = tuple(
                (name, self.model.hashes[index][template])
                for index, (name, app) in enumerate(self._named(done.seen))
                if (template := held(app)) is not None
            )
            meant = about == wish.command.trial and set(about) == set(held_now)
            _require(meant, f"the command {command} is obeyed for another release than it was given for")

    def _goes_on(self, done: "Pass", old: Status, *, promoted: bool) -> None:
        """S3, S14, S4: a step is passed for cause, and what is promoted is what was judged."""
        spec, seen = self.model.spec(done.seen), done.seen
        if promoted and old.straight is not None:
            self._straight(done, old.straight)
            return
        steps = len(spec.steps)
        _require(not promoted or old.step >= steps, "S3: promoted before the last step")
        if old.approved == old.step:
            self._runs_judged(seen, old, in_effect=bool(old.step) and promoted)
            return
        self._gates(done, old, spec, promoted=promoted)
        if not old.step:
            return
        _require(old.failure is None, "S3: goes on after a failure that is held")
        step = spec.steps[min(old.step, steps) - 1]
        answers = done.answers
        in_doubt = spec.analysis.on_inconclusive is OnInconclusive.ADVANCE and answers.samples is Verdict.INCONCLUSIVE
        wanted = step.max_hold if in_doubt else step.hold
        _require(answers.samples is Verdict.PASS or in_doubt, f"S14: goes on with measurements {answers.samples}")
        for hook in spec.hooks(HookType.ROLLOUT):
            _require(_says_yes(done, hook.name, hook.on_timeout), f"S14: goes on against webhook {hook.name}")
        self._runs_judged(seen, old, in_effect=True)
        for app in self._judged(seen, old):
            assert app.twin is not None
            _require(app.twin.age * TICK >= wanted, "S3: goes on before its time")
        _require(not step.manual, "a manual gate is passed without a word")

    def _gates(self, done: "Pass", old: Status, spec: CanarySpec, *, promoted: bool) -> None:
        answers = done.answers
        _require(not old.paused, "goes on while it is paused")
        _require(not spec.freeze.alerts or answers.firing is False, "goes on while an alert may fire")
        asked = (HookType.CONFIRM_PROMOTION,) if promoted else () if old.step else (HookType.PRE_ROLLOUT,)
        for type_ in asked:
            for hook in spec.hooks(type_):
                _require(_says_yes(done, hook.name, hook.on_timeout), f"goes on against webhook {hook.name}")

    def _straight(self, done: "Pass", cause: Cause) -> None:
        trial = {one.name: one.template for one in done.world.status.trial}
        if cause is Cause.COMMAND:
            return
        _require(not done.world.status.paused, "goes straight through while it is paused")
        if cause is Cause.NOTHING_TO_JUDGE:
            users = [app for name, app in self._named(done.seen) if name in trial and self._has_users(name, app)]
            serves = [app.stable is not None and app.stable.pods >> app.stable.template & 1 for app in users]
            _require(all(serves), "S4: what users reach is promoted unjudged")
        if cause is Cause.NO_CANARY_NEEDED:
            for name, app in self._named(done.seen):
                if name not in trial or app.stable is None:
                    continue
                template, pods = app.stable.template, app.stable.pods
                same = pods >> template & 1 or (template in (A, RESTARTED) and pods & (1 << A | 1 << RESTARTED))
                _require(bool(same), "S4: a template that needs a canary is promoted unjudged")
        if cause is Cause.KNOWN_GOOD:
            _require(bool(done.world.status.promoted), "S4: what was never promoted is known good")

    def _runs_judged(self, seen: State, old: Status, *, in_effect: bool) -> None:
        """What users see of the canary is what is on trial, at the share that was decided."""
        trial = {one.name: one.template for one in old.trial}
        for name, app in self._named(seen):
            if name not in trial or not self._has_users(name, app) or not in_effect:
                continue
            index = self.model.setting.apps.index(name)
            runs = app.copy is not None and self.model.hashes[index][app.copy.template] == trial[name]
            _require(runs, "S4: the canary that was judged is not what is on trial")
            held_ = held(app)
            _require(
                held_ is not None and self.model.hashes[index][held_] == trial[name], "S4: what is held is not on trial"
            )
            written = app.twin is not None and self.model.share(app.twin.share) == old.share
            _require(written, "S3: goes on before its share was written")
            assert app.twin is not None
            by_human = old.approved == old.step
            _require(by_human or app.twin.age >= SETTLED, "S3: goes on before its share was in effect")

    def _judged(self, seen: State, old: Status) -> list[App]:
        trial = {one.name for one in old.trial}
        return [app for name, app in self._named(seen) if name in trial and self._has_users(name, app)]

    def _named(self, state: State) -> list[tuple[str, App]]:
        return list(zip(self.model.setting.apps, state.apps, strict=True))

    def _has_users(self, name: str, app: App) -> bool:
        return app.public and name not in self.model.setting.without_traffic

    # ----------------------------------------------------------------------------------------------------- actions

    def share_written(self, done: "Pass", index: int, share: int, now: State) -> None:
        """S1, S2, S3: to the step that was written down before, from a side and to a side that can answer."""
        if not share:
            return
        seen, before = done.seen, now.apps[index].twin
        status = self.model.status(seen)
        _require(status.under_way, f"S2: the share rises in phase {status.phase}")
        _require(self.model.share(share) == status.share, "S2: the share was not written down before")
        current = before.share if before else 0
        order = self.model.share
        falls = current not in (0, TAMPERED, share) and order(share).weight < order(current).weight
        _require(not falls, "S2: the share falls to something else than 0")
        _require(status.step > 1 or current in (0, TAMPERED, share), "S6: a release does not begin at weight 0")
        trial = {one.name: one.template for one in status.trial}
        for name, app in self._named(seen):
            if name not in trial or not self._has_users(name, app):
                continue
            copy, stable = app.copy, app.stable
            hashes = self.model.hashes[self.model.setting.apps.index(name)]
            _require(copy is not None and copy.ready > 0, "S1: requests go to a canary that is not ready")
            _require(copy is not None and copy.ready >= copy.size, "S1: the canary is not large enough yet")
            _require(copy is not None and hashes[copy.template] == trial[name], "S4: another template gets requests")
            _require(app.service == 1, "S1: requests go to no Service")
            _require(stable is not None and stable.ready and stable.pods > 0, "S1: stable cannot answer")

    def copy_applied(self, done: "Pass", index: int, template: int, size: int, now: State) -> None:
        """S2, S7: a new template comes in at no weight, and nothing with traffic shrinks."""
        old = now.apps[index].copy
        if _touched_meanwhile(done, index, now):
            return
        if old is not None and old.template != template:
            _require(self._nothing_arrives(now, index), "S6: a template that was not judged gets requests")
        if old is not None and size < old.size:
            _require(self._nothing_arrives(now, index), "S7: the canary shrinks while requests may arrive")

    def is_ours(self, name: str) -> None:
        """S5, S10: nothing of others is applied or deleted."""
        _require(name.endswith("-canary"), f"S5: {name} is not ours")

    def deleted(self, done: "Pass", kind: str, index: int, now: State) -> None:
        """S7: nothing that may still get requests goes; but for a route that a human wrote just now."""
        if _touched_meanwhile(done, index, now):
            return
        _require(self._nothing_arrives(now, index), f"S7: the canary's {kind} is deleted while requests may arrive")

    def given_back(self, index: int, now: State) -> None:
        """A target is given back, and its template let go, once its canary gets no requests any more."""
        _require(self._nothing_arrives(now, index), "S12: a target is given back while its canary gets requests")

    def marked(self, index: int, now: State, *, failed: bool) -> None:
        """Flux hears of a failure only while it waits for the template that failed."""
        status = self.model.status(now)
        held_ = held(now.apps[index])
        this = held_ is not None and any(
            (one.name, one.template) == (self.model.setting.apps[index], self.model.hashes[index][held_])
            for one in status.trial
        )
        right = status.phase is Phase.FAILED and this
        _require(not failed or right, "Flux is told of a failure that is not its own")

    def let_go(self, now: State) -> None:
        """S12: the Canary goes last."""
        for app in now.apps:
            left = app.copy or app.twin or app.service or app.floor
            _require(not left, "S12: the Canary goes before its objects")
            _require(app.stable is None or not (app.stable.guarded or app.stable.mark), "S12: a mark of ours is left")

    def let_through(self, index: int, now: State) -> None:
        """S4: stable gets a template only for cause: decided and written down before, or one that serves already."""
        stable = now.apps[index].stable
        assert stable is not None
        status, name = self.model.status(now), self.model.setting.apps[index]
        first = status.phase is None and not (stable.ready and stable.pods)
        if first or stable.pods >> stable.template & 1:
            return
        judged = any((t.name, t.template) == (name, self.model.hashes[index][stable.template]) for t in status.trial)
        decided = status.phase is Phase.PROMOTING and judged
        _require(decided, f"S4: template {self.model.setting.name_of(stable.template)} reaches stable undecided")

    def _nothing_arrives(self, now: State, index: int) -> bool:
        twin = now.apps[index].twin
        return twin is None or (not twin.share and twin.age >= SETTLED)


def _touched_meanwhile(done: "Pass", index: int, now: State) -> bool:
    """Whether somebody wrote a share of his own to a route after it was looked at: that much is not promised."""
    twin, seen = now.apps[index].twin, done.seen.apps[index].twin
    return twin is not None and twin.share == TAMPERED and (seen is None or seen.share != TAMPERED)


def _says_yes(done: "Pass", name: str, on_timeout: OnTimeout) -> bool:
    verdict = done.answers.hooks.get(name)
    return verdict is Verdict.PASS or (verdict is Verdict.ERROR and on_timeout is OnTimeout.ADVANCE)


def _obeyed(done: "Pass") -> str:
    """The command that a pass handles."""
    wish = done.seen.wish
    if wish is None or wish.command is None:
        return ""
    return wish.command.name if wish.command.name in dict(done.decision.status.handled) else ""


def _require(kept: bool, broken: str) -> None:
    if not kept:
        raise BrokenPromise(broken)
