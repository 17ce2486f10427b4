"""When to ask for the next scrape."""

import pytest

from canary.metrics.rhythm import Rhythm


def rhythm_of(period: float, scrapes: int = 3, offset: float = 0.0) -> Rhythm:
    """One that heard each scrape of two pods half a second after the later of them, and asked in between too."""
    rhythm = Rhythm()
    for index in range(scrapes):
        at = 1000 + index * period
        if index:
            rhythm.heard(at - 0.01, {"a": at - period, "b": at + offset - period})
        rhythm.heard(at + 0.5 + offset, {"a": at, "b": at + offset})
    return rhythm


def test_it_asks_every_second_until_the_period_is_known() -> None:
    rhythm = Rhythm()
    assert rhythm.wait_seconds() == 1.0
    for now in range(1000, 1014):
        rhythm.heard(now, {"a": 1000.0})
        assert (rhythm.period_seconds, rhythm.wait_seconds()) == (None, 1.0)


def test_it_asks_just_after_the_next_scrape() -> None:
    rhythm = rhythm_of(10)
    assert rhythm.period_seconds == 10
    assert rhythm.wait_seconds() == pytest.approx(10 + 0.3 - 0.5)


def test_it_goes_by_the_pod_that_is_scraped_last() -> None:
    assert rhythm_of(10, offset=4.0).wait_seconds() == pytest.approx(10 + 0.3 - 0.5)


def test_it_never_waits_longer_than_fifteen_seconds_nor_shorter_than_half_a_second() -> None:
    rhythm = rhythm_of(60)
    assert rhythm.wait_seconds() == 15.0
    assert rhythm_of(0.1).wait_seconds() == 0.5


def test_asking_before_a_scrape_is_due_is_not_in_vain() -> None:
    rhythm = rhythm_of(20)
    rhythm.heard(1040 + 15.5, {"a": 1040.0, "b": 1040.0})
    assert rhythm.wait_seconds() == pytest.approx(20.3 - 15.5)


def test_when_nothing_new_is_there_it_asks_again_in_growing_steps_up_to_the_period() -> None:
    rhythm = rhythm_of(10)
    waits = []
    for now in (1030.3, 1031.3, 1033.3, 1037.3, 1045.3, 1055.3):
        rhythm.heard(now, {"a": 1020.0, "b": 1020.0})
        waits.append(rhythm.wait_seconds())
    assert waits == [1, 2, 4, 8, 10, 10]
    rhythm.heard(1056, {"a": 1055.9})
    assert rhythm.wait_seconds() == pytest.approx(10.2)


def test_without_answers_or_pods_it_asks_less_and_less_often() -> None:
    silent, empty = Rhythm(), Rhythm()
    for _ in range(2000):
        silent.in_vain()
        empty.heard(1000, {})
    assert silent.wait_seconds() == empty.wait_seconds() == 15.0


def test_a_missed_scrape_does_not_lengthen_the_period() -> None:
    rhythm = rhythm_of(10)
    for at in (1040.0, 1060.0, 1080.0):
        rhythm.heard(at + 0.5, {"a": at, "b": at})
    assert rhythm.period_seconds == 10


def test_a_longer_period_is_learnt() -> None:
    rhythm = rhythm_of(5)
    for index in range(1, 6):
        at = 1010.0 + 30 * index
        rhythm.heard(at, {"a": at, "b": at})
    assert rhythm.period_seconds == 30


def test_the_period_is_that_of_most_pods() -> None:
    rhythm = Rhythm()
    for index in range(4):
        offset = 15.0 * index
        times = {"a": 1000 + offset, "b": 1001 + offset, "fast": 1000.0 + index, "slow": 1000.0 + 60 * index}
        rhythm.heard(1000.0 + 60 * index, times | {"c": 1002 + offset})
    assert rhythm.period_seconds == 15


def test_pods_that_are_gone_are_forgotten() -> None:
    rhythm = rhythm_of(5)
    for at in (1100.0, 1130.0, 1160.0):
        rhythm.heard(at, {"c": at})
    assert rhythm.period_seconds == 30
    assert rhythm._last.keys() == rhythm._intervals.keys() == {"c"}


# ---------------------------------------------------------------------------------------------------------- simulations


def followed(rhythm: Rhythm, period: float, seconds: float, began: float = 1000.0, answer_takes: float = 0.05) -> int:
    """How often it asks within a time, scrapes being visible 0.2 s after they began."""
    asked, now = 0, began
    while now < began + seconds:
        newest = began + (now - 0.2 - began) // period * period
        rhythm.heard(now, {"a": newest})
        asked += 1
        now += answer_takes + rhythm.wait_seconds(answer_takes)
    return asked


@pytest.mark.parametrize("period", [1, 2, 5, 15, 30, 60])
@pytest.mark.parametrize("missed", [1, 2, 3, 7])
def test_a_period_that_seemed_longer_at_first_is_found_out(period: float, missed: int) -> None:
    rhythm = Rhythm()
    for index in range(3):
        at = 400.0 + index * missed * period
        rhythm.heard(at + 0.3, {"a": at})
    assert rhythm.period_seconds == missed * period
    followed(rhythm, period, 12 * missed * period)
    assert rhythm.period_seconds == period


def test_a_period_that_became_shorter_is_found_out() -> None:
    rhythm = Rhythm()
    followed(rhythm, 15, 300)
    followed(rhythm, 5, 1000, began=1300)
    assert rhythm.period_seconds == 5


@pytest.mark.parametrize(("period", "questions"), [(2, 1), (5, 1), (15, 1), (30, 3), (60, 5)])
def test_a_known_period_is_asked_about_once_a_scrape_or_every_fifteen_seconds(period: float, questions: int) -> None:
    rhythm = Rhythm()
    followed(rhythm, period, 10 * period)
    assert followed(rhythm, period, 100 * period, began=1000 + 10 * period) <= 100 * questions + 5
