"""What pods read beside their template, changed in place."""

from dataclasses import replace

from canary.engine.conditions import CONFIGURATION_CHANGED
from canary.model import reasons
from canary.model.status import Phase
from tests.simulation import V2, Cluster
from tests.stories import message, told

FIRST = replace(V2, name="first", config_map="settings")


def configured() -> Cluster:
    cluster = Cluster(first=FIRST)
    cluster.change_config_map("settings")
    cluster.change_config_map("of others")
    return cluster.run()


def test_nothing_is_said_where_nothing_changed() -> None:
    cluster = configured()
    cluster.change_config_map("of others")
    cluster.run()
    assert cluster.reason(CONFIGURATION_CHANGED) is None
    cluster.assert_quiet()


def test_a_change_is_said_once_and_stays_said() -> None:
    cluster = configured()
    cluster.change_config_map("settings")
    cluster.run()
    assert cluster.reason(CONFIGURATION_CHANGED) == reasons.CHANGED_IN_PLACE
    assert "ConfigMap settings" in message(cluster, CONFIGURATION_CHANGED)
    assert told(cluster).count(reasons.CHANGED_IN_PLACE) == 1
    assert (cluster.phase, cluster.reason("Ready")) == (Phase.INITIALIZED, reasons.INITIALIZED)
    cluster.touch_canary()
    cluster.run()
    assert told(cluster).count(reasons.CHANGED_IN_PLACE) == 1
    cluster.assert_quiet()


def test_it_is_said_in_mid_rollout_and_changes_nothing_of_it() -> None:
    cluster = configured()
    second = replace(FIRST, name="second")
    cluster.push(second)
    cluster.run_until(lambda c: c.weight == 10)
    cluster.change_config_map("settings")
    cluster.run(5)
    assert cluster.weight == 10
    assert told(cluster).count(reasons.CHANGED_IN_PLACE) == 1
    cluster.run()
    assert (cluster.phase, cluster.serving) == (Phase.SUCCEEDED, {"second"})


def test_with_the_next_promotion_it_is_known_again() -> None:
    cluster = configured()
    cluster.change_config_map("settings")
    cluster.run()
    cluster.push(replace(FIRST, name="second"))
    cluster.run()
    assert cluster.reason(CONFIGURATION_CHANGED) is None
