"""A team of three and a stranger, and a workshop that one of them leads."""

from dataclasses import dataclass

import pytest

from chatcore.accounts import Principal
from chatcore.db import Database
from chatcore.workshops import Workshops
from tests.conftest import add_person


@dataclass
class House:
    """`ann` leads the session `id`; `stranger` is of another tenant."""

    db: Database
    workshops: Workshops
    ann: Principal
    bob: Principal
    admin: Principal
    stranger: Principal
    id: str


@pytest.fixture
def house(any_database: Database) -> House:
    workshops = Workshops(any_database)
    ann, bob = add_person(any_database, "ann"), add_person(any_database, "bob")
    admin = add_person(any_database, "admin", role="admin")
    stranger = add_person(any_database, "stranger", tenant="Other", role="operator")
    made = workshops.create(ann, "design-thinking", "Better *mornings*")
    return House(any_database, workshops, ann, bob, admin, stranger, made)
