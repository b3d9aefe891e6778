"""The API server's time, with this machine's clocks as parameters."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from stepstream_operator.runtime.server_clock import ServerClock

NOON = datetime(2031, 5, 1, 12, tzinfo=UTC)


def test_the_servers_time_goes_on_from_its_last_word_whatever_this_machine_thinks() -> None:
    monotonic = [100.0]
    clock = ServerClock(lambda: monotonic[0])
    clock.heard(format_datetime(NOON, usegmt=True))
    monotonic[0] += 30.0
    assert clock.now() == NOON + timedelta(seconds=30)


def test_it_never_goes_backwards() -> None:
    clock = ServerClock(lambda: 0.0)
    clock.heard(format_datetime(NOON, usegmt=True))
    assert clock.now() == NOON
    clock.heard(format_datetime(NOON - timedelta(seconds=5), usegmt=True))
    assert clock.now() == NOON


def test_what_is_no_date_is_ignored() -> None:
    clock = ServerClock(lambda: 0.0)
    clock.heard(format_datetime(NOON, usegmt=True))
    for text in (None, "", "yesterday"):
        clock.heard(text)
    assert clock.now() == NOON
