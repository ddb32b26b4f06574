"""schemathesis over our own description: whatever it makes up, no answer is a failure of ours or breaks its schema."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CheckFunction
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from chatcore.ids import new_id
from tests.api.asking import QUICK, api_place
from tests.chat import Chat

EACH = 10  # requests for each operation; more with patience
CHECKS: list[CheckFunction] = [
    schemathesis.checks.not_a_server_error, response_schema_conformance, status_code_conformance,
    content_type_conformance,
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, dict[str, str]]]:
    with api_place(tmp_path_factory.mktemp("core"), [QUICK]) as (core, provider, url):
        chat = Chat(core, provider, new_id("p"))
        chat.answer(QUICK)
        _, key = core.accounts.create_key(chat.who, "program")
        yield schemathesis.openapi.from_url(f"{url}/api/openapi.json"), {"Authorization": f"Bearer {key}"}


def test_no_made_up_request_breaks_it(place: tuple[Any, dict[str, str]]) -> None:
    schema, headers = place
    operations = [one.ok() for one in schema.get_all_operations()]
    assert len(operations) > 25
    for operation in operations:

        @settings(
            max_examples=EACH, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck), database=None,
        )  # fmt: skip
        @given(case=operation.as_strategy())
        def holds(case: Any) -> None:
            case.call_and_validate(headers=headers, checks=CHECKS, timeout=30)

        holds()
