"""`python -m streamlit` with the cost of every script run written down.

    BENCH_RUNS=runs.csv python -m tests.benchmarks.metered run app.py

One line for each run: `page` or `fragment`, milliseconds, milliseconds of this thread's CPU. `BENCH_PROFILE=FILE` adds
what the runs did, as `pstats` reads it; profiling makes them two to three times slower.
"""

import cProfile
import os
import pstats
import threading
import time
from typing import Any, Final

from streamlit.runtime.scriptrunner.script_runner import ScriptRunner
from streamlit.web.cli import main

_lock: Final = threading.Lock()
_plain: Final = ScriptRunner._run_script
_profiles: Final[list[cProfile.Profile]] = []


def _metered(self: ScriptRunner, data: Any) -> None:
    start, cpu = time.perf_counter(), time.thread_time()
    try:
        _plain(self, data)
    finally:
        spent, cpu = time.perf_counter() - start, time.thread_time() - cpu
        kind = "fragment" if data.fragment_id_queue else "page"
        with _lock, open(os.environ["BENCH_RUNS"], "a") as file:
            file.write(f"{kind},{spent * 1000:.3f},{cpu * 1000:.3f}\n")


def _profiled(self: ScriptRunner, data: Any) -> None:
    profile = cProfile.Profile(time.thread_time)
    profile.enable()
    try:
        _metered(self, data)
    finally:
        profile.disable()
        with _lock:
            _profiles.append(profile)
            if len(_profiles) % 25 == 0:
                pstats.Stats(*_profiles).dump_stats(os.environ["BENCH_PROFILE"])


if __name__ == "__main__":
    ScriptRunner._run_script = _profiled if "BENCH_PROFILE" in os.environ else _metered  # type: ignore[method-assign]
    main(prog_name="streamlit")
