"""Planning: what a caller may use, with which key and prices, which model a name means, and the route behind it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from chatcore.accounts import Principal
from chatcore.config import Settings, load_settings
from chatcore.db import Database
from chatcore.errors import ContextTooLong, ModelUnavailable, ProviderDown, RateLimited, RefusedContent
from chatcore.flags import FlagStore
from chatcore.gateway.breaker import Breakers
from chatcore.gateway.catalog import Catalog, Model
from chatcore.gateway.choice import Task
from chatcore.gateway.keyring import OwnKey
from chatcore.gateway.planning import Caller, Planner
from chatcore.gateway.routing import Route, Step
from chatcore.shared import Shared
from tests.conftest import add_person

SHARED = "sk-shared-0123456789"
ENV = {"OPENAI_API_KEY": SHARED, "ANTHROPIC_API_KEY": SHARED}


@dataclass(frozen=True)
class House:
    planner: Planner
    catalog: Catalog
    breakers: Breakers
    flags: FlagStore
    operator: Principal

    def set(self, **flags: Any) -> None:
        self.flags.set(self.operator, **flags)

    def price(self, model: str, **prices: str) -> None:
        """Set what a model costs the operator's tenant."""
        self.flags.set_prices(self.operator, model, prices)

    def member(self) -> Caller:
        """A colleague of the operator."""
        return ada(tenant_id=self.operator.tenant_id)

    def route(self, name: str, caller: Caller | None = None, task: Task | None = None) -> Route:
        return self.planner.route(caller or ada(), name, task)


Make = Callable[..., House]


@pytest.fixture
def make(database: Database, tmp_path: Path) -> Make:
    """Makes a planner of a config file's content. `own`: the `chatcore:` section, `router`: `router_settings`."""

    numbers = count(1)

    def house(*entries: dict[str, Any], env: Mapping[str, str] | None = None, router: Any = None, **own: Any) -> House:
        content = {"model_list": list(entries), "router_settings": router or {}, "chatcore": own}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
        environ = {"CHATCORE_SECRET_KEY": "x", **(ENV if env is None else env)}
        settings: Settings = load_settings(environ, root=tmp_path)
        flags, breakers, catalog = FlagStore(database, settings), Breakers(Shared(None)), Catalog(settings)
        operator = add_person(database, f"op{next(numbers)}", role="operator")
        return House(Planner(settings, catalog, breakers, flags), catalog, breakers, flags, operator)

    return house


def entry(name: str, target: str = "", info: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    return {
        "model_name": name, "litellm_params": {"model": target or f"openai/{name}-x", **params},
        "model_info": info or {},
    }  # fmt: skip


def ada(keys: list[OwnKey] | None = None, **values: Any) -> Caller:
    held = {key.provider: key for key in keys or []}
    return Caller(**{"tenant_id": "tenant_1", "user_id": "usr_ada", "tenant": "Acme", "keys": held, **values})


def own(slot: str = "openai", source: Any = "person", number: int = 1) -> OwnKey:
    return OwnKey(f"pkey_{number}", slot, f"sk-own-{slot}-{number}", source)


def steps(route: Route) -> list[tuple[str, ...]]:
    """The deployments of each line."""
    return [tuple(step.model.deployment for step in line.steps) for line in route.lines]


def names(models: list[Model]) -> list[str]:
    return [model.name for model in models]


def first(route: Route) -> Step:
    found = route.first()
    assert found is not None
    return found


def after(route: Route, error: Exception) -> str | None:
    """The model that follows when the first call failed with that."""
    following = route.after(first(route), error, said=True)  # type: ignore[arg-type]
    return following.model.name if following else None


# --- keys -----------------------------------------------------------------------------------------------------------


def test_without_a_key_of_ones_own_the_shared_one_is_used(make: Make) -> None:
    step = first(make(entry("m")).route("m"))
    assert (step.breaker, step.key_source) == ("m#1@shared", "shared")
    assert "api_key" not in step.model.arguments, "litellm reads it from the worker's environment"


@pytest.mark.parametrize("source", ["person", "tenant"])
def test_a_key_of_ones_own_comes_before_the_shared_one(make: Make, source: str) -> None:
    step = first(make(entry("m", api_key=SHARED)).route("m", ada([own(source=source)])))
    assert step.model.arguments["api_key"] == "sk-own-openai-1"
    assert (step.breaker, step.key_source) == ("m#1@pkey_1", source)


def test_the_shared_key_stays_what_it_is_for_others(make: Make) -> None:
    house = make(entry("m", api_key=SHARED))
    house.route("m", ada([own()]))
    assert first(house.route("m")).model.arguments["api_key"] == SHARED
    assert house.catalog.get("m").arguments["api_key"] == SHARED


def test_a_key_makes_a_model_available_to_its_owner_only(make: Make) -> None:
    house = make(entry("m"), env={})
    who = ada([own()])
    assert house.planner.choices(ada())[0].why_not == "Set OPENAI_API_KEY to use m."
    assert house.planner.choices(who)[0].available
    assert house.planner.pick(who, "m", Task()).model.available
    assert first(house.route("m", who)).key_source == "person"
    with pytest.raises(ModelUnavailable, match=r"Set OPENAI_API_KEY to use m\."):
        house.planner.pick(ada(), "m", Task())
    assert house.route("m").first() is None


def test_a_key_that_was_not_opened_is_enough_to_choose_and_not_to_call(make: Make) -> None:
    house = make(entry("m"), env={})
    who = ada(slots=frozenset(["openai"]))
    assert house.planner.choices(who)[0].available
    default = house.planner.default(who)
    assert default is not None
    assert default.name == "m"
    assert not house.planner.choices(ada(slots=frozenset(["groq"])))[0].available
    assert house.route("m", who).first() is None


def test_a_key_is_no_use_where_more_than_a_key_is_missing(make: Make) -> None:
    house = make(entry("m", "azure/m", api_base="os.environ/NOT_SET"), env={})
    who = ada([own("azure"), own("azure@x")])
    assert not house.planner.choices(who)[0].available
    assert house.route("m", who).first() is None


def test_a_key_of_another_provider_is_no_use(make: Make) -> None:
    house = make(entry("m"), env={})
    assert house.route("m", ada([own("anthropic")])).first() is None


@pytest.mark.parametrize("base", ["http://127.0.0.1:9/v1", "https://elsewhere.example/v1", "https://api.openai.com/v1"])
def test_a_key_is_never_sent_to_another_server_of_the_same_protocol(make: Make, base: str) -> None:
    house = make(entry("m", api_base=base, api_key="sk-theirs-0123456789"))
    step = first(house.route("m", ada([own("openai"), own("openai@127.0.0.1:10", number=2)])))
    assert step.key_source == "shared"
    assert step.model.arguments["api_key"] == "sk-theirs-0123456789"


def test_a_server_of_ones_own_has_a_slot_of_its_own(make: Make) -> None:
    house = make(entry("m", api_base="http://user:pw@127.0.0.1:9/v1"), entry("n"), env={})
    who = ada([own("openai@127.0.0.1:9")])
    step = first(house.route("m", who))
    assert (step.key_source, step.model.arguments["api_key"]) == ("person", "sk-own-openai@127.0.0.1:9-1")
    assert house.route("n", who).first() is None, "and never goes to the provider's"


def test_each_deployment_takes_the_key_of_its_own_slot(make: Make) -> None:
    house = make(
        entry("m"), entry("m", "anthropic/x"), entry("m", api_base="http://127.0.0.1:9/v1"), entry("m", "bedrock/x"),
        env={"ANTHROPIC_API_KEY": SHARED},
    )  # fmt: skip
    who = ada([own("openai"), own("openai@127.0.0.1:9", "tenant", 2)])
    (line,) = house.route("m", who).lines
    assert [(step.breaker, step.key_source) for step in line.steps] == [
        ("m#1@pkey_1", "person"), ("m#2@shared", "shared"), ("m#3@pkey_2", "tenant"), ("m#4@shared", "shared"),
    ]  # fmt: skip
    (line,) = house.route("m").lines
    assert [step.breaker for step in line.steps] == ["m#2@shared", "m#3@shared", "m#4@shared"]


def test_no_key_stands_in_the_repr_of_a_route(make: Make) -> None:
    who = ada([own()])
    route = make(entry("m", api_key=SHARED)).route("m", who)
    for shown in (repr(who), repr(route.lines), repr(first(route))):
        assert "sk-" not in shown


# --- who may use what -----------------------------------------------------------------------------------------------

ACCESS = [
    ({"roles": ["admin"]}, {"role": "admin"}, {"role": "member"}),
    ({"roles": ["admin", "operator"]}, {"role": "operator"}, {"role": "member"}),
    ({"tiers": ["pro"]}, {"tier": "pro"}, {"tier": "free"}),
    ({"tenants": ["Acme"]}, {"tenant": "Acme"}, {"tenant": "Other"}),
    ({"tenants": ["tenant_7"]}, {"tenant_id": "tenant_7"}, {"tenant_id": "tenant_8"}),
    ({"tenants": ["tenant_7", "Acme"]}, {"tenant_id": "tenant_8", "tenant": "Acme"}, {"tenant": "acme"}),
    ({"roles": ["admin"], "tiers": ["pro"]}, {"role": "admin", "tier": "pro"}, {"role": "admin", "tier": "free"}),
    ({"roles": ["admin"], "tiers": ["pro"]}, {"role": "admin", "tier": "pro"}, {"role": "member", "tier": "pro"}),
]


def refused(house: House, who: Caller, name: str = "m") -> str:
    with pytest.raises(ModelUnavailable) as caught:
        house.planner.pick(who, name, Task())
    assert name not in names(house.planner.choices(who))
    assert house.route(name, who).first() is None, "and no route leads there"
    return str(caught.value)


@pytest.mark.parametrize(("access", "yes", "no"), ACCESS)
@pytest.mark.parametrize("by_flag", [False, True])
def test_models_are_for_roles_tiers_and_tenants(make: Make, access: Any, yes: Any, no: Any, by_flag: bool) -> None:
    house = make(entry("m", info={} if by_flag else {"access": access}), entry("n"))
    if by_flag:
        house.set(access={"m": access})
    assert house.planner.pick(ada(**yes), "m", Task()).model.name == "m"
    assert names(house.planner.choices(ada(**yes))) == ["m", "n"]
    assert refused(house, ada(**no)) == "You may not use this model. Choose another one, or ask an administrator."
    assert names(house.planner.choices(ada(**no))) == ["n"]


def test_the_flag_takes_the_place_of_the_file(make: Make) -> None:
    house = make(entry("m", info={"access": {"roles": ["admin"]}}))
    house.set(access={"m": {}})
    assert house.planner.pick(ada(), "m", Task()).model.name == "m"
    house.set(access={"m": {"tiers": ["pro"]}})
    refused(house, ada(role="admin"))
    house.set(access=None)
    assert house.planner.pick(ada(role="admin"), "m", Task()).model.name == "m"
    refused(house, ada())


def test_a_key_of_ones_own_opens_no_model_that_is_not_for_one(make: Make) -> None:
    house = make(entry("m", info={"access": {"roles": ["admin"]}}))
    refused(house, ada([own()]))


def test_a_fallback_that_is_not_for_one_is_left_out(make: Make) -> None:
    house = make(entry("m"), entry("n", info={"access": {"tiers": ["pro"]}}), router={"fallbacks": [{"m": ["n"]}]})
    assert steps(house.route("m")) == [("m#1",)]
    assert steps(house.route("m", ada(tier="pro"))) == [("m#1",), ("n#1",)]


def test_of_several_deployments_those_that_are_for_one_are_used(make: Make) -> None:
    house = make(entry("m", info={"access": {"tiers": ["pro"]}}), entry("m", "anthropic/m"))
    assert steps(house.route("m")) == [("m#2",)]
    assert steps(house.route("m", ada(tier="pro"))) == [("m#1", "m#2")]
    assert house.planner.pick(ada(), "m", Task()).model.deployment == "m#2"
    assert names(house.planner.choices(ada())) == ["m"]


def test_a_model_that_is_gone_is_told_so(make: Make) -> None:
    with pytest.raises(ModelUnavailable, match="no longer in the configuration"):
        make(entry("m")).planner.pick(ada(), "gone", Task())


# --- providers switched off -----------------------------------------------------------------------------------------


def test_a_disabled_provider_is_asked_for_nothing(make: Make) -> None:
    house = make(entry("m"), entry("n", "anthropic/n"), router={"fallbacks": [{"n": ["m"]}]})
    house.set(disabled_providers=["openai"])
    assert refused(house, ada([own()])) == "m is switched off for now. Choose another model."
    assert names(house.planner.choices(ada())) == ["n"]
    assert steps(house.route("n")) == [("n#1",)]
    house.set(disabled_providers=None)
    assert steps(house.route("n")) == [("n#1",), ("m#1",)]


def test_a_model_with_a_deployment_elsewhere_goes_on(make: Make) -> None:
    house = make(entry("m"), entry("m", "anthropic/m"))
    house.set(disabled_providers=["openai"])
    assert steps(house.route("m")) == [("m#2",)]
    assert house.planner.pick(ada(), "m", Task()).model.provider == "anthropic"
    assert names(house.planner.choices(ada())) == ["m"]


def test_a_provider_that_is_aside_is_asked_last(make: Make) -> None:
    router = {"fallbacks": [{"m": ["n"]}], "context_window_fallbacks": [{"m": ["o", "n"]}]}
    house = make(entry("m"), entry("m", "anthropic/m"), entry("n", "anthropic/n"), entry("o"), router=router)
    house.flags.put_aside(["openai"])
    assert steps(house.route("m")) == [("m#2",), ("n#1",), ("m#1",)]
    assert [line.name for line in house.route("m").lines] == ["m", "n", "m"]
    assert after(house.route("m"), ContextTooLong("")) == "n"
    assert house.planner.pick(ada(), "m", Task()).model.name == "m", "it can be chosen all the same"
    house.flags.put_aside([])
    assert steps(house.route("m")) == [("m#1", "m#2"), ("n#1",)]


def test_where_nobody_else_can_answer_a_provider_that_is_aside_is_asked(make: Make) -> None:
    house = make(entry("m"))
    house.flags.put_aside(["openai"])
    assert steps(house.route("m")) == [("m#1",)]
    house.set(failover=False)
    assert steps(house.route("m")) == [("m#1",)]


def test_without_the_gateway_nobody_is_aside(make: Make) -> None:
    house = make(entry("m"), entry("m", "anthropic/m"))
    house.flags.put_aside(["openai"])
    house.set(gateway=False)
    assert steps(house.route("m")) == [("m#1",)]


def test_auto_passes_over_providers_that_are_aside_while_another_is_left(make: Make) -> None:
    house = make(entry("m"), entry("n", "anthropic/n"), aliases={"fast": "m", "balanced": "n"})
    assert house.planner.pick(ada(), "auto", Task(text="hi")).model.name == "m"
    house.flags.put_aside(["openai"])
    assert house.planner.pick(ada(), "auto", Task(text="hi")).model.name == "n"
    house.flags.put_aside(["anthropic", "openai"])
    assert house.planner.pick(ada(), "auto", Task(text="hi")).model.name == "m"


def test_a_deployment_that_only_ones_own_key_opens_makes_a_model_available(make: Make) -> None:
    house = make(entry("m"), entry("m", "anthropic/m"), env={})
    who = ada([own("anthropic")])
    assert house.planner.choices(who)[0].available
    assert house.planner.pick(who, "m", Task()).model.deployment == "m#2"
    assert steps(house.route("m", who)) == [("m#2",)]


# --- prices ---------------------------------------------------------------------------------------------------------


def test_a_tenant_s_prices_are_its_own(make: Make) -> None:
    house = make(entry("m", input_cost_per_token=1e-6, output_cost_per_token=2e-6))
    house.price("m", input_cost_per_token="0.000000004", cache_read_input_token_cost="0.000000001")
    prices = first(house.route("m", house.member())).model.prices
    assert (prices.source, prices.unit) == ("tenant", {"prompt": "0.000000004", "cached": "0.000000001"})
    elsewhere = first(house.route("m", ada(tenant_id="tenant_2"))).model.prices
    assert (elsewhere.source, elsewhere.unit) == ("config", {"prompt": "0.000001", "completion": "0.000002"})


def test_a_fallback_is_priced_as_itself(make: Make) -> None:
    fallbacks = {"fallbacks": [{"m": ["n"]}]}
    house = make(entry("m", input_cost_per_token=1e-6), entry("n", input_cost_per_token=5e-6), router=fallbacks)
    house.price("n", input_cost_per_token="0.7")
    found = [step.model.prices.unit for step in house.route("m", house.member()).steps]
    assert found == [{"prompt": "0.000001"}, {"prompt": "0.7"}]


def test_prices_that_say_nothing_change_nothing(make: Make) -> None:
    house = make(entry("m", input_cost_per_token=1e-6))
    house.price("m", color="1")
    assert first(house.route("m", house.member())).model.prices.source == "config"


# --- tries and times ------------------------------------------------------------------------------------------------


def test_how_often_and_how_long_by_the_part_that_is_played(make: Make) -> None:
    house = make(
        entry("m"), entry("n"), entry("r", info={"supports_reasoning": True}),
        router={"fallbacks": [{"m": ["n", "r"]}]},
    )  # fmt: skip

    def played(name: str) -> list[tuple[str, int, float | None]]:
        lines = house.route(name).lines
        return [(one.steps[0].role, one.tries, one.steps[0].model.first_word_timeout) for one in lines]

    assert played("m") == [("primary", 3, 30), ("fallback", 2, 45), ("fallback", 2, 60)]
    assert played("r") == [("reasoning", 2, 60)]


def test_tries_and_times_are_settings(make: Make) -> None:
    attempts = {"primary": {"tries": 5, "timeout": 9}}
    (line,) = make(entry("m"), attempts=attempts).route("m").lines
    assert (line.tries, line.steps[0].model.first_word_timeout) == (5, 9)


@pytest.mark.parametrize(
    ("router", "params", "tries"),
    [({}, {}, 3), ({"num_retries": 0}, {}, 1), ({"num_retries": 4}, {}, 5), ({"num_retries": 4}, {"num_retries": 1}, 2),
     ({}, {"num_retries": 0}, 1)],
)  # fmt: skip
def test_retries_of_the_proxy_s_file_are_tries_less_one(make: Make, router: Any, params: Any, tries: int) -> None:
    (line,) = make(entry("m", **params), router=router).route("m").lines
    assert line.tries == tries


def test_a_time_of_a_model_s_own_holds_in_every_part(make: Make) -> None:
    house = make(entry("m", info={"first_word_timeout": 7}), entry("n"), router={"fallbacks": [{"n": ["m"]}]})
    assert [step.model.first_word_timeout for step in house.route("n").steps] == [30, 7]


def test_who_waits_in_silence_for_how_long(make: Make) -> None:
    house = make(entry("m"), entry("r", info={"supports_reasoning": True}), slow_after=2.5)
    assert house.planner.patience(house.catalog.get("m")) == 2.5
    assert house.planner.patience(house.catalog.get("r")) is None, "it thinks first"
    house.set(failover=False)
    assert house.planner.patience(house.catalog.get("m")) is None
    house.set(failover=None, gateway=False)
    assert house.planner.patience(house.catalog.get("m")) is None


# --- fallbacks ------------------------------------------------------------------------------------------------------

FOUR = [entry(name) for name in "abcdef"]


@pytest.mark.parametrize(
    ("router", "behind"),
    [
        ({}, ""),
        ({"fallbacks": [{"a": ["b", "c"]}]}, "bc"),
        ({"fallbacks": [{"b": ["c"]}]}, ""),
        ({"fallbacks": [{"a": ["b"]}, {"a": ["c"]}]}, "bc"),
        ({"fallbacks": [{"*": ["d"]}, {"a": ["b"]}]}, "bd"),
        ({"fallbacks": [{"*": ["d"]}], "default_fallbacks": ["e"]}, "de"),
        ({"default_fallbacks": ["e", "d"]}, "ed"),
        ({"fallbacks": [{"a": ["b", "a", "b"]}], "default_fallbacks": ["b", "a", "c"]}, "bc"),
        ({"fallbacks": [{"a": ["gone", "b"]}]}, "b"),
    ],
)
def test_fallbacks_come_in_the_order_of_the_file_each_once(make: Make, router: Any, behind: str) -> None:
    route = make(*FOUR, router=router).route("a")
    assert [line.name for line in route.lines] == ["a", *behind]


def test_the_flag_s_fallback_stands_behind_all_others(make: Make) -> None:
    house = make(*FOUR, router={"fallbacks": [{"a": ["b"]}], "default_fallbacks": ["c"]})
    house.set(fallback="d")
    assert [line.name for line in house.route("a").lines] == ["a", "b", "c", "d"]
    assert [line.name for line in house.route("d").lines] == ["d", "c"]
    house.set(fallback="b")
    assert [line.name for line in house.route("a").lines] == ["a", "b", "c"]
    house.set(fallback="gone")
    assert [line.name for line in house.route("a").lines] == ["a", "b", "c"]


def test_an_alias_as_a_fallback_is_the_model_behind_it(make: Make) -> None:
    router = {"fallbacks": [{"a": ["fast", "old"]}], "model_group_alias": {"old": "c"}}
    house = make(*FOUR, router=router, aliases={"fast": "b"})
    assert [line.name for line in house.route("a").lines] == ["a", "b", "c"]
    assert [line.name for line in house.route("b").lines] == ["b"]


def test_an_alias_of_the_model_itself_is_no_fallback(make: Make) -> None:
    house = make(*FOUR, router={"fallbacks": [{"a": ["fast", "b"]}]}, aliases={"fast": "a"})
    assert [line.name for line in house.route("a").lines] == ["a", "b"]


def test_fallbacks_that_are_written_for_an_alias_are_those_of_its_model(make: Make) -> None:
    router = {"fallbacks": [{"fast": ["b"]}, {"old": ["c"]}], "model_group_alias": {"old": "a"},
              "context_window_fallbacks": [{"old": ["d"]}]}  # fmt: skip
    house = make(*FOUR, router=router, aliases={"fast": "a"})
    name = house.planner.pick(ada(), "old", Task()).model.name
    assert [line.name for line in house.route(name).lines] == ["a", "b", "c"]
    assert house.planner.behind("a").failed == ("b", "c")
    assert after(house.route("a"), ContextTooLong("Long.")) == "d"


def test_too_long_and_refused_have_fallbacks_of_their_own(make: Make) -> None:
    router = {"fallbacks": [{"a": ["b"]}], "context_window_fallbacks": [{"a": ["c", "fast"]}],
              "content_policy_fallbacks": [{"*": ["e"]}]}  # fmt: skip
    house = make(*FOUR, router=router, aliases={"fast": "d"})
    assert after(house.route("a"), ProviderDown("Down.")) == "b"
    assert after(house.route("a"), ContextTooLong("Long.")) == "c"
    assert after(house.route("a"), RefusedContent("No.")) == "e"
    assert after(house.route("b"), ContextTooLong("Long.")) is None
    assert [step.model.name for step in house.route("a").steps] == ["a", "b", "c", "d", "e"]


def test_fallbacks_for_length_that_are_all_out_of_reach_leave_the_larger_windows(make: Make) -> None:
    house = make(
        entry("a", info={"max_input_tokens": 10}), entry("b", info={"max_input_tokens": 20}),
        entry("c", info={"access": {"roles": ["admin"]}}),
        router={"fallbacks": [{"a": ["b"]}], "context_window_fallbacks": [{"a": ["c"]}]},
    )  # fmt: skip
    assert after(house.route("a"), ContextTooLong("Long.")) == "b"
    assert after(house.route("a", ada(role="admin")), ContextTooLong("Long.")) == "c"


def test_fallbacks_that_cannot_take_what_is_attached_are_left_out(make: Make) -> None:
    seeing, hearing = {"supports_vision": True}, {"supports_audio_input": True}
    house = make(
        entry("a", info=seeing | hearing), entry("b"), entry("c", info=seeing), entry("d", info=hearing),
        entry("e"), entry("e", info=seeing),
        router={"fallbacks": [{"a": ["b", "c", "d", "e"]}]},
    )  # fmt: skip

    def behind(**attached: int) -> list[tuple[str, ...]]:
        return steps(house.route("a", task=Task(**attached)))[1:]  # type: ignore[arg-type]

    assert behind(images=1) == [("c#1",), ("e#2",)]
    assert behind(sounds=1) == [("d#1",)]
    assert behind(images=1, sounds=1) == []
    assert behind(files=3) == [("b#1",), ("c#1",), ("d#1",), ("e#1", "e#2")]


def test_a_fallback_without_a_key_is_left_out_until_one_is_brought(make: Make) -> None:
    house = make(entry("a"), entry("b", "groq/b"), router={"fallbacks": [{"a": ["b"]}]})
    assert steps(house.route("a")) == [("a#1",)]
    assert steps(house.route("a", ada([own("groq")]))) == [("a#1",), ("b#1",)]


# --- switched off: the gateway, failover ----------------------------------------------------------------------------


def test_with_the_gateway_off_there_is_one_call_whatever_happens(make: Make) -> None:
    house = make(*FOUR, entry("a", "anthropic/a"), router={"fallbacks": [{"a": ["b"]}], "num_retries": 5})
    house.set(gateway=False)
    house.breakers.say("a#1@shared", "open")
    route = house.route("a")
    assert [step.model.deployment for step in route.steps] == ["a#1"]
    assert first(route).model.deployment == "a#1", "an open breaker is not looked at"
    assert route.after(first(route), ProviderDown("Down."), said=False) is None
    house.set(gateway=None)
    assert first(house.route("a")).model.deployment == "a#2"


def test_the_one_call_is_that_of_the_lowest_order(make: Make) -> None:
    house = make(entry("a", order=2), entry("a", order=1))
    house.set(gateway=False)
    assert first(house.route("a")).model.deployment == "a#2"


def test_the_one_call_is_still_theirs_alone(make: Make) -> None:
    house = make(entry("a", info={"access": {"roles": ["admin"]}}), entry("b"))
    house.set(gateway=False)
    refused(house, ada(), "a")
    step = first(house.route("b", ada([own()])))
    assert (step.key_source, step.breaker) == ("person", "b#1@pkey_1")


def test_with_failover_off_only_the_model_that_was_chosen_is_tried(make: Make) -> None:
    router = {"fallbacks": [{"a": ["b"]}], "context_window_fallbacks": [{"a": ["c"]}],
              "content_policy_fallbacks": [{"a": ["d"]}], "default_fallbacks": ["e"]}  # fmt: skip
    house = make(*FOUR, entry("a", "anthropic/a"), router=router)
    house.set(failover=False, fallback="f")
    route = house.route("a")
    assert steps(route) == [("a#1", "a#2")]
    assert {step.model.name for step in route.steps} == {"a"}
    for error in (ContextTooLong("Long."), RefusedContent("No.")):
        assert after(house.route("a"), error) is None
    house.breakers.say("a#1@shared", "open")
    house.breakers.say("a#2@shared", "open")
    assert house.route("a").first() is None, "its breakers still hold"


def test_the_limit_of_retry_after_is_the_setting(make: Make) -> None:
    for limit, pause in ((0.5, None), (20, 15.0)):
        route = make(entry("a"), retry_after_limit=limit).route("a")
        following = route.after(first(route), RateLimited("Wait.", 15.0), said=False)
        assert (following.pause if following else None) == (pause and pytest.approx(pause, abs=0.1))


# --- what a name means ----------------------------------------------------------------------------------------------

PURPOSES = {"fast": "a", "balanced": "b", "powerful": "c", "reasoning": "d"}


def test_a_model_is_itself_and_an_alias_its_model(make: Make) -> None:
    house = make(*FOUR, aliases=PURPOSES, router={"model_group_alias": {"old": "e"}})
    for asked, name in [("a", "a"), ("fast", "a"), ("reasoning", "d"), ("old", "e")]:
        picked = house.planner.pick(ada(), asked, Task("Prove it"))
        assert (picked.model.name, picked.asked, picked.why) == (name, asked, "")


@pytest.mark.parametrize(("text", "name"), [("Hi", "a"), ("x" * 500, "b"), ("Prove it", "d"), ("Prove?a?b?", "c")])
def test_auto_chooses_by_the_question_and_says_why(make: Make, text: str, name: str) -> None:
    picked = make(*FOUR, aliases=PURPOSES).planner.pick(ada(), "auto", Task(text))
    assert (picked.model.name, picked.asked) == (name, "auto")
    assert picked.why.endswith(".")


def test_auto_passes_over_what_this_caller_cannot_use_now(make: Make) -> None:
    house = make(
        entry("a", "anthropic/a"), entry("b", info={"access": {"roles": ["admin"]}}), entry("c"), entry("d", "groq/d"),
        aliases=PURPOSES,
    )  # fmt: skip
    picker = house.planner.pick

    def auto(who: Caller, text: str = "Hi") -> str:
        return picker(who, "auto", Task(text)).model.name

    assert auto(ada()) == "a"
    house.breakers.say("a#1@shared", "open")
    assert auto(ada()) == "c"
    assert picker(ada(), "auto", Task("Hi")).why == "It is a short question. The fast model cannot be used now."
    assert auto(ada(role="admin")) == "b"
    assert auto(ada([own("anthropic")])) == "a", "the breaker of their own key is closed"
    assert auto(ada(), "Prove it") == "c"
    assert auto(ada([own("groq")]), "Prove it") == "d"
    house.set(disabled_providers=["openai"])
    assert auto(ada(role="admin")) == "a", "where every breaker is open, the route says when to try again"
    house.set(disabled_providers=["openai", "anthropic"])
    with pytest.raises(ModelUnavailable, match="None of the models behind Auto can be used now"):
        auto(ada(role="admin"))


def test_auto_takes_a_model_that_takes_what_is_attached(make: Make) -> None:
    house = make(entry("a"), entry("b"), entry("c", info={"supports_vision": True}), entry("d"), aliases=PURPOSES)
    picked = house.planner.pick(ada(), "auto", Task("What is this?", images=1))
    assert (picked.model.name, "balanced model cannot be used" in picked.why) == ("c", True)


def test_auto_of_two_purposes_takes_the_nearest(make: Make) -> None:
    house = make(*FOUR, aliases={"fast": "a", "powerful": "c"})
    assert house.planner.pick(ada(), "auto", Task("x" * 500)).model.name == "a"
    assert house.planner.pick(ada(), "auto", Task("Prove it")).model.name == "c"


def test_an_alias_of_a_model_that_one_may_not_use_says_so(make: Make) -> None:
    house = make(entry("a", info={"access": {"roles": ["admin"]}}), entry("b"), aliases={"fast": "a", "balanced": "b"})
    with pytest.raises(ModelUnavailable, match="You may not use this model"):
        house.planner.pick(ada(), "fast", Task())
    assert names(house.planner.choices(ada())) == ["auto", "balanced", "b"]
    assert house.planner.pick(ada(), "auto", Task("Hi")).model.name == "b"


def test_an_alias_of_a_model_that_is_not_there_now_says_so(make: Make) -> None:
    house = make(entry("b"), aliases={"fast": "ollama/none", "balanced": "b"})
    with pytest.raises(ModelUnavailable, match="no longer in the configuration"):
        house.planner.pick(ada(), "fast", Task())
    assert names(house.planner.choices(ada())) == ["auto", "balanced", "b"]
    assert house.planner.pick(ada(), "auto", Task("Hi")).model.name == "b"


# --- what is offered ------------------------------------------------------------------------------------------------


def test_aliases_are_offered_first_then_the_models_in_the_order_of_the_file(make: Make) -> None:
    router = {"model_group_alias": {"o": "a"}}
    house = make(entry("z"), entry("a"), aliases={"balanced": "a", "fast": "z"}, router=router)
    assert names(house.planner.choices(ada())) == ["auto", "fast", "balanced", "o", "z", "a"]


def test_an_alias_is_offered_when_a_model_behind_it_can_be_called(make: Make) -> None:
    house = make(entry("a", "groq/a"), entry("b"), aliases={"fast": "a", "balanced": "b"})

    def offered(who: Caller) -> dict[str, bool]:
        return {model.name: model.available for model in house.planner.choices(who)}

    assert offered(ada()) == {"auto": True, "balanced": True, "a": False, "b": True}
    assert offered(ada([own("groq")])) == dict.fromkeys(["auto", "fast", "balanced", "a", "b"], True)
    house.set(disabled_providers=["openai", "groq"])
    assert offered(ada([own("groq")])) == {}


def test_the_demo_models_have_aliases_and_are_everybody_s(make: Make) -> None:
    house = make(env={})
    offered = house.planner.choices(ada())
    assert names(offered)[:4] == ["auto", "fast", "balanced", "reasoning"]
    assert all(model.available for model in offered)
    assert house.planner.pick(ada(), "auto", Task("Prove it")).model.name == "demo/thinker"


def test_the_model_of_a_new_chat(make: Make) -> None:
    house = make(entry("a"), entry("b", info={"access": {"roles": ["admin"]}}), entry("c"), default_model="c")

    def default(**who: Any) -> str:
        found = house.planner.default(ada(**who))
        assert found is not None
        return found.name

    assert default() == "c"
    house.set(primary="b")
    assert default(role="admin") == "b"
    assert default() == "c", "what one may not use is no default"
    house.set(primary="gone")
    assert default() == "c"
    house.set(primary=None, disabled_providers=["openai"])
    assert house.planner.default(ada()) is None


def test_an_alias_can_be_the_model_of_a_new_chat(make: Make) -> None:
    house = make(*FOUR, aliases=PURPOSES, default_model="auto")
    for flag, name in ((None, "auto"), ("fast", "fast"), ("c", "c")):
        house.set(primary=flag)
        found = house.planner.default(ada())
        assert found is not None
        assert found.name == name


def test_without_a_default_it_is_the_first_model_that_works_for_them(make: Make) -> None:
    house = make(entry("a", "groq/a"), entry("b"), aliases={"fast": "a", "balanced": "b"})
    for who, name in ((ada(), "b"), (ada([own("groq")]), "a")):
        found = house.planner.default(who)
        assert found is not None
        assert found.name == name


def test_a_default_that_cannot_be_called_is_none(make: Make) -> None:
    house = make(entry("a", "groq/a"), entry("b"), default_model="a")
    for who, name in ((ada(), "b"), (ada([own("groq")]), "a")):
        found = house.planner.default(who)
        assert found is not None
        assert found.name == name
