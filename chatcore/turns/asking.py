"""Writing what a person asks: the question, the empty reply, the turn and its ledger row, in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.accounts.preferences import Preferences
from chatcore.agents import Agent
from chatcore.config import Settings
from chatcore.conversations import Conversation, Message, removing
from chatcore.conversations import store as conversations
from chatcore.conversations.text import clean
from chatcore.db.tables import utcnow
from chatcore.errors import Conflict, InvalidInput
from chatcore.gateway import Gateway, Model, Task
from chatcore.turns import admission, attached, queue, store, tool_calls
from chatcore.turns.hops import SEARCH
from chatcore.turns.owner import Owner
from chatcore.turns.values import TEMPORARY_FOR, Begun, Choice, TurnSettings
from chatcore.usage import budgets
from chatcore.workshops import Said, talking

BUSY: Final = "A reply is being written in this conversation. Wait for its end, or stop it."


@dataclass(frozen=True)
class Question:
    """What is asked: its text, and the ids of the attachments that go with it."""

    text: str
    attachments: tuple[str, ...] = ()


class Asking:
    """Begins turns. Nothing here commits: every method works inside the caller's transaction."""

    def __init__(self, gateway: Gateway, preferences: Preferences, owner: Owner, settings: Settings) -> None:
        self._gateway = gateway
        self._preferences = preferences
        self._owner = owner
        self._own = settings.own

    def choose(
        self,
        session: Session,
        principal: Principal,
        model: str,
        agent_id: str | None,
        settings: TurnSettings,
        *,
        text: str = "",
        parts: Sequence[Mapping[str, Any]] = (),
        again: bool = False,
    ) -> Choice:
        """Who is to answer where `model` was chosen, for a question of this text and these attachments.

        Raises `ModelUnavailable`.
        """
        caller = self._gateway.caller(session, principal)
        media = [part.get("media") for part in parts if part.get("type") == "media"]
        images, sounds = media.count("image"), media.count("audio")
        task = Task(text, images, sounds, len(parts) - len(media), wanted_ms=settings.wanted_ms)
        picked = self._gateway.planner.pick(caller, model, task)
        return Choice(picked, caller, agent_id, settings, task, again)

    def question(self, text: str, attachments: Sequence[str] = ()) -> Question:
        """The cleaned question. Raises `InvalidInput` when there is nothing in it, or too much."""
        text = clean(text).strip()
        if not text and not attachments:
            raise InvalidInput("There is nothing to send yet.")
        if len(text) > (most := self._own.max_message_chars):
            raise InvalidInput(f"Your message has {len(text):,} characters; the most that can be sent is {most:,}.")
        return Question(text, tuple(attachments))

    def create(
        self,
        session: Session,
        principal: Principal,
        question: Question,
        choice: Choice,
        *,
        temporary: bool,
        **values: Any,
    ) -> Conversation:
        """A new conversation for a question, titled by it or by its first attachment. `values`: more of its columns."""
        parts = attached.parts(session, principal, question.attachments)
        title = question.text or next((str(part["name"]) for part in parts), "")
        return conversations.create(
            session, principal, title, model=choice.model.name, agent_id=choice.agent_id,
            settings=choice.remembered, expires_at=utcnow() + TEMPORARY_FOR if temporary else None,
            **values,
        )  # fmt: skip

    def in_step(self, session: Session, principal: Principal, step: tuple[str, str], choice: Choice) -> Conversation:
        """The conversation of a workshop's (session, step), made where there is none; nobody else begins a turn in it
        until this transaction ends. Raises `NotFound` for who takes no part, `Conflict` where the workshop has ended.
        """
        return talking.conversation(session, principal, *step, model=choice.model.name, settings=choice.remembered)

    def begin(
        self,
        session: Session,
        principal: Principal,
        conversation: Conversation,
        question: Question,
        choice: Choice,
        *,
        parent_id: str | None,
        **values: Any,
    ) -> Begun:
        """Write a question below `parent_id` and begin its answer. `values`: more of the question's columns."""
        question_id = self.add(session, principal, conversation, question, [choice.model], parent_id, **values)
        return self.answer(session, principal, conversation, question_id, choice, added=1)

    def add(
        self,
        session: Session,
        principal: Principal,
        conversation: Conversation,
        question: Question,
        models: Sequence[Model],
        parent_id: str | None,
        **values: Any,
    ) -> str:
        """Write a question with its attachments; returns its id. Raises `InvalidInput` when a model can't take them."""
        parts = attached.parts(session, principal, question.attachments)
        meta = store.place_of(conversation) | values.pop("meta", {})
        for model in models:
            attached.require_capable(model, parts)
        message_id = conversations.add_message(
            session, principal, conversation.id,
            parent_id=parent_id, role="user", content=question.text, status="complete", parts=parts,
            meta=meta, **values,
        )  # fmt: skip
        attached.link(session, principal, conversation.id, message_id, question.attachments)
        return message_id

    def answer(
        self,
        session: Session,
        principal: Principal,
        conversation: Conversation,
        parent_id: str,
        choice: Choice,
        *,
        added: int = 0,
        continuing: bool = False,
    ) -> Begun:
        """Begin a reply below `parent_id`. `added`: messages that were written with it. Raises `BudgetExceeded`,
        `Conflict` in a workshop that has ended."""
        gateway = self._gateway
        flags = gateway.flags.now
        workshop = talking.said(session, conversation)
        if workshop and choice.agent_id is None:
            choice = replace(choice, agent_id=workshop.agent_id)
        begun = store.begin(
            session, principal, self._owner, conversation, parent_id, choice,
            gateway.planner.route(choice.caller, choice.model.name, choice.task),
            added=added, continuing=continuing, stream=flags.streaming,
        )  # fmt: skip
        if conversation.expires_at is not None:
            conversations.change(session, conversation.id, expires_at=utcnow() + TEMPORARY_FOR)
        instructions = self._preferences.of(session, principal.user_id).instructions
        begun = replace(
            begun,
            system_prompt=_with_instructions(_with_workshop(begun.system_prompt, workshop), instructions),
            wanted=_wanted(begun.agent, choice) if flags.tools else {},
            # What is temporary must not be kept, and who asks again wants to hear something else.
            cached=flags.cache and flags.gateway and choice.settings.cache is not False and not choice.again
            and not continuing and conversation.expires_at is None,
        )  # fmt: skip
        return self._reserved(session, begun)

    def _reserved(self, session: Session, begun: Begun) -> Begun:
        """The turn with what it may cost at most reserved, where a budget applies. Raises `BudgetExceeded`."""
        call, steps = begun.call, begun.route.steps
        if not admission.paid(steps) or not budgets.applies(session, call.tenant_id, call.user_id):
            return begun
        prompt = store.reckon(session, begun.conversation_id, begun.context_head)
        prompt += admission.bound([{"content": begun.system_prompt}])
        limit = admission.reserve(
            session, call, begun.turn_id, begun.step or steps[0], steps, prompt, begun.request.max_tokens,
            self._own.budget_reply_tokens,
        )  # fmt: skip
        return replace(begun, reserved=prompt, request=replace(begun.request, max_tokens=limit))

    def enqueue(
        self, session: Session, principal: Principal, conversation: Conversation, question: Question, choice: Choice
    ) -> str:
        """Put a question behind the running turn; returns its id. Raises what asking it now would raise."""
        attached.require_capable(choice.model, attached.parts(session, principal, question.attachments))
        return queue.enqueue(session, principal, conversation.id, question, choice)

    def compare(
        self,
        session: Session,
        principal: Principal,
        conversation: Conversation,
        question: Question,
        choices: Sequence[Choice],
    ) -> list[Begun]:
        """Write a question and begin a reply of each choice below it; the first is shown until another is picked."""
        models = [choice.model for choice in choices]
        question_id = self.add(session, principal, conversation, question, models, conversation.head_message_id)
        begun = [
            replace(
                self.answer(session, principal, conversation, question_id, choice, added=number == 0), compared=True
            )
            for number, choice in enumerate(choices)
        ]
        replies = [one.message_id for one in begun]
        conversations.set_meta(session, question_id, {"compare": replies})
        conversations.change(session, conversation.id, head_message_id=replies[0], model=choices[0].picked.asked)
        return begun

    def again(
        self,
        session: Session,
        principal: Principal,
        message_id: str,
        model: str,
        agent_id: str | None,
        settings: TurnSettings | None,
        *,
        below: bool,
    ) -> Begun:
        """Another reply: beside the one named, or `below` it where it has words to go on from."""
        conversation_id, message = conversations.message(session, principal, message_id, "reply")
        conversation = self.locked(session, principal, conversation_id)
        if message.role != "assistant" or message.parent_id is None:
            raise InvalidInput("Only a reply can be tried again or continued.")
        has_begun = message.content or tool_calls.has_run(message)
        parent_id = message.id if below and has_begun else message.parent_id
        _, parent = conversations.message(session, principal, parent_id, "reply")
        chosen = settings or TurnSettings.from_dict(conversation.settings)
        choice = self.choose(
            session, principal, model, agent_id or message.agent_id, chosen, text=parent.content, parts=parent.parts,
            again=True,
        )  # fmt: skip
        return self.answer_again(session, principal, conversation, parent, choice)

    def answer_again(
        self, session: Session, principal: Principal, conversation: Conversation, parent: Message, choice: Choice
    ) -> Begun:
        """Another reply below `parent`.

        Raises `Conflict` where its words are gone, `InvalidInput` where the model cannot take what goes with it.
        """
        if removing.MARK in parent.meta:
            raise Conflict("What it answered was removed, so it cannot be answered again. Ask anew.")
        attached.require_capable(choice.model, parent.parts)
        # What follows a reply goes on from it, also when it is tried a second time.
        return self.answer(session, principal, conversation, parent.id, choice, continuing=parent.role == "assistant")

    @staticmethod
    def locked(session: Session, principal: Principal, conversation_id: str) -> Conversation:
        """The conversation, with nothing running in it until this transaction ends. Raises `NotFound`, `Conflict`."""
        conversation = conversations.get(session, principal, conversation_id, "reply", lock=True)
        if store.running(session, conversation_id):
            raise Conflict(BUSY)
        return conversation


def _wanted(agent: Agent | None, choice: Choice) -> dict[str, bool | None]:
    """The tools of a turn: the agent's, or those that the request names; knowledge too, where it is searched first."""
    of_agent = {one.name: one.asks_first for one in agent.tools} if agent else {}
    named = of_agent if choice.tools is None else {name: of_agent.get(name) for name in choice.tools}
    if (choice.search_first or (agent and agent.knowledge)) and SEARCH not in named:
        named = {**named, SEARCH: None}
    return named


def _with_workshop(system_prompt: str, workshop: Said | None) -> str:
    return "\n\n".join(one for one in (system_prompt, workshop.prompt) if one) if workshop else system_prompt


def _with_instructions(system_prompt: str, instructions: str) -> str:
    """The agent's prompt, and what the person wants every model to know, marked as theirs."""
    if not instructions:
        return system_prompt
    return f"{system_prompt}\n\nThe person you talk to asks you to keep this in mind:\n{instructions}".strip()
