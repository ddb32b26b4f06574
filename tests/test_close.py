"""The end of a process whose database says nothing any more."""

import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy.engine import URL

from chatcore import bootstrap
from chatcore.bootstrap import open_core
from chatcore.config import Settings
from chatcore.db import leases
from chatcore.watch import LEASE
from tests.proxy import Proxy


@pytest.mark.postgres
def test_a_process_ends_though_its_postgresql_hangs(
    postgres_url: URL, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bootstrap, "_LET_GO_AFTER", 0.5)
    with closing(Proxy(str(postgres_url.host), postgres_url.port or 5432)) as proxy:
        url = postgres_url.set(host="127.0.0.1", port=proxy.port)
        core = open_core(replace(settings, database_url=url, drain_seconds=0))
        core.start()
        core.watch.round()
        assert not core.db.write(lambda session: leases.take(session, LEASE, "another", 150))
        proxy.hang()
        end = threading.Thread(target=core.close, daemon=True)
        began = time.monotonic()
        end.start()
        end.join(30)
        assert not end.is_alive()
        assert time.monotonic() - began < 25
    assert "the database did not answer in time" in caplog.text
