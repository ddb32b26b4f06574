"""A process with keys everywhere, for `test_planted_keys`: it does all that could write one down, as the app does it.

`python -m tests.turns.planted FOLDER`, with the environment of `environment(…)`: logs go to standard error, as they do
in the app; exports and what objects say of themselves go to files below FOLDER.
"""

import contextlib
import logging
import random
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import yaml
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.bootstrap import Core, open_or_exit
from chatcore.db.tables import utcnow
from chatcore.errors import ChatcoreError
from chatcore.flags import LimitRule
from chatcore.gateway import Task
from chatcore.turns import Asked, TurnSettings
from chatcore.usage import Filter
from tests.chat import until
from tests.conftest import add_person
from tests.keys import RANDOM

_CHANCE: Final = random.Random(20)
# Where each is planted. Some have a form by which they can be told, some have not.
KEYS: Final[Mapping[str, str]] = {
    "config": RANDOM["mistral"](_CHANCE),
    "environment": RANDOM["anthropic"](_CHANCE),
    "bystander": RANDOM["google"](_CHANCE),  # a variable that no model of the configuration needs
    "header": RANDOM["xai"](_CHANCE),
    "person": RANDOM["cohere"](_CHANCE),
    "tenant": RANDOM["azure"](_CHANCE),
    "refused": RANDOM["groq"](_CHANCE),  # was tried, did not work, and was not saved
    "proxy": RANDOM["together"](_CHANCE),  # of a section that is the LiteLLM proxy's
    "secret key": RANDOM["session"](_CHANCE),
    "admin's password": "Tr0ub4dor-and-three-more",
}
SAID: Final = RANDOM["huggingface"](_CHANCE)
"""Stands in a question, as people do: it may stay in their own words, and there alone."""
WORD: Final = "hippopotamus"
"""Stands in every question: nobody's words are in a log."""
QUESTION: Final = f"My {WORD} has the key {SAID}, why does it not work?"

REFUSING: Final = ("refuses", "refuses-environment", "refuses-header")
MODELS: Final = (*REFUSING, "answers", "answers-environment", "breaks")


def environment(folder: Path, database_url: str) -> dict[str, str]:
    """The child's own variables."""
    return {
        "CHATCORE_DATA_DIR": str(folder / "data"),
        "CHATCORE_CONFIG": str(folder / "config.yaml"),
        "CHATCORE_DATABASE_URL": database_url,
        "CHATCORE_DRAIN_SECONDS": "1",
        "CHATCORE_SECRET_KEY": KEYS["secret key"],
        "CHATCORE_ADMIN_USERNAME": "root",
        "CHATCORE_ADMIN_PASSWORD": KEYS["admin's password"],
        "PLANTED_API_KEY": KEYS["environment"],
        "GEMINI_API_KEY": KEYS["bystander"],
    }


def write_config(path: Path, url: str) -> None:
    """Models that answer and such that refuse their key, saying it; those that refuse come first."""

    def entry(name: str, behaviour: str, **more: Any) -> dict[str, Any]:
        params = {"model": f"openai/{behaviour}", "api_base": url, "api_key": KEYS["config"], **more}
        return {"model_name": name, "litellm_params": params, "model_info": {"first_word_timeout": 20}}

    elsewhere = {"api_key": "os.environ/PLANTED_API_KEY"}
    entries = [
        entry("refuses", "401"),
        entry("refuses-environment", "401;tag=environment", **elsewhere),
        entry("refuses-header", "401;tag=header", extra_headers={"Authorization": f"Bearer {KEYS['header']}"}),
        entry("answers", "ok;n=20"),
        entry("answers-environment", "ok;n=20;tag=environment", **elsewhere),
        entry("breaks", "cut;n=20;at=5"),
    ]
    own = {"ollama": False, "demo_models": False, "title_model": "refuses", "breaker_failures": 1000}
    proxys = {"master_key": KEYS["proxy"]}
    path.write_text(yaml.safe_dump({"model_list": entries, "general_settings": proxys, "chatcore": own}))


class Planted:
    """What the child does."""

    def __init__(self, core: Core, folder: Path) -> None:
        self.core = core
        self.folder = folder
        self.operator = add_person(core.db, "operator", role="operator")
        # Nobody's own, a person's own, a tenant's own, and none that works.
        self.ada, self.bob = add_person(core.db, "ada"), add_person(core.db, "bob")
        self.carl = add_person(core.db, "carl", tenant="Other", role="admin")
        self.dora = add_person(core.db, "dora")
        self.slot = core.gateway.catalog.get("refuses").key_slot

    def run(self) -> None:
        """All of it."""
        self.core.keyring.save(self.bob, self.slot, KEYS["person"])
        self.core.keyring.save(self.carl, self.slot, KEYS["tenant"], for_tenant=True)
        with contextlib.suppress(ChatcoreError):
            self.core.turns.save_key(self.dora, self.slot, KEYS["refused"])
        for who in (self.ada, self.bob, self.carl):
            for model in MODELS:
                self.export(who, self.ask(who, model))
            with contextlib.suppress(ChatcoreError):
                self.core.turns.summarise(who, self.ask(who, "answers"), model="refuses")
        self.be_refused()
        self.tell()
        self.core.keyring.save(self.bob, self.slot, KEYS["person"])
        self.core.keyring.remove(self.bob, self.slot)
        self.core.keyring.save(self.bob, self.slot, KEYS["person"])

    def ask(self, who: Principal, model: str) -> str:
        """A question and its answer, then the same again; the conversation."""
        turns = self.core.turns
        asked = turns.ask(who, None, QUESTION, model=model, settings=TurnSettings(temperature=0.0))
        self.follow(who, asked)
        again = turns.retry(who, str(asked.message_id), model=model)
        self.follow(who, again)
        return asked.conversation_id

    def follow(self, who: Principal, asked: Asked) -> None:
        for _ in self.core.turns.follow(who, str(asked.turn_id), pace=lambda _: 0.0):
            pass

    def be_refused(self) -> None:
        """A limit of ours, which is counted."""
        rule = LimitRule("user", self.dora.user_id, "requests", "day", 0)
        self.core.flags.set(self.operator, limits=[rule])
        with contextlib.suppress(ChatcoreError):
            self.core.turns.ask(self.dora, None, QUESTION, model="refuses")

    def export(self, who: Principal, conversation_id: str) -> None:
        for file in (self.core.exports.markdown(who, conversation_id), self.core.exports.json(who, conversation_id)):
            (self.folder / "exports" / f"{conversation_id}-{file.name}").write_bytes(file.data)

    def tell(self) -> None:
        """The usage of everybody as CSV; and what objects that hold a key say of themselves."""
        now = utcnow()
        chosen = Filter(now - timedelta(days=1), now + timedelta(days=1))
        for who in (self.operator, self.carl):
            text = "".join(self.core.usage.export_csv(who, chosen))
            (self.folder / "exports" / f"{who.username}.csv").write_text(text)
        for who in (self.ada, self.bob, self.carl):
            for number, (name, value) in enumerate(self.objects(who)):
                told = f"{value!r}\n{value}\n"
                (self.folder / "told" / f"{who.username}-{number}-{name}").write_text(told)

    def objects(self, who: Principal) -> Iterator[tuple[str, object]]:
        """By their types, so that a test knows that none is missing."""
        gateway, asking = self.core.gateway, self.core.turns._asking

        def work(session: Session) -> list[object]:
            caller = gateway.caller(session, who)
            found: list[object] = [caller, *caller.keys.values()]
            for model in MODELS:
                choice = asking.choose(session, who, model, None, TurnSettings())
                conversation = asking.create(session, who, asking.question("hello"), choice, temporary=True)
                begun = asking.begin(
                    session, who, conversation, asking.question("hello"), choice, parent_id=None
                )  # fmt: skip
                found += [choice, choice.picked, begun, begun.request, begun.call, begun.route.lines]
                found += [begun.step, begun.request.model, gateway.planner.pick(caller, model, Task())]
            session.rollback()
            return found

        values = self.core.db.read(work)
        values += [
            self.core.settings,
            self.core,
            self.core.settings.file,
            *gateway.catalog.models(),
            *gateway.choices(who),
        ]
        for value in values:
            yield type(value).__name__, value


def main(folder: Path) -> None:
    """Open as the launcher does, and say everything that there is to say."""
    core = open_or_exit()
    logging.getLogger("chatcore").setLevel(logging.DEBUG)
    for name in ("exports", "told"):
        (folder / name).mkdir()
    core.start()
    until(lambda: core.gateway.warm, 60)
    Planted(core, folder).run()
    core.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
