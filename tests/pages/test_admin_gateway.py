"""The operator's parts of the admin page: the gateway's health, and flags."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select
from streamlit.testing.v1 import AppTest

from chatcore.accounts import Principal
from chatcore.db.tables import AuditEntry, UsageMetric, utcnow
from chatcore.errors import DatabaseError, Forbidden
from chatcore.gateway import Health
from chatcore.ids import new_id
from pages.ui import gateway_parts, session
from tests.pages.test_admin import page, press

NOW = utcnow()


@pytest.fixture
def root(house: Any) -> Principal:
    who: Principal = house.accounts.system_principal("root")
    return who


def gateway(house: Any, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    return page(house, monkeypatch, "root", url="Gateway")


def flags(house: Any, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    return page(house, monkeypatch, "root", url="Flags")


def texts(at: AppTest) -> list[str]:
    return [one.value for one in at.markdown]


def captions(at: AppTest) -> list[str]:
    return [one.value.replace("\\", "") for one in at.caption]


def toasts(at: AppTest) -> list[str]:
    return [one.value.replace("\\", "") for one in at.toast]


def health(**values: Any) -> Health:
    known: dict[str, Any] = {
        "deployment": "gpt#1", "key": "shared", "state": "closed", "word": None, "failures": 0, "open_until": None,
        "last_error": None, "last_ok_at": None, "last_failed_at": None, "calls": 0, "failed": 0,
    }  # fmt: skip
    return Health(**{**known, **values})


# ---- health


def test_every_deployment_has_a_row_with_its_number_and_its_name_as_text(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [text for text in texts(gateway(house, monkeypatch)) if "badge" in text]
    assert found == [
        "**GPT \\*X\\*\\, deployment 1** :gray-badge[not called yet]",
        "**GPT \\*X\\*\\, deployment 2** :gray-badge[not called yet]",
        "**Claude X** :gray-badge[not called yet]",
        "**Mist** :gray-badge[not called yet]",
    ]


def test_failures_in_a_row_open_it_and_stand_in_its_row(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        house.gateway.breakers.started("gpt#2@shared")
        house.gateway.breakers.failed("gpt#2@shared", "bad_key")
    house.gateway.breakers.started("claude#1@shared")
    house.gateway.breakers.succeeded("claude#1@shared")
    at = gateway(house, monkeypatch)
    assert "**GPT \\*X\\*\\, deployment 2** :red-badge[:material/block: paused after failures]" in texts(at)
    assert "**Claude X** :green-badge[:material/check: working]" in texts(at)
    row = next(one for one in captions(at) if one.startswith("openai/gpt-x-eu"))
    assert "2 failures in a row · tried again in " in row
    assert row.endswith("last failed just now: the key was refused · 2 calls, 2 failed")
    assert "anthropic/claude-x · last answered just now · 1 call, 0 failed" in captions(at)
    assert any(one.startswith("3 of 4 can be called.") for one in captions(at))


def test_an_operator_opens_closes_and_takes_the_word_back_and_it_is_audited(
    house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal
) -> None:
    at = gateway(house, monkeypatch)
    words = [("open", "It is not called any more."), ("closed", "It is called again."), (None, "It is automatic.")]
    for word, said in words:
        at.button(key=f"say-{word}-claude#1@shared").click().run()
        assert house.gateway.breakers.health("claude#1@shared").word == word
        assert toasts(at) == [said]
    entries = select(AuditEntry.user_id, AuditEntry.target, AuditEntry.details)
    found = house.db.read(
        lambda db: db.execute(entries.where(AuditEntry.action == "breaker.say").order_by(AuditEntry.id)).all()
    )
    assert [(one.user_id, one.target, one.details["word"]) for one in found] == [
        (root.user_id, "claude#1@shared", word) for word in ("open", "closed", "automatic")
    ]


def test_only_what_would_change_something_is_offered(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = gateway(house, monkeypatch)
    assert {one.label for one in at.button} == {"Pause it", "Always call it"}
    house.gateway.breakers.say("claude#1@shared", "open")
    at.run()
    assert "**Claude X** :red-badge[:material/block: paused by an operator]" in texts(at)
    offered = [one.label for one in at.button if one.key and one.key.endswith("claude#1@shared")]
    assert offered == ["Always call it", "Automatic"]


def test_own_keys_are_folded_and_whose_they_are_is_not_told(
    house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal
) -> None:
    assert not [one for one in gateway(house, monkeypatch).expander if one.label.startswith("Own keys")]
    secret = "sk-planted-bobs-own-0123456789"
    bob = house.accounts.system_principal("bob")
    key = house.keyring.save(bob, "anthropic", secret)
    for _ in range(2):
        house.gateway.breakers.failed(f"claude#1@{key.id}", "bad_key")
    at = gateway(house, monkeypatch)
    fold = next(one for one in at.expander if one.label.startswith("Own keys"))
    assert fold.label == "Own keys (1, 1 not called)"
    assert "**Claude X\\, an own key** :red-badge[:material/block: paused after failures]" in [
        one.value for one in fold.markdown
    ]
    shown = "".join([*texts(at), *captions(at)])
    assert "bob" not in shown.lower()
    assert "6789" not in shown
    assert secret not in repr(at)


def test_of_many_own_keys_those_that_fail_come_first_and_not_all_are_drawn(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        house.gateway.breakers.succeeded(f"claude#1@pkey_{number:02}")
    house.gateway.breakers.say("claude#1@pkey_39", "open")
    at = gateway(house, monkeypatch)
    fold = next(one for one in at.expander if one.label == "Own keys (40, 1 not called)")
    rows = [one.value for one in fold.markdown if "badge" in one.value]
    assert len(rows) == 30
    assert ":red-badge" in rows[0]
    assert "And 10 more." in [one.value for one in fold.caption]


def test_a_deployment_that_is_gone_is_refused_with_a_sentence(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    house.gateway.breakers.failed("old#1@pkey_1", "timeout")
    at = gateway(house, monkeypatch)
    assert any("old (no longer in the configuration)" in text.replace("\\", "") for text in texts(at))
    house.gateway.breakers._states.clear()
    at.button(key="say-open-old#1@pkey_1").click().run()
    assert not at.exception
    assert [one.value.replace("\\", "") for one in at.error] == [
        "This deployment is no longer in the configuration. Reload the page."
    ]


@pytest.mark.parametrize("username", ["admin", "bob"])
def test_the_part_that_draws_itself_anew_looks_who_is_there(
    house: Any, monkeypatch: pytest.MonkeyPatch, username: str
) -> None:
    """Somebody's role may end while the page is open."""
    who = house.accounts.system_principal(username)
    monkeypatch.setattr(session, "current_principal", lambda: who)

    def script() -> None:
        from pages.ui import gateway_parts

        gateway_parts._health()

    at = AppTest.from_function(script, default_timeout=30).run()
    assert not at.exception
    assert not at.button
    assert not at.subheader


@pytest.mark.parametrize("username", ["admin", "bob"])
def test_who_is_no_operator_says_nothing_to_the_gateway(house: Any, username: str) -> None:
    with pytest.raises(Forbidden):
        house.gateway.say(house.accounts.system_principal(username), "claude#1", "shared", "open")
    assert house.gateway.breakers.health("claude#1@shared").word is None


def test_an_operator_whose_role_has_ended_says_nothing_either(house: Any, root: Principal) -> None:
    house.console.add_user("second", "correct horse", name="Second", role="operator", tenant=None, tier="free")
    house.console.set_role("root", "admin")
    with pytest.raises(Forbidden):
        house.gateway.say(root, "claude#1", "shared", "open")
    assert house.gateway.breakers.health("claude#1@shared").word is None


@pytest.mark.parametrize(
    ("values", "badge"),
    [
        ({}, ":gray-badge[not called yet]"),
        ({"calls": 1, "last_ok_at": 1.0}, ":green-badge[:material/check: working]"),
        ({"calls": 1, "failures": 1}, ":orange-badge[:material/warning: working, with failures]"),
        ({"calls": 5, "failures": 5, "state": "open"}, ":red-badge[:material/block: paused after failures]"),
        ({"calls": 5, "state": "open", "word": "open"}, ":red-badge[:material/block: paused by an operator]"),
        ({"calls": 5, "failures": 5, "state": "trial"}, ":orange-badge[:material/hourglass: on trial]"),
        (
            {"calls": 1, "word": "closed"},
            ":green-badge[:material/check: working] :gray-badge[always called, by an operator]",
        ),
    ],
)
def test_the_badge_says_how_it_is(values: dict[str, Any], badge: str) -> None:
    assert gateway_parts.badge(health(**values)) == badge


def test_the_facts_are_said_in_plain_words() -> None:
    two, ten = (NOW - timedelta(minutes=2)).timestamp(), (NOW - timedelta(minutes=10)).timestamp()
    full = health(
        failures=3, open_until=NOW.timestamp() + 24, last_error="timeout", last_failed_at=two, last_ok_at=ten,
        calls=1200, failed=3,
    )  # fmt: skip
    assert gateway_parts.facts(full, NOW) == [
        "3 failures in a row", "tried again in 24 s", "last answered 10 minutes ago",
        "last failed 2 minutes ago: no answer in time", "1,200 calls, 3 failed",
    ]  # fmt: skip
    assert gateway_parts.facts(health(), NOW) == []
    late = health(failures=1, open_until=NOW.timestamp() - 1, last_error="sk-odd", last_failed_at=two)
    assert gateway_parts.facts(late, NOW) == ["1 failure in a row", "last failed 2 minutes ago: an error"]


# ---- prices and fallbacks


def test_calls_without_a_price_are_listed_with_the_command(
    house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal
) -> None:
    stranger = house.accounts.system_principal("stranger")

    def call(who: Principal, model: str, days: int, cost: int | None) -> UsageMetric:
        return UsageMetric(
            id=new_id("use"), created_at=utcnow() - timedelta(days=days), tenant_id=who.tenant_id, user_id=who.user_id,
            purpose="chat", provider="mistral", model=model, outcome="ok", prompt_tokens=40, completion_tokens=2,
            usage_source="provider", price_source="none", cost_nano_usd=cost, tier="free", trace_id="",
        )  # fmt: skip

    rows = [call(root, "mist", 1, None), call(root, "gpt", 1, 5), call(root, "old", 40, None)]
    house.db.write(lambda db: db.add_all([*rows, call(stranger, "theirs", 1, None)]))
    at = gateway(house, monkeypatch)
    assert [row[:4] for row in at.dataframe[0].value.values.tolist()] == [["mist", "mistral", 1, 42]]
    assert at.code[0].value == "python -m chatcore prices recompute"


def test_calls_that_cannot_be_priced_are_told_as_the_usage_page_counts_them(
    house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal
) -> None:
    def made_up(number: int) -> UsageMetric:
        return UsageMetric(
            id=new_id("use"), created_at=utcnow() - timedelta(hours=number + 1), tenant_id=root.tenant_id, is_demo=True,
            user_id=root.user_id, purpose="chat", provider="mistral", model="mist", outcome="ok", prompt_tokens=40,
            completion_tokens=2, usage_source="provider", price_source="demo", cost_nano_usd=None, trace_id="",
        )  # fmt: skip

    house.db.write(lambda db: db.add_all([made_up(number) for number in range(3)]))
    at = gateway(house, monkeypatch)
    assert (
        "Every call of the last 30 days that can be priced has a price. 3 calls more without one cannot be priced: "
        "demo data, or broken off before any tokens were known."
    ) in captions(at)
    assert not at.code


def test_the_breakers_own_word_is_in_the_tooltip(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    house.gateway.breakers.say("claude#1@shared", "open")
    rows = [one for one in gateway(house, monkeypatch).markdown if "paused by an operator" in one.value]
    assert [one.proto.help for one in rows] == ["The breaker is open."]


def test_with_every_call_priced_there_is_nothing_to_run(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = gateway(house, monkeypatch)
    assert "Every call of the last 30 days has a price." in captions(at)
    assert not at.code


def test_the_fallbacks_stand_as_they_are_asked(house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal) -> None:
    house.flags.set(root, fallback="claude")
    at = gateway(house, monkeypatch)
    assert at.dataframe[-1].value.fillna("").values.tolist() == [
        ["GPT *X*", "Claude X → Mist", "", ""],
        ["Claude X", "", "", ""],
        ["Mist", "Claude X", "GPT *X*", ""],
    ]


# ---- flags


def test_a_switch_is_saved_at_once_marked_and_taken_back(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = flags(house, monkeypatch)
    assert {one.key for one in at.toggle if not one.value} == {"flag-execute_code"}
    assert "changed" not in "".join(texts(at))
    at.toggle(key="flag-streaming").set_value(False).run()
    assert house.flags.now.streaming is False
    assert house.flags.configured.streaming is True
    assert toasts(at) == ["Streaming is off."]
    assert at.toggle(key="flag-streaming").value is False
    at.button(key="flag-back-streaming").click().run()
    assert house.flags.now.streaming is True
    assert toasts(at) == ["Streaming is as configured."]
    assert at.toggle(key="flag-streaming").value is True
    assert not [one for one in at.button if one.key == "flag-back-streaming"]


def test_what_somebody_else_changed_is_seen_at_the_next_look(
    house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal
) -> None:
    at = flags(house, monkeypatch)
    house.flags.set(root, cache=False)
    at.run()
    assert at.toggle(key="flag-cache").value is False


def test_a_provider_that_an_alert_put_aside_is_named_beside_the_deployments(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.flags.put_aside(["anthropic"])
    assert any(
        "asked last" in text and "anthropic" in text
        for text in captions(page(house, monkeypatch, "root", url="Gateway"))
    )


def test_switching_the_gateway_off_asks_first(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = flags(house, monkeypatch)
    at.toggle(key="flag-gateway").set_value(False).run()
    assert house.flags.now.gateway is True
    assert at.toggle(key="flag-gateway").value is True, "nothing has happened yet"
    assert any("one direct call" in text for text in texts(at))
    press(at, "Cancel")
    assert house.flags.now.gateway is True
    at.toggle(key="flag-gateway").set_value(False).run()
    press(at, "Switch off")
    assert house.flags.now.gateway is False
    assert toasts(at) == ["The gateway is off."]
    at.toggle(key="flag-gateway").set_value(True).run()
    assert house.flags.now.gateway is True, "on again without a question"


def test_switching_a_provider_off_asks_first_and_on_again_does_not(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = flags(house, monkeypatch)
    box = at.multiselect(key="flag-disabled_providers")
    assert box.options == ["openai", "anthropic", "mistral"]
    box.set_value(["anthropic"]).run()
    assert house.flags.now.disabled_providers == ()
    assert any("Claude X" in text and "anthropic" in text for text in texts(at))
    press(at, "Switch off")
    assert house.flags.now.disabled_providers == ("anthropic",)
    assert at.multiselect(key="flag-disabled_providers").value == ["anthropic"]
    at.multiselect(key="flag-disabled_providers").set_value([]).run()
    assert house.flags.now.disabled_providers == ()
    assert toasts(at) == ["The provider is switched on again."]


def test_primary_and_fallback_are_chosen_and_taken_back(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = flags(house, monkeypatch)
    box = at.selectbox(key="flag-primary")
    assert box.options == ["As configured (GPT *X*)", "GPT *X*", "Claude X", "Mist"]
    assert box.value == ""
    box.set_value("claude").run()
    at.selectbox(key="flag-fallback").set_value("mist").run()
    assert (house.flags.now.primary, house.flags.now.fallback) == ("claude", "mist")
    at.selectbox(key="flag-primary").set_value("").run()
    at.button(key="flag-back-fallback").click().run()
    assert (house.flags.now.primary, house.flags.now.fallback) == (None, None)
    assert at.selectbox(key="flag-fallback").value == ""


def test_what_is_no_longer_configured_is_still_shown(
    house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal
) -> None:
    house.flags.set(root, primary="gone", disabled_providers=["groq"])
    at = flags(house, monkeypatch)
    assert at.selectbox(key="flag-primary").options[-1] == "gone (no longer in the configuration)"
    assert at.multiselect(key="flag-disabled_providers").value == ["groq"]


def test_a_flag_that_cannot_be_saved_stays_as_it_was(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise DatabaseError("The database does not answer.")

    house.flags = SimpleNamespace(now=house.flags.now, configured=house.flags.configured, set=fails)
    at = flags(house, monkeypatch)
    at.toggle(key="flag-cache").set_value(False).run()
    assert [one.value for one in at.error] == ["The database does not answer\\."]
    assert at.toggle(key="flag-cache").value is True
    assert not at.toast
