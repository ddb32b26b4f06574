"""Buckets of times: as many as SQL has, and percentiles as near as is said."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from chatcore.db import Database
from chatcore.db.tables import LATENCY_PLACES, LatencyBucket
from chatcore.usage import latency

times = st.integers(0, 24 * 3600 * 1000)


def test_sql_has_the_same_buckets(any_database: Database) -> None:
    table = select(LatencyBucket.low_ms, LatencyBucket.bucket).order_by(LatencyBucket.bucket)
    rows = any_database.read(lambda session: [tuple(row) for row in session.execute(table)])
    assert rows == list(zip(latency.LOWS, range(len(latency.LOWS)), strict=True))


@given(times)
def test_a_time_is_in_the_bucket_that_begins_last(time: int) -> None:
    number = latency.bucket(time)
    assert latency.LOWS[number] <= time
    assert number + 1 == len(latency.LOWS) or time < latency.LOWS[number + 1]


@given(times)
def test_a_bucket_stands_for_its_times_within_two_percent(time: int) -> None:
    assert abs(latency.middle(latency.bucket(time)) - time) <= latency.WORST_ERROR * time


@pytest.mark.parametrize("time", [-5, -1, 0])
def test_a_clock_that_was_put_back_is_no_time_at_all(time: int) -> None:
    assert latency.bucket(time) == 0


def test_longer_than_a_day_is_a_day() -> None:
    assert latency.bucket(10**12) == len(latency.LOWS) - 1


@given(st.lists(times, min_size=1, max_size=200), st.sampled_from([1, 50, 95, 99, 100]))
def test_a_percentile_is_within_two_percent_of_the_true_one(found: list[int], percent: int) -> None:
    counts: dict[int, int] = {}
    for time in found:
        counts[latency.bucket(time)] = counts.get(latency.bucket(time), 0) + 1
    true = sorted(found)[math.ceil(len(found) * percent / 100) - 1]
    told = latency.percentile(counts, percent)
    assert told is not None
    assert abs(told - true) <= latency.WORST_ERROR * true


def test_of_no_calls_there_is_no_percentile() -> None:
    assert latency.percentile({}, 50) is None


@given(st.dictionaries(st.integers(0, len(latency.LOWS) - 1), st.integers(1, 1000)))
def test_blocks_are_unfolded_to_the_counts_they_hold(counts: dict[int, int]) -> None:
    blocks: dict[int, list[int]] = {}
    for number, count in counts.items():
        block, place = divmod(number, LATENCY_PLACES)
        blocks.setdefault(block, [0] * LATENCY_PLACES)[place] = count
    assert latency.unfold(blocks.items()) == counts


def test_counts_of_parts_add_up_to_those_of_the_whole() -> None:
    first, second = {3: 5, 90: 2}, {90: 1, 200: 7}
    whole = {key: first.get(key, 0) + second.get(key, 0) for key in first.keys() | second.keys()}
    spread = [latency.middle(key) for key, count in whole.items() for _ in range(count)]
    assert latency.percentile(whole, 50) == statistics.median_low(spread)
