"""Conversations: who may read them, their messages as a tree, and the branch that ends at the head."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.conversations import aliases, copying, store, tree
from chatcore.conversations.text import TITLE_LENGTH, clean
from chatcore.conversations.tree import Totals
from chatcore.conversations.values import Conversation, ConversationSummary, Message, Window
from chatcore.db import Database
from chatcore.errors import Conflict, InvalidInput, NotFound

__all__ = ["RECENT", "WINDOW", "Conversation", "ConversationSummary", "Conversations", "Message", "Totals", "Window"]

MAX_SUMMARY: Final = 20_000  # characters
_MAX_COPIED: Final = 10_000  # messages
_FORK: Final = " (fork)"  # behind the title
WINDOW = 30  # messages drawn at a time: a page's cost must not grow with the age of the conversation
RECENT = 20


class Conversations:
    """One's own conversations, and those of colleagues that the team may reply in.

    Everything raises `NotFound`, the same for absent and for what is not theirs. Messages are written by the turn
    engine.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def get(self, principal: Principal, conversation_id: str) -> Conversation:
        """A conversation that the principal may read and reply in."""
        return self._db.read(lambda session: store.get(session, principal, conversation_id, "reply"))

    def resolve(self, principal: Principal, any_id: str) -> str:
        """The id of a conversation that the principal may reply in, by that id or by the one that their program made.

        Raises `NotFound`.
        """
        found = self._db.read(lambda session: aliases.find(session, principal, any_id))
        if found is None:
            raise NotFound("This conversation does not exist, or it is not yours.")
        return found

    def of_step(self, principal: Principal, session_id: str, step_id: str) -> str:
        """The id of the principal's conversation of a workshop's session and step. Raises `NotFound`."""
        found = self._db.read(lambda session: aliases.of_step(session, principal, session_id, step_id))
        if found is None:
            raise NotFound("There is no conversation of this step yet.")
        return found

    def recent(self, principal: Principal, limit: int = RECENT, offset: int = 0) -> list[ConversationSummary]:
        """The principal's own, newest activity first, without pinned, archived and temporary ones."""
        return self._db.read(lambda session: store.recent(session, principal, limit, offset))

    def window(
        self, principal: Principal, conversation_id: str, limit: int = WINDOW, *, around: str | None = None
    ) -> tuple[Conversation, Window]:
        """The conversation and the newest `limit` messages of its branch, oldest first.

        `around`: the id of a message that is shown in the midst of others instead of the newest ones; ignored where
        it is not on the branch.
        """

        def work(session: Session) -> tuple[Conversation, Window]:
            conversation = store.get(session, principal, conversation_id, "reply")
            head_id = conversation.head_message_id
            window = None
            if around and head_id:
                window = tree.around(session, conversation_id, head_id, around, limit)
            window = window or store.branch(session, conversation_id, head_id, limit)
            if not window.messages or head_id is None:
                return conversation, window
            return conversation, replace(
                window,
                siblings=tree.siblings(session, conversation_id, window.messages),
                branches_below=not window.later and tree.has_children(session, conversation_id, head_id),
            )

        return self._db.read(work)

    def before(
        self, principal: Principal, conversation_id: str, message_id: str | None, limit: int
    ) -> tuple[Conversation, Window]:
        """The conversation and the `limit` messages above a message, oldest first; None: the newest of its branch."""

        def work(session: Session) -> tuple[Conversation, Window]:
            conversation = store.get(session, principal, conversation_id, "reply")
            end = conversation.head_message_id
            if message_id is not None:
                end = self._require_message(session, principal, conversation_id, message_id).parent_id
            return conversation, store.branch(session, conversation_id, end, limit)

        return self._db.read(work)

    def branch(self, principal: Principal, conversation_id: str, head_id: str, limit: int) -> Window:
        """The `limit` messages that end with this one, oldest first: any branch, not the visible one alone."""

        def work(session: Session) -> Window:
            self._require_message(session, principal, conversation_id, head_id)
            return store.branch(session, conversation_id, head_id, limit)

        return self._db.read(work)

    def children(self, principal: Principal, conversation_id: str, parent_id: str | None, limit: int) -> list[Message]:
        """The messages below a message, oldest first: a question's versions, a question's replies. None: the first
        questions."""

        def work(session: Session) -> list[Message]:
            store.get(session, principal, conversation_id, "reply")
            return tree.children(session, conversation_id, parent_id, limit)

        return self._db.read(work)

    def replies(self, principal: Principal, conversation_id: str, message_ids: Sequence[str]) -> list[Message]:
        """Messages of a conversation by their ids, in that order; what is not of it is left out."""

        def work(session: Session) -> list[Message]:
            store.get(session, principal, conversation_id, "reply")
            found = store.messages(session, conversation_id, message_ids)
            return [found[message_id] for message_id in message_ids if message_id in found]

        return self._db.read(work)

    def people(self, principal: Principal, conversation_id: str) -> dict[str, str]:
        """The names of those who wrote in a conversation, and of its owner, by user id."""

        def work(session: Session) -> dict[str, str]:
            conversation = store.get(session, principal, conversation_id, "reply")
            return store.people(session, conversation)

        return self._db.read(work)

    def pinned(self, principal: Principal) -> list[ConversationSummary]:
        """The principal's own that are pinned, newest activity first; they are not among `recent`."""
        return self._db.read(lambda session: store.pinned(session, principal))

    def head(self, principal: Principal, conversation_id: str) -> str | None:
        """The id of the newest message of its branch: it changes whenever the conversation goes on."""
        return self._db.read(lambda session: store.head(session, principal, conversation_id))

    def switch(self, principal: Principal, conversation_id: str, message_id: str) -> None:
        """Make the branch through a message the visible one, down to what was written last below it."""

        def work(session: Session) -> None:
            self._require_message(session, principal, conversation_id, message_id)
            store.set_head(session, conversation_id, tree.newest_below(session, conversation_id, message_id))

        self._db.write(work)

    def switch_to(self, principal: Principal, conversation_id: str, message_id: str) -> None:
        """`switch`, where the message is not on the visible branch already."""

        def is_visible(session: Session) -> bool:
            self._require_message(session, principal, conversation_id, message_id)
            head_id = store.head(session, principal, conversation_id)
            return head_id is not None and tree.is_above(session, conversation_id, head_id, message_id)

        if not self._db.read(is_visible):
            self.switch(principal, conversation_id, message_id)

    def reply_from(self, principal: Principal, conversation_id: str, message_id: str) -> None:
        """Make a message the end of the visible branch, so that the next question begins a new one below it.

        What was said below it stays, as a branch. Raises `InvalidInput` for a question: what follows it is a reply.
        """

        def work(session: Session) -> None:
            message = self._require_message(session, principal, conversation_id, message_id)
            if message.role != "assistant" or message.status == "streaming":
                raise InvalidInput("Only a reply that has ended can be replied to.")
            store.set_head(session, conversation_id, message_id)

        self._db.write(work)

    def pick(self, principal: Principal, conversation_id: str, message_id: str) -> None:
        """Go on with one of the replies that were compared: it becomes the visible branch."""

        def work(session: Session) -> None:
            message = self._require_message(session, principal, conversation_id, message_id)
            if message.parent_id is None:
                raise InvalidInput("Only a reply can be chosen.")
            _, question = store.message(session, principal, message.parent_id, "reply")
            store.set_meta(session, question.id, {**question.meta, "picked": message_id})
            store.set_head(session, conversation_id, tree.newest_below(session, conversation_id, message_id))

        self._db.write(work)

    def fork(self, principal: Principal, message_id: str) -> str:
        """Copy the branch that ends at a message into a conversation of its own; returns its id.

        Raises `Conflict` while the message is being written.
        """

        def work(session: Session) -> tuple[Conversation, copying.Branch]:
            source_id, message = store.message(session, principal, message_id, "reply")
            source = store.get(session, principal, source_id, "reply")
            if source.expires_at is not None:
                raise Conflict("A temporary chat leaves nothing behind, so it cannot be forked.")
            if message.status == "streaming":
                raise Conflict("This reply is being written. Wait for its end, or stop it.")
            window = store.branch(session, source_id, message_id, _MAX_COPIED)
            if window.earlier:
                raise Conflict(f"A branch of more than {_MAX_COPIED:,} messages cannot be forked.")
            return source, copying.branch(session, source_id, window.messages)

        source, branch = self._db.read(work)
        title = f"{source.title[: TITLE_LENGTH - len(_FORK)]}{_FORK}"
        return copying.copy(
            self._db, principal, branch, title, model=source.model, agent_id=source.agent_id,
            settings=source.settings, parent_conversation_id=source.id,
        )  # fmt: skip

    def totals(self, principal: Principal, conversation_id: str) -> tuple[Totals, Totals]:
        """What the visible branch used, and what the whole conversation did."""

        def work(session: Session) -> tuple[Totals, Totals]:
            conversation = store.get(session, principal, conversation_id, "reply")
            return tree.totals(session, conversation_id, conversation.head_message_id)

        return self._db.read(work)

    def rename(self, principal: Principal, conversation_id: str, title: str) -> None:
        """Give it another title: 1 to 100 characters. Raises `InvalidInput`."""
        title = " ".join(clean(title).split())
        if not 0 < len(title) <= TITLE_LENGTH:
            raise InvalidInput(f"A title has 1 to {TITLE_LENGTH} characters.")
        self._own(
            principal, conversation_id, lambda session: store.set_title(session, conversation_id, title, "person")
        )

    def edit_summary(self, principal: Principal, conversation_id: str, text: str) -> None:
        """Replace the words of its summary; an empty text removes it. Raises `InvalidInput` over 20,000 characters."""
        text = clean(text).strip()
        if len(text) > MAX_SUMMARY:
            raise InvalidInput(f"A summary has at most {MAX_SUMMARY:,} characters.")

        def work(session: Session) -> None:
            found = store.get(session, principal, conversation_id).summary
            summary = {**(found or {}), "text": text, "edited": True} if text else None
            store.change(session, conversation_id, summary=summary)

        self._db.write(work)

    def remember(
        self, principal: Principal, conversation_id: str, model: str, agent_id: str | None, settings: dict[str, Any]
    ) -> None:
        """Keep what the person chose for the next turn."""
        chosen = {"model": model, "agent_id": agent_id, "settings": settings}
        self._own(principal, conversation_id, lambda session: store.change(session, conversation_id, **chosen))

    def _own(self, principal: Principal, conversation_id: str, change: Callable[[Session], None]) -> None:
        def work(session: Session) -> None:
            store.get(session, principal, conversation_id)
            change(session)

        self._db.write(work)

    @staticmethod
    def _require_message(session: Session, principal: Principal, conversation_id: str, message_id: str) -> Message:
        found_in, message = store.message(session, principal, message_id, "reply")
        if found_in != conversation_id:
            raise NotFound("This message is not part of this conversation.")
        return message
