"""Ids: unique, in order of their making, and shaped as promised, whatever the clock does."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore import ids
from chatcore.ids import new_id

FORM = re.compile(r"conv_[0-7][0-9a-hjkmnp-tv-z]{25}")


def milliseconds(made: str) -> int:
    value = 0
    for digit in made.partition("_")[2]:
        value = value * 32 + "0123456789abcdefghjkmnpqrstvwxyz".index(digit)
    return value >> 80


def test_form_and_prefix() -> None:
    assert FORM.fullmatch(new_id("conv"))
    assert new_id("turn").startswith("turn_")


def test_many_in_one_millisecond_are_unique_and_sorted() -> None:
    made = [new_id("conv") for _ in range(20_000)]
    assert sorted(set(made)) == made


def test_threads_share_one_order() -> None:
    def make(_: int) -> list[str]:
        return [new_id("conv") for _ in range(500)]

    with ThreadPoolExecutor(8) as pool:
        each = list(pool.map(make, range(16)))
    assert all(sorted(one) == one for one in each)
    assert len({made for one in each for made in one}) == 16 * 500


@given(st.lists(st.integers(0, 2**47), min_size=1, max_size=20))
def test_a_clock_that_jumps_never_puts_an_id_before_an_earlier_one(clock: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids, "_last", 0)
        made = []
        for now in clock:
            patch.setattr(time, "time_ns", lambda now=now: now * 1_000_000)
            made.append(new_id("conv"))
    assert sorted(set(made)) == made
    assert all(FORM.fullmatch(one) for one in made)
    assert milliseconds(made[0]) == clock[0]


def test_the_time_of_making_can_be_read_from_it() -> None:
    before = time.time_ns() // 1_000_000
    made = milliseconds(new_id("conv"))
    assert before <= made <= time.time_ns() // 1_000_000 + 1
