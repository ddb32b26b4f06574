"""The gateway worker as a process: what it is given, and what happens when it, or whoever started it, is gone."""

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatcore.bootstrap import Core
from chatcore.config import PROJECT_ROOT, load_settings, worker_environment
from chatcore.errors import ProviderDown
from chatcore.gateway import protocol
from chatcore.gateway.process import Delta, RemoteCall
from chatcore.gateway.protocol import CallSpec, Failure
from tests.chat import KEY, PROMPT_PRICE, Chat, running_core, until
from tests.hostile import HostileProvider

SLOW = "ok;n=200;rate=20"


@pytest.fixture(scope="module")
def provider() -> Iterator[HostileProvider]:
    with HostileProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory, provider: HostileProvider) -> Iterator[Core]:
    with running_core(tmp_path_factory.mktemp("core"), provider, [SLOW, "ok;n=20"]) as core:
        yield core


@pytest.fixture
def chat(core: Core, provider: HostileProvider) -> Chat:
    return Chat(core, provider, f"person-{secrets.token_hex(4)}")


def environment_of(pid: int) -> dict[str, str]:
    path = Path(f"/proc/{pid}/environ")
    if not path.exists():
        pytest.skip("this system has no /proc to look at a process's environment")
    return dict(pair.split("=", 1) for pair in path.read_text().split("\0") if "=" in pair)


def test_it_is_given_none_of_our_own_secrets(core: Core) -> None:
    given = environment_of(core.gateway.worker_pid or 0)
    assert given["LITELLM_MODE"] == "PRODUCTION"
    private = {"CHATCORE_SECRET_KEY", "CHATCORE_ADMIN_PASSWORD", "CHATCORE_DATABASE_URL", "CHATCORE_REDIS_URL"}
    assert not private & given.keys()
    assert core.settings.secret_key not in given.values()


def test_the_page_process_has_not_imported_litellm() -> None:
    code = "import sys, chatcore.bootstrap, chatcore.gateway; sys.exit('litellm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, check=False).returncode == 0


def test_killed_in_mid_call_it_ends_the_call_and_another_takes_its_place(core: Core, chat: Chat) -> None:
    asked = chat.ask(SLOW, "kill me")
    live = core.turns.engine.live(str(asked.turn_id))
    assert live is not None
    until(lambda: "[5]" in live.text())
    before = core.gateway.worker_pid
    assert before
    os.kill(before, signal.SIGKILL)
    said = chat.words(asked)
    row, reply = chat.ledger(asked.turn_id), chat.reply(asked)
    assert (reply.status, row.outcome, row.error_type) == ("failed", "error", ProviderDown.code)
    assert "[5]" in said
    assert reply.content == said, "its words are kept"
    assert row.usage_source == "estimated"
    assert row.prompt_tokens > 0
    assert row.completion_tokens == len(said) // 4
    assert row.cost_nano_usd is not None
    assert row.cost_nano_usd >= round(row.prompt_tokens * PROMPT_PRICE * 1e9)
    assert KEY not in str(reply.parts)

    call = chat.call("kill me")
    until(lambda: call.closed_by_client_at is not None)

    meanwhile = chat.answer("ok;n=20", "is anybody there?", asked.conversation_id)
    assert meanwhile.status == "complete", "the next question waits for the worker that is just starting"
    assert core.gateway.worker_pid != before
    again = chat.core.turns.retry(chat.who, str(asked.message_id), model="ok;n=20")
    chat.words(again)
    assert chat.reply(again).status == "complete"


def start_worker() -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair()
    environment = worker_environment(load_settings({"CHATCORE_SECRET_KEY": "x", "PATH": os.environ["PATH"]}))
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "chatcore.gateway.worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()], cwd=PROJECT_ROOT, env=environment, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
    return process, ours


def test_it_ends_when_whoever_started_it_is_gone(provider: HostileProvider) -> None:
    process, ours = start_worker()
    spec = CallSpec(
        target=f"openai/{SLOW}", messages=[{"role": "user", "content": "orphan"}],
        arguments={"api_base": provider.url, "api_key": KEY}, first_word_timeout=30, between_words_timeout=30,
    )  # fmt: skip
    ours.sendall(protocol.encode({"id": 1, "call": spec.model_dump()}))
    provider.wait_until(lambda log: any("orphan" in str(call.messages) for call in log), timeout=30)
    ours.close()  # as when the page process is killed
    assert process.wait(10) == 0
    [call] = [call for call in provider.log if "orphan" in str(call.messages)]
    until(lambda: call.closed_by_client_at is not None)
    assert process.stderr
    assert KEY.encode() not in process.stderr.read()
    process.stderr.close()


# --- the page process's side ----------------------------------------------------------------------------------------


def spec_of(text: str) -> CallSpec:
    return CallSpec(
        target="openai/x", messages=[{"role": "user", "content": text}], arguments={}, first_word_timeout=1,
        between_words_timeout=1,
    )  # fmt: skip


def test_words_of_a_lost_worker_are_billed_at_four_characters_a_token() -> None:
    async def test() -> list[Delta]:
        call = RemoteCall(spec_of("x" * 400), lambda: None)
        call.receive({"id": 1, "started": True})
        call.receive({"id": 1, "deltas": [["text", "y" * 40], ["reasoning", "z" * 40]]})
        call.settle_without_worker(Failure(code="provider_down"))
        batches = [batch async for batch in call]
        assert call.end
        assert call.end.outcome == "error"
        usage = call.end.usage
        assert (usage.source, usage.prompt, usage.completion) == ("estimated", 100, 20)
        return batches[0]

    assert asyncio.run(test()) == [Delta("text", "y" * 40), Delta("reasoning", "z" * 40)]


def test_a_call_that_was_never_sent_costs_nothing() -> None:
    async def test() -> None:
        call = RemoteCall(spec_of("x" * 400), lambda: None)
        call.settle_without_worker(None)
        assert call.end
        assert (call.end.outcome, call.end.usage.source, call.end.usage.prompt) == ("stopped", "none", 0)

    asyncio.run(test())


@pytest.mark.parametrize(
    "sent", [b"", b"\x00", b"\x00\x00\x00\x05{", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x00\x00\x00\x01\xff"]
)
def test_a_frame_that_is_cut_or_absurd_is_the_end(sent: bytes) -> None:
    async def read() -> object:
        ours, theirs = socket.socketpair()
        threading.Thread(target=lambda: (theirs.sendall(sent), theirs.close())).start()
        reader, writer = await asyncio.open_connection(sock=ours)
        message = await asyncio.wait_for(protocol.read_frame(reader), 5)
        writer.close()
        return message

    assert asyncio.run(read()) is None


def test_litellm_still_has_what_the_worker_leans_on() -> None:
    code = (
        "from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper as S; import sys;"
        "sys.exit(not all(hasattr(S, n) for n in ('_finalize_completed_stream', '__anext__', 'aclose')))"
    )
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, env=environment, check=False)
    assert done.returncode == 0
