"""Questions of programs: each has the program's own ids, and one that is sent twice is one question.

A program knows a conversation and a message by ids that it made. It sends again what it does not know to have arrived,
so whatever was stored before is found by them, and answered with the turn that it had.
"""

import json
from dataclasses import replace
from typing import Any, Final

from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.conversations import Conversation, Message, aliases
from chatcore.conversations import store as conversations
from chatcore.conversations.text import clean
from chatcore.db.tables import utcnow
from chatcore.errors import Conflict, InvalidInput, NotFound
from chatcore.turns import attached, store
from chatcore.turns.asking import BUSY, Asking, Question
from chatcore.turns.values import Asked, Begun, Brought, Choice, Submission, TurnSettings

MAX_DATA: Final = 64 * 1024  # characters of JSON that a question can bring along
_SESSION: Final = "Data of this session, as JSON:"


class Submitting:
    """Begins, or finds again, the turn of a submission. Works inside the caller's transaction."""

    def __init__(self, asking: Asking, most: int) -> None:
        """`most`: characters of all messages together that a question brings along."""
        self._asking = asking
        self._most = most

    def known(self, session: Session, principal: Principal, sent: Submission) -> Asked | None:
        """The turn that the submission had, where it was here before."""
        conversation = self._conversation(session, principal, sent)
        if conversation is None:
            return None
        return (
            self._running_again(session, conversation, sent)
            if sent.again
            else self._before(session, principal, conversation, sent)
        )

    def begin(self, session: Session, principal: Principal, sent: Submission) -> Asked | list[Begun]:
        """Raises `InvalidInput`, `NotFound`, `Conflict` while another question is being answered, and what asking
        raises."""
        conversation = self._conversation(session, principal, sent, lock=True)
        if conversation is None and sent.again:
            raise NotFound("This conversation does not exist, or it is not yours.")
        if conversation is not None:
            if (asked := self.known(session, principal, sent)) is not None:
                return asked
            if store.running(session, conversation.id):
                raise Conflict(BUSY)
            if sent.again:
                return [self._again(session, principal, conversation, sent)]
        return [self._ask(session, principal, conversation, sent)]

    # ---- what is known already

    def _conversation(
        self, session: Session, principal: Principal, sent: Submission, *, lock: bool = False
    ) -> Conversation | None:
        found = aliases.find(session, principal, sent.conversation_id) if sent.conversation_id else None
        if sent.workshop_session_id and sent.step_id:
            of_step = aliases.of_step(session, principal, sent.workshop_session_id, sent.step_id)
            shared = aliases.is_workshop(sent.workshop_session_id)
            found = of_step if shared else of_step or self._without_step(session, principal, found)
        return conversations.get(session, principal, found, "reply", lock=lock) if found else None

    @staticmethod
    def _without_step(session: Session, principal: Principal, conversation_id: str | None) -> str | None:
        """One's own conversation, where it belongs to no step yet."""
        if conversation_id is None:
            return None
        conversation = conversations.get(session, principal, conversation_id, "reply")
        is_free = conversation.user_id == principal.user_id and conversation.step_id is None
        return conversation.id if is_free else None

    def _before(
        self, session: Session, principal: Principal, conversation: Conversation, sent: Submission
    ) -> Asked | None:
        message = self._same(session, principal, conversation, sent)
        reply = aliases.newest_reply(session, conversation, message.id) if message else None
        return None if reply is None else Asked(conversation.id, reply.turn_id, reply.id, repeated=True)

    def _same(
        self, session: Session, principal: Principal, conversation: Conversation, sent: Submission
    ) -> Message | None:
        """The question as it was stored before."""
        message, text = self._named(session, principal, conversation, sent), self._question(sent).text
        if message is None or message.role != "user":
            return None
        if message.content == text:
            return message
        # An edit by our own id: what it made has another.
        return aliases.version(session, conversation, message, text) if message.id == sent.message_id else None

    @staticmethod
    def _named(session: Session, principal: Principal, conversation: Conversation, sent: Submission) -> Message | None:
        """The message that has the question's id. Raises `Conflict` where a colleague's program gave it to theirs."""
        message = aliases.message(session, conversation, sent.message_id) if sent.message_id else None
        if message is not None and message.id != sent.message_id and message.user_id != principal.user_id:
            raise Conflict("Somebody else's message has this id here. Send yours with another one.")
        return message

    def _running_again(self, session: Session, conversation: Conversation, sent: Submission) -> Asked | None:
        """The turn that answers the same question just now."""
        question = self._answered(session, conversation, sent)
        for turn in store.all_running(session, conversation.id):
            reply = conversations.messages(session, conversation.id, [turn.message_id]).get(turn.message_id)
            if reply is not None and reply.parent_id == question.id:
                return Asked(conversation.id, turn.turn_id, turn.message_id, repeated=True)
        return None

    # ---- what is new

    def _question(self, sent: Submission) -> Question:
        return self._asking.question(sent.text, sent.attachments)

    def _brought(self, brought: Brought, *, is_new: bool) -> Brought:
        """What of it is used, with its words cleaned: a conversation that is known has its own history.

        Raises `InvalidInput` where that is more than a question can have.
        """
        earlier = brought.earlier if is_new or brought.alone else ()
        characters = len(brought.system) + sum(len(text) for _, text in earlier)
        if characters > self._most:
            raise InvalidInput(
                f"The messages before the question have {characters:,} characters; the most is {self._most:,}."
            )
        size = len(json.dumps([dict(brought.session_data), [dict(one) for one in brought.data_parts]]))
        if size > MAX_DATA:
            raise InvalidInput(f"The data beside a question has at most {MAX_DATA // 1024} KB as JSON.")
        cleaned = ((role, clean(text)) for role, text in earlier)
        kept = tuple((role, text) for role, text in cleaned if text.strip())
        return replace(brought, earlier=kept, system=clean(brought.system))

    def _choice(
        self,
        session: Session,
        principal: Principal,
        sent: Submission,
        conversation: Conversation | None,
        question: Question,
        *,
        again: bool = False,
    ) -> Choice:
        kept = dict(conversation.settings) if conversation else {}
        settings = TurnSettings.from_dict(kept | (sent.settings or TurnSettings()).as_dict())
        agent_id = sent.agent_id or (conversation.agent_id if conversation else None)
        parts = attached.parts(session, principal, question.attachments)
        choice = self._asking.choose(
            session, principal, sent.model, agent_id, settings, text=question.text, parts=parts, again=again
        )
        return replace(choice, kept=kept, tools=sent.tools, search_first=sent.search_first)

    def _ask(
        self, session: Session, principal: Principal, conversation: Conversation | None, sent: Submission
    ) -> Begun:
        question, brought = self._question(sent), self._brought(sent.brought, is_new=conversation is None)
        choice = self._choice(session, principal, sent, conversation, question)
        if conversation is None:
            conversation = self._created(session, principal, question, choice, sent, brought)
        else:
            conversation = self._placed(session, principal, conversation, sent)
            if unanswered := self._same(session, principal, conversation, sent):
                return self._asking.answer_again(session, principal, conversation, unanswered, choice)
        place = self._place(session, principal, conversation, sent)
        begun = self._asking.begin(session, principal, conversation, question, choice, **place, meta=_meta(brought))
        return _with(begun, brought, question)

    def _place(
        self, session: Session, principal: Principal, conversation: Conversation, sent: Submission
    ) -> dict[str, Any]:
        """Where the question stands, and its columns: behind what it follows, or beside the one that it replaces."""
        before = self._named(session, principal, conversation, sent)
        if before is None:
            return {"parent_id": self._parent(session, conversation, sent), "client_message_id": sent.message_id}
        if before.role != "user":
            raise InvalidInput("Only a question can be edited.")
        aliases.unname(session, before.id)
        client_id = None if sent.message_id == before.id else sent.message_id
        return {"parent_id": before.parent_id, "client_message_id": client_id, "edited_at": utcnow()}

    @classmethod
    def _placed(
        cls, session: Session, principal: Principal, conversation: Conversation, sent: Submission
    ) -> Conversation:
        """The conversation, which belongs to the step from now on, where one is named; a shared one does already."""
        if not (sent.workshop_session_id and sent.step_id) or aliases.is_workshop(sent.workshop_session_id):
            return conversation
        cls._name(session, principal, conversation, sent)
        if conversation.step_id is None:
            aliases.take_into_step(session, conversation.id, sent.workshop_session_id, sent.step_id)
        return conversations.get(session, principal, conversation.id, "reply")

    @staticmethod
    def _name(session: Session, principal: Principal, conversation: Conversation, sent: Submission) -> None:
        """It answers to the id that the program knows it by now, unless that is another one's own."""
        wanted = sent.conversation_id
        if wanted and aliases.find(session, principal, wanted) not in (wanted, conversation.id):
            aliases.name(session, principal, conversation.id, wanted)

    def _created(
        self,
        session: Session,
        principal: Principal,
        question: Question,
        choice: Choice,
        sent: Submission,
        brought: Brought,
    ) -> Conversation:
        if sent.workshop_session_id and sent.step_id and aliases.is_workshop(sent.workshop_session_id):
            return self._asking.in_step(session, principal, (sent.workshop_session_id, sent.step_id), choice)
        named = {"workshop_session_id": sent.workshop_session_id, "step_id": sent.step_id}
        if not sent.step_id:  # who comes second at the same moment fails here, and finds it when it tries again
            named["client_id"] = sent.conversation_id
        created = self._asking.create(session, principal, question, choice, temporary=False, **named)
        if sent.step_id:
            self._name(session, principal, created, sent)
        return self._begins_with(session, principal, created, brought)

    @staticmethod
    def _begins_with(session: Session, principal: Principal, created: Conversation, brought: Brought) -> Conversation:
        """The new conversation with what was said elsewhere before."""
        parent = None
        for role, text in brought.earlier:
            parent = conversations.add_message(
                session, principal, created.id, parent_id=parent, role=role, content=text, status="complete", parts=[]
            )
        if parent is None:
            return created
        conversations.advance(session, created.id, parent, len(brought.earlier))
        return conversations.get(session, principal, created.id)

    @staticmethod
    def _parent(session: Session, conversation: Conversation, sent: Submission) -> str | None:
        """The reply that the program says its question follows; the newest message where it says none that is here."""
        said = aliases.message(session, conversation, sent.parent_id) if sent.parent_id else None
        follows = said is not None and said.role == "assistant" and said.status != "streaming"
        return said.id if said is not None and follows else conversation.head_message_id

    def _again(self, session: Session, principal: Principal, conversation: Conversation, sent: Submission) -> Begun:
        question = self._answered(session, conversation, sent)
        files = tuple(found for part in question.parts if (found := part.get("attachment_id")))
        asked = Question(question.content, files)
        choice = self._choice(session, principal, sent, conversation, asked, again=True)
        return self._asking.answer_again(session, principal, conversation, question, choice)

    @staticmethod
    def _answered(session: Session, conversation: Conversation, sent: Submission) -> Message:
        """The question that is to be answered again: the one named, that of the reply named, or that of the last."""
        named = sent.regenerates or conversation.head_message_id or ""
        message = aliases.message(session, conversation, named)
        if message is not None and message.role == "assistant" and message.parent_id:
            message = conversations.messages(session, conversation.id, [message.parent_id]).get(message.parent_id)
        if message is None or message.role != "user":
            raise NotFound("There is no such message to be answered again.")
        return message


def _meta(brought: Brought) -> dict[str, Any]:
    """What of it is kept in the question's metadata."""
    found: dict[str, Any] = {"session_data": dict(brought.session_data)} if brought.session_data else {}
    return found | ({"data_parts": [dict(one) for one in brought.data_parts]} if brought.data_parts else {})


def _with(begun: Begun, brought: Brought, question: Question) -> Begun:
    """The turn with what the model is to know of it."""
    more = [brought.system]
    if brought.session_data:
        more.append(f"{_SESSION}\n{json.dumps(dict(brought.session_data), ensure_ascii=False)}")
    begun = replace(begun, system_prompt="\n\n".join(one for one in (begun.system_prompt, *more) if one))
    if not brought.alone:
        return begun
    note = [attached.data_note([dict(one) for one in brought.data_parts])] if brought.data_parts else []
    asked = "\n\n".join([question.text, *note])
    sent = [{"role": role, "content": text} for role, text in brought.earlier]
    return replace(begun, sent=(*sent, {"role": "user", "content": asked}))
