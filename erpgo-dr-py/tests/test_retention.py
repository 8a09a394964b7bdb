"""Plans, without a repository."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

import erpgo_dr
from erpgo_dr import RetentionCandidate, RetentionPolicy

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def _backups(count: int, held: bool = False) -> list[RetentionCandidate]:
    times = [NOW - timedelta(hours=12 * number) for number in range(count)]
    return [
        RetentionCandidate(id=f"{time:%Y%m%dT%H%M%SZ}-{number:08x}", created=time, held=held)
        for number, time in enumerate(times)
    ]


def test_gfs_keeps_the_newest_of_each_period_and_says_why() -> None:
    backups = _backups(60)
    plan = RetentionPolicy.gfs(daily=3, weekly=2, monthly=0).plan(NOW, backups)
    assert len(plan.decisions) == 60 and len(plan.kept) + len(plan.expired) == 60
    newest = plan.decisions[-1]
    assert newest.id == backups[0].id and newest.keep and newest.reasons[0] == "daily 2026-03-01"
    assert len(plan.kept) == 4
    assert all(decision.reasons for decision in plan.decisions)


def test_policies_combine() -> None:
    backups = _backups(10)
    last, within = RetentionPolicy.keep_last(5), RetentionPolicy.keep_within(timedelta(days=1))
    assert len(last.plan(NOW, backups).kept) == 5
    assert len(within.plan(NOW, backups).kept) == 3
    assert len((last | within).plan(NOW, backups).kept) == 5
    assert len((last & within).plan(NOW, backups).kept) == 3
    assert len(RetentionPolicy.keep_all().plan(NOW, backups).kept) == 10
    assert str(last | within) == "(last 5) or (within 1d)" and "and" in repr(last & within)
    assert len(RetentionPolicy.keep_within(86_400).plan(NOW, backups).kept) == 3
    with pytest.raises(TypeError):
        last | 5  # type: ignore[operator]


def test_guards_stand_above_the_policy() -> None:
    held, other = _backups(2, held=True)[1], _backups(1)[0]
    needy = RetentionCandidate(id=other.id, created=other.created, needs=(held.id,), verified=NOW)
    policy = RetentionPolicy.keep_within(timedelta())
    plan = policy.plan(NOW + timedelta(days=400), [held, needy])
    assert plan.expired == () and plan.decisions[1].reasons == ("last verified",)
    assert policy.plan(NOW + timedelta(days=400), [held, needy], guarded=False).kept == ()


def test_times_need_a_zone_and_may_have_any() -> None:
    (backup,) = _backups(1)
    local = RetentionCandidate(id=backup.id, created=NOW.astimezone(ZoneInfo("America/New_York")))
    policy = RetentionPolicy.gfs()
    assert policy.plan(NOW, [local]) == policy.plan(NOW.astimezone(ZoneInfo("Asia/Tokyo")), [backup])
    with pytest.raises(erpgo_dr.InvalidError):
        policy.plan(NOW.replace(tzinfo=None), [backup])
    with pytest.raises(TypeError):
        policy.plan("now", [backup])  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [
    lambda: RetentionPolicy.keep_last(-1),
    lambda: RetentionPolicy.keep_last(1 << 40),
    lambda: RetentionPolicy.gfs(daily=-1),
    lambda: RetentionPolicy.gfs(yearly=1 << 40),
])
def test_a_count_that_is_none_is_refused(make: Callable[[], RetentionPolicy]) -> None:
    with pytest.raises(erpgo_dr.InvalidError, match="not a number from 0"):
        make()
