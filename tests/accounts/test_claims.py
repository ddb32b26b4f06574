"""What an identity provider says, and what of it is believed."""

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.accounts.claims import MAX_AGE, SENTENCES, Identity, read, sentence
from chatcore.config_oidc import Oidc
from chatcore.errors import SignInRefused

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SAID: dict[str, Any] = {
    "iss": "https://id.example.com",
    "sub": "00u1",
    "aud": "chatcore",
    "iat": NOW.timestamp(),
    "nonce": "n1",
    "email": "ada@example.com",
    "email_verified": True,
    "name": "Ada Lovelace",
}


def provider(**changes: Any) -> Oidc:
    values = {
        "client_id": "chatcore",
        "client_secret": "x",
        "server_metadata_url": "https://id.example.com/.well-known/openid-configuration",
        "allowed_domains": ["example.com"],
        "name": "Example ID",
    }
    return Oidc(**(values | changes))


def heard(oidc: Oidc | None = None, **changes: Any) -> Identity:
    said = {name: value for name, value in (SAID | changes).items() if value is not ...}
    return read(said, oidc or provider(), NOW)


def reason(oidc: Oidc | None = None, **changes: Any) -> str:
    with pytest.raises(SignInRefused) as caught:
        heard(oidc, **changes)
    assert str(caught.value) == sentence(caught.value.reason, oidc or provider())
    return caught.value.reason


def test_somebody_of_an_allowed_domain_is_known_by_issuer_and_subject() -> None:
    who = heard()
    assert (who.key, who.email, who.name) == ("https://id.example.com 00u1", "ada@example.com", "Ada Lovelace")
    assert who.role is None
    assert who.team is None


@pytest.mark.parametrize("claim", ["iss", "sub", "nonce", "aud", "iat"])
@pytest.mark.parametrize("value", [..., None, "", 7, [], {}, True])
def test_without_what_every_token_has_nothing_is_believed(claim: str, value: Any) -> None:
    if (claim, value) == ("iat", 7):
        assert reason(iat=7) == "stale"
        return
    assert reason(**{claim: value}) == "claims"


def test_an_issuer_with_a_space_could_be_another_issuer_and_subject() -> None:
    assert reason(iss="https://id.example.com a") == "claims"


@pytest.mark.parametrize("audience", ["other", ["other"], "", "chatcore ", ["chatcore x"], "CHATCORE"])
def test_a_token_for_another_program_is_refused(audience: Any) -> None:
    assert reason(aud=audience) == "claims"
    assert reason(aud=audience, azp="chatcore") == "claims"


def test_a_token_for_several_programs_is_ours_too() -> None:
    assert heard(aud=["other", "chatcore"]).email == "ada@example.com"


@pytest.mark.parametrize("away", [timedelta(minutes=-11), timedelta(minutes=11), timedelta(days=-400)])
def test_an_old_token_and_one_of_the_future_are_refused(away: timedelta) -> None:
    assert reason(iat=(NOW + away).timestamp()) == "stale"


@pytest.mark.parametrize("issued", [float("nan"), float("inf"), -float("inf"), 10**400])
def test_a_time_that_is_none_is_refused(issued: Any) -> None:
    assert reason(iat=issued) in ("stale", "claims")


def test_a_clock_that_is_a_little_off_does_not_matter() -> None:
    assert heard(iat=(NOW - MAX_AGE + timedelta(seconds=1)).timestamp())


@pytest.mark.parametrize("email", [..., None, "", "  ", 5, ["ada@example.com"]])
def test_without_an_address_nobody_comes_in(email: Any) -> None:
    assert reason(email=email) == "email"


@pytest.mark.parametrize("verified", [..., None, False, "false", "False", 0, "", "yes", [True], {"a": 1}, 2])
def test_an_address_that_is_not_verified_is_refused(verified: Any) -> None:
    assert reason(email_verified=verified) == "unverified"


@pytest.mark.parametrize("verified", [True, "true", 1, "1"])
def test_the_ways_in_which_providers_say_that_it_is(verified: Any) -> None:
    assert heard(email_verified=verified).email == "ada@example.com"


def test_another_claim_can_say_that_it_is() -> None:
    oidc = provider(email_verified_claim="xms_edov")
    assert reason(oidc) == "unverified"
    assert heard(oidc, email_verified=False, xms_edov=True).email == "ada@example.com"


@pytest.mark.parametrize(
    "email",
    [
        "ada@evil.com", "ada@example.com.evil.com", "ada@sub.example.com", "ada@notexample.com", "ada@example.comm",
        "ada@example.com.",
    ],
)  # fmt: skip
def test_only_the_domain_itself_is_allowed(email: str) -> None:
    assert reason(email=email) == "domain"


@pytest.mark.parametrize(
    "email",
    [
        "ada@evil.com@example.com", "ada@", "@example.com", "ada", "ada@example.com\x00", "ada @example.com",
        "ada@exam\u0440le.com", "ada@example\uff0ecom", "\u212aate@example.com", "ada@\u212aexample.com",
        "ada@example.com\n@evil.com", "a" * 65 + "@example.com",
    ],
)  # fmt: skip
def test_letters_that_only_look_like_ours_are_refused(email: str) -> None:
    assert reason(email=email) in ("username", "domain")


def test_capitals_are_the_same_address() -> None:
    assert heard(email=" ADA@Example.COM ").email == "ada@example.com"


def test_with_a_star_every_domain_is_let_in() -> None:
    assert heard(provider(allowed_domains=["*"]), email="mal@evil.com").email == "mal@evil.com"


@pytest.mark.parametrize("name", [..., None, 7, "", "  ", "a\x07b", ["Ada"]])
def test_without_a_name_to_show_it_is_what_stands_before_the_at(name: Any) -> None:
    assert heard(name=name).name == "ada"


def test_a_long_name_is_cut() -> None:
    assert heard(name="x" * 5000).name == "x" * 100


ROLES = {"role_claim": "groups", "roles": {"admin": ["chat-admins"], "operator": ["chat-ops"]}}


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["a", "chat-admins"], "admin"), (["chat-admins", "chat-ops"], "operator"), ("chat-admins", "admin"),
        (["Chat-Admins"], "member"), ("chat-admins,chat-ops", "member"), ([], "member"), (..., "member"),
        (None, "member"), ({"chat-ops": True}, "member"), ([["chat-ops"]], "member"), (7, "member"),
        ([f"{number:036}" for number in range(10_000)] + ["chat-ops"], "operator"),
    ],
)  # fmt: skip
def test_a_role_follows_from_the_values_of_its_claim(groups: Any, role: str) -> None:
    assert heard(provider(**ROLES), groups=groups).role == role


OVERAGE = {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph.example.com"}}}


def test_groups_that_are_too_many_to_be_sent_decide_nothing() -> None:
    assert heard(provider(**ROLES), **OVERAGE).role is None
    assert heard(provider(**ROLES, team_claim="groups"), **OVERAGE).team is None
    assert heard(provider(**ROLES), **OVERAGE, groups=["chat-ops"]).role == "operator"


@pytest.mark.parametrize("names", [None, [], ["groups"], "groups", {}, {"roles": "src1"}, 7])
def test_a_claim_that_is_nowhere_gives_no_role(names: Any) -> None:
    """Who has no role any more has no claim either, at Entra: that must end what it gave."""
    assert heard(provider(**ROLES), _claim_names=names).role == "member"


@pytest.mark.parametrize(
    ("team", "found"),
    [("Search", "Search"), (["", "x\x00", "Ads"], "Ads"), (7, None), (..., None), (["x" * 101], None)],
)
def test_a_team_is_the_first_name_that_can_be_one(team: Any, found: str | None) -> None:
    assert heard(provider(team_claim="department"), department=team).team == found


def test_each_reason_has_a_sentence_with_the_providers_name_and_any_other_word_one_too() -> None:
    for word in SENTENCES:
        assert "{" not in sentence(word, provider())
    assert sentence("cancelled", provider()) == "You cancelled signing in with Example ID. Nothing has changed."
    assert sentence("<b>", provider()) == "Signing in did not work. Try again."
    assert sentence("unavailable", provider(name="your company")).startswith("Your company cannot be reached")


def test_a_refusal_never_repeats_what_the_provider_said() -> None:
    with pytest.raises(SignInRefused) as caught:
        heard(email="planted@evil.com", sub="planted")
    assert "planted" not in str(caught.value)
    assert "nonce" not in repr(heard(nonce="planted"))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(changes=st.dictionaries(st.sampled_from([*SAID, "groups", "department", "_claim_names"]), ANYTHING, max_size=4))
def test_whatever_is_said_the_answer_is_somebody_or_a_refusal(changes: dict[str, Any]) -> None:
    oidc = provider(**ROLES, team_claim="department")
    with contextlib.suppress(SignInRefused):
        who = read(SAID | changes, oidc, NOW)
        assert who.email.endswith("@example.com")
        assert who.email.isascii()
