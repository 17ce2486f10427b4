"""What a human says once, by an annotation."""

import pytest

from canary.engine.commands import Command
from canary.model import reasons
from canary.model.status import Phase
from tests.simulation import BAD, UNKNOWN, V1, V2, V3, Cluster
from tests.stories import adopted, assert_at_rest, told

MANUAL = [{"weight": 10, "for": "15s", "gate": "manual"}, {"weight": 50, "for": "15s"}]


def at_10(cluster: Cluster) -> Cluster:
    cluster.push(V2)
    return cluster.run_until(lambda c: c.weight == 10)


def waiting() -> Cluster:
    cluster = adopted(steps=MANUAL)
    cluster.push(V2)
    return cluster.run_until(lambda c: c.phase is Phase.WAITING)


def failed() -> Cluster:
    cluster = adopted()
    cluster.push(BAD)
    return cluster.run()


def promoting() -> Cluster:
    return at_10(adopted()).run_until(lambda c: c.phase is Phase.PROMOTING)


def suspended() -> Cluster:
    cluster = at_10(adopted())
    cluster.set_spec(suspend=True)
    return cluster.run()


PHASES = {
    Phase.INITIALIZED: adopted,
    Phase.PROGRESSING: lambda: at_10(adopted()),
    Phase.WAITING: waiting,
    Phase.PROMOTING: promoting,
    Phase.SUCCEEDED: lambda: at_10(adopted()).run(),
    Phase.FAILED: failed,
    Phase.SUSPENDED: suspended,
}
DOES_SOMETHING = {
    Command.ABORT: {Phase.PROGRESSING, Phase.WAITING, Phase.SUSPENDED},
    Command.PAUSE: set(Phase),
    Command.RESUME: set(),
    Command.RETRY: {Phase.FAILED},
    Command.PROMOTE: {Phase.PROGRESSING, Phase.WAITING},
    Command.ADVANCE: {Phase.PROGRESSING, Phase.WAITING},
}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("command", Command)
def test_each_is_handled_once_in_each_phase_and_says_whether_it_did_anything(command: Command, phase: Phase) -> None:
    cluster = PHASES[phase]()
    assert cluster.phase is phase
    cluster.events.clear()
    cluster.command(command, "7")
    cluster.run(1)
    assert dict(cluster.status.handled)[command] == "7"
    expected = reasons.COMMAND_HANDLED if phase in DOES_SOMETHING[command] else reasons.COMMAND_IGNORED
    assert [reason for reason in told(cluster) if reason.startswith("Command")] == [expected]
    cluster.events.clear()
    cluster.command(command, "7")
    cluster.run()
    assert not [reason for reason in told(cluster) if reason.startswith("Command")]


def test_abort_rolls_back() -> None:
    cluster = at_10(adopted())
    cluster.command("abort")
    cluster.run_until(lambda c: c.weight == 0, seconds=1)
    cluster.run()
    assert_at_rest(cluster, Phase.FAILED, V1)
    assert cluster.reason("Stalled") == reasons.ABORTED


def test_abort_while_suspended_takes_the_share_away_and_stays_suspended() -> None:
    cluster = suspended()
    cluster.command("abort")
    cluster.run_until(lambda c: c.weight == 0, seconds=1)
    cluster.run()
    assert (cluster.phase, cluster.status.suspended_phase) == (Phase.SUSPENDED, Phase.FAILED)
    cluster.set_spec(suspend=False)
    cluster.run()
    assert_at_rest(cluster, Phase.FAILED, V1)


def test_abort_comes_before_promote_where_both_came_at_once() -> None:
    cluster = at_10(adopted())
    cluster.command("promote")
    cluster.command("abort")
    cluster.run()
    assert_at_rest(cluster, Phase.FAILED, V1)


def test_promote_needs_no_evidence() -> None:
    cluster = adopted()
    cluster.push(UNKNOWN)
    cluster.run_until(lambda c: c.weight == 10)
    begun = cluster.now
    cluster.command("promote")
    cluster.run_until(lambda c: c.phase is Phase.PROMOTING)
    assert cluster.now == begun
    cluster.run()
    assert_at_rest(cluster, Phase.SUCCEEDED, UNKNOWN)


def test_promote_opens_every_gate() -> None:
    cluster = waiting()
    cluster.command("pause")
    cluster.command("promote")
    cluster.run()
    assert_at_rest(cluster, Phase.SUCCEEDED, V2)


@pytest.mark.parametrize("command", ["promote", "advance"])
def test_what_is_said_of_one_template_is_not_said_of_the_next(command: str) -> None:
    """A newer template arrives, and the command is read before it was looked at."""
    cluster = at_10(adopted())
    cluster.push(BAD)
    cluster.command(command)
    cluster.run()
    assert_at_rest(cluster, Phase.FAILED, V1)
    assert reasons.COMMAND_IGNORED in told(cluster)


@pytest.mark.parametrize("command", ["abort", "promote", "advance", "retry"])
def test_a_token_from_before_the_release_does_nothing_to_it(command: str) -> None:
    cluster = adopted(steps=MANUAL)
    cluster.command(command)
    cluster.run()
    cluster.push(V2)
    cluster.run(600)
    assert (cluster.phase, cluster.weight) == (Phase.WAITING, 10)


def test_advance_leaves_the_step_whatever_the_evidence_says() -> None:
    cluster = adopted()
    cluster.push(UNKNOWN)
    cluster.run_until(lambda c: c.weight == 10)
    cluster.run(20)
    cluster.command("advance")
    cluster.run_until(lambda c: c.weight == 50, seconds=20)
    cluster.run(300)
    assert cluster.weight == 50, "one step, not two"


def test_advance_of_the_last_step_promotes() -> None:
    cluster = adopted(steps=[{"weight": 10, "for": "15s"}])
    cluster.push(UNKNOWN)
    cluster.run_until(lambda c: c.weight == 10)
    cluster.command("advance")
    cluster.run()
    assert_at_rest(cluster, Phase.SUCCEEDED, UNKNOWN)


def test_retry_tries_the_same_template_from_the_beginning() -> None:
    cluster = failed()
    cluster.command("retry")
    cluster.run_until(lambda c: c.phase is Phase.PROGRESSING)
    assert (cluster.status.step, cluster.status.failed_checks, cluster.status.template) == (0, 0, BAD.hash)
    cluster.run_until(lambda c: c.weight == 10)
    cluster.run()
    assert_at_rest(cluster, Phase.FAILED, V1)


class TestPause:
    def test_no_rollout_starts(self) -> None:
        cluster = adopted()
        cluster.command("pause")
        cluster.run()
        cluster.push(V2)
        cluster.run()
        assert (cluster.phase, cluster.copies) == (Phase.WAITING, set())
        assert cluster.target.paused

    def test_none_advances_and_the_share_stays(self) -> None:
        cluster = at_10(adopted())
        cluster.command("pause")
        cluster.run(3600)
        assert (cluster.phase, cluster.weight) == (Phase.WAITING, 10)
        assert cluster.reason("Reconciling") == reasons.PAUSED

    def test_resumed_it_goes_on(self) -> None:
        cluster = at_10(adopted())
        cluster.command("pause")
        cluster.run(3600)
        cluster.command("resume")
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2)

    def test_what_turns_bad_meanwhile_is_rolled_back(self) -> None:
        cluster = at_10(adopted())
        cluster.command("pause")
        cluster.run(300)
        cluster.scrapes_fail = BAD.verdict
        cluster.run(60)
        assert cluster.phase is Phase.FAILED

    def test_a_newer_template_waits_too(self) -> None:
        cluster = at_10(adopted())
        cluster.command("pause")
        cluster.run(60)
        cluster.push(V3)
        cluster.run()
        assert (cluster.phase, cluster.weight) == (Phase.WAITING, 0)
        cluster.command("resume")
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V3)


class TestFailureHeld:
    def held(self) -> Cluster:
        cluster = adopted(onFailure="hold")
        cluster.push(BAD)
        return cluster.run_until(lambda c: c.status.failure is not None)

    def test_it_waits_for_a_human_without_end(self) -> None:
        cluster = self.held()
        cluster.run(3600)
        assert (cluster.phase, cluster.weight) == (Phase.WAITING, 10)
        assert cluster.reason("Reconciling") == reasons.FAILURE_HELD
        assert "at least 99 %" in (cluster.status.failure or "")

    def test_it_is_rolled_back_when_that_is_not_wanted_any_more(self) -> None:
        cluster = self.held()
        cluster.set_spec(onFailure="rollback")
        cluster.run(60)
        assert cluster.phase is Phase.FAILED
        assert cluster.reason("Stalled") == reasons.ROLLED_BACK

    def test_good_measurements_do_not_open_it(self) -> None:
        cluster = self.held()
        cluster.scrapes_fail = V2.verdict
        cluster.run(3600)
        assert (cluster.phase, cluster.weight) == (Phase.WAITING, 10)

    def test_it_is_said_once(self) -> None:
        cluster = self.held()
        cluster.run(3600)
        assert told(cluster).count(reasons.FAILURE_HELD) == 1

    @pytest.mark.parametrize(
        ("command", "phase", "serving"),
        [("abort", Phase.FAILED, V1), ("promote", Phase.SUCCEEDED, BAD)],
    )
    def test_a_human_ends_it(self, command: str, phase: Phase, serving: object) -> None:
        cluster = self.held()
        cluster.command(command)
        cluster.run()
        assert cluster.phase is phase
        assert cluster.serving == {getattr(serving, "name", None)}
        cluster.assert_nothing_left()

    def test_advance_forgives_it_for_this_step(self) -> None:
        cluster = self.held()
        cluster.scrapes_fail = V2.verdict
        cluster.command("advance")
        cluster.run_until(lambda c: c.weight == 50)
        assert cluster.status.failure is None

    def test_a_newer_template_takes_its_place(self) -> None:
        cluster = self.held()
        cluster.push(V2)
        cluster.run()
        assert_at_rest(cluster, Phase.SUCCEEDED, V2)
        assert cluster.status.failure is None
