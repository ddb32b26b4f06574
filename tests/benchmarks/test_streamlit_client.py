"""The load client measures truly: against a real Streamlit process and against faults made on purpose."""

import asyncio
import math
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.running import App, Meter, Place, table
from tests.benchmarks.streamlit_client import Lost, Tab
from tests.benchmarks.watch import Watch, spread

SCRIPT = """
import time
import streamlit as st

st.query_params["seen"] = "1"


@st.fragment(run_every=0.2)
def clock():
    st.session_state.ticks = st.session_state.get("ticks", 0) + 1
    st.markdown(f"tick {st.session_state.ticks}")


clock()
said = st.session_state.setdefault("said", [])
for text in said:
    st.markdown(text)
st.button("again", key="again")
if st.button("break", key="break"):
    1 / 0
question = st.chat_input("ask", key="chat_input")
if question:
    def words():
        for k in range(30):
            time.sleep(0.3 if k == 20 else 0.01)
            yield f"[{k}] word "
    said.append(st.write_stream(words()))
    st.rerun()
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("app")
    (folder / "script.py").write_text(SCRIPT)
    with Place(folder, {"none": "ok"}, "http://127.0.0.1:1/v1").app(script=str(folder / "script.py")) as running:
        yield running


def test_a_reply_is_followed_word_by_word(app: App) -> None:
    async def look() -> None:
        async with Tab(app.url) as tab:
            for _ in range(2):
                watch = Watch(words=30)
                await tab.ask("hello", watch)
                await tab.until(lambda: tab.idle, 20)
                assert watch.complete
                assert watch.first
                assert watch.last
                assert watch.asked < watch.first < watch.last
                assert 0.25 < watch.largest_gap < 2
                assert watch.last - watch.first > 0.5
                assert (watch.doubled, watch.disordered) == (0, 0)
                assert watch.bytes_received > 1000
            assert tab.numbers() == [*range(30), *range(30)]
            assert tab.query == "seen=1"

    asyncio.run(look())


def ticks(tab: Tab) -> int:
    """How often the fragment has run; on a busy machine it may be far beyond what is waited for."""
    return max((int(text.removeprefix("tick ")) for text in tab.texts() if text.startswith("tick ")), default=0)


def test_fragments_run_by_themselves_and_errors_are_seen(app: App) -> None:
    async def look() -> None:
        async with Tab(app.url) as tab:
            before = tab.runs_finished
            await tab.until(lambda: ticks(tab) >= 3, 20)
            assert tab.runs_finished == before
            await tab.click("break")
            await tab.until(lambda: tab.idle and tab.errors(), 20)
            await tab.click("again")
            await tab.until(lambda: tab.idle and not tab.errors(), 20)
            with pytest.raises(LookupError, match="no widget nowhere"):
                tab.widget("nowhere")
            with pytest.raises(Lost):
                await tab.until(lambda: False, 0.05)

    asyncio.run(look())


def test_the_meter_reads_this_process() -> None:
    meter = Meter(os.getpid())
    sum(range(10_000_000))
    meter.stop()
    assert meter.cpu()[0] > 0.2
    assert meter.own_rss > 10_000_000


def watched(*updates: tuple[tuple[int, ...], str, int]) -> Watch:
    watch = Watch(words=6)
    for moment, (where, text, run) in enumerate(updates):
        watch.saw(where, text, run, float(moment))
    return watch


def test_a_watch_sees_what_is_wrong() -> None:
    grown = watched(((0,), "[0] a", 1), ((0,), "[0] a [1] b [2] c", 1), ((1,), "[3] d [4] e [5] f", 1))
    assert grown.complete
    assert (grown.doubled, grown.disordered, grown.largest_gap) == (0, 0, 1.0)
    assert watched(((0,), "[0] [2]", 1)).disordered == 1
    assert watched(((0,), "[1] [0]", 1)).disordered == 1
    assert watched(((0,), "[0] [1]", 1), ((1,), "[1] [2]", 1)).doubled == 1
    assert watched(((0,), "[0] [1]", 1), ((1,), "[0] [1]", 2)).doubled == 0
    assert not watched(((0,), "[0] [1]", 1)).complete


def test_percentiles_are_by_nearest_rank() -> None:
    assert list(spread([float(n) for n in range(1, 101)], 50, 95, 100)) == [50.0, 95.0, 100.0]
    assert list(spread([3.0], 50, 95)) == [3.0, 3.0]
    assert all(math.isnan(value) for value in spread([], 50))


def test_a_table_is_aligned() -> None:
    assert table([("a", "b"), ("long", "c")]).splitlines()[2] == "long  c"


def test_the_folder_of_an_app_is_its_own(tmp_path: Path) -> None:
    place = Place(tmp_path, {"load": "ok;n=3"}, "http://127.0.0.1:9/v1")
    assert place.environment["CHATCORE_DATA_DIR"].startswith(str(tmp_path))
    assert "openai/ok;n=3" in (tmp_path / "config.yaml").read_text()
