"""Workshops: playbooks of steps, and sessions in which several people work through them.

Whoever takes part in a session shares a conversation with the others in each of its steps, and its notes. What is
asked goes through `turns`; here is everything else.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from chatcore.accounts.active import require_active
from chatcore.accounts.principal import Principal
from chatcore.conversations import Message
from chatcore.conversations import store as conversations
from chatcore.conversations.export import ExportFile
from chatcore.conversations.export.document import file_name
from chatcore.db import Database
from chatcore.db.tables import utcnow
from chatcore.errors import Conflict, NotFound
from chatcore.workshops import contents, exporting, notes, people, playbooks, sessions
from chatcore.workshops.contents import (
    MAX_DESCRIPTION,
    MAX_GUIDANCE,
    MAX_NAME,
    MAX_NOTES,
    MAX_PROMPT,
    MAX_STEPS,
    step_id,
)
from chatcore.workshops.erasing import erase_old, erase_person, hand_on
from chatcore.workshops.values import (
    Content,
    Listed,
    Notes,
    OpenStep,
    Person,
    Playbook,
    Pulse,
    Said,
    Step,
    ToSummarise,
    Workshop,
)

__all__ = [
    "MAX_DESCRIPTION", "MAX_GUIDANCE", "MAX_NAME", "MAX_NOTES", "MAX_PROMPT", "MAX_STEPS", "Content", "Listed", "Notes",
    "OpenStep", "Person", "Playbook", "Pulse", "Said", "Step", "ToSummarise", "Workshop", "Workshops", "erase_old",
    "erase_person", "hand_on", "step_id",
]  # fmt: skip

_MESSAGES = 2_000  # of each step that are exported


class Workshops:
    """Playbooks of the principal's team, and the sessions that the principal takes part in.

    Everything that takes an id raises `NotFound`, the same for absent and for what is not theirs; what only the leader
    of a session, or whoever made a playbook, may do raises `Forbidden` for others; every change `Unauthorized` for who
    was signed out meanwhile, and in a session that has ended or is archived `Conflict`.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    # ---- playbooks

    def playbooks(self, principal: Principal) -> Sequence[Playbook]:
        """What ships, then the team's by name."""
        return self._db.read(lambda session: playbooks.listed(session, principal))

    def archived_playbooks(self, principal: Principal) -> Sequence[Playbook]:
        """The archived ones that the principal may bring back."""
        return self._db.read(lambda session: playbooks.listed(session, principal, archived=True))

    def playbook(self, principal: Principal, playbook_id: str) -> Playbook:
        """All of a playbook."""
        return self._db.read(lambda session: playbooks.one(session, principal, playbook_id))

    def create_playbook(self, principal: Principal, content: Content) -> str:
        """Save a new playbook for the team; returns its id. Raises `InvalidInput`, `Conflict` when one has 100."""
        checked = contents.checked(content)
        return self._db.write(lambda session: playbooks.create(session, principal, checked))

    def copy_playbook(self, principal: Principal, playbook_id: str) -> str:
        """A copy that is the principal's to change; returns its id. Raises `Conflict` when one has 100."""

        def work(session: Session) -> str:
            found = playbooks.one(session, principal, playbook_id).content
            name = f"Copy of {found.name}"[:MAX_NAME].strip()
            return playbooks.create(session, principal, Content(**{**vars(found), "name": name}))

        return self._db.write(work)

    def save_playbook(self, principal: Principal, playbook_id: str, content: Content, version: int) -> int:
        """Save it over `version`, the one that was changed; returns the new number. Sessions that run stay as they are.

        Raises `InvalidInput`, and `Conflict` where somebody saved another one since.
        """
        checked = contents.checked(content)
        return self._db.write(lambda session: playbooks.save(session, principal, playbook_id, checked, version))

    def archive_playbook(self, principal: Principal, playbook_id: str, *, archived: bool = True) -> None:
        """Take it from the list of the team, or bring it back."""
        self._db.write(lambda session: playbooks.archive(session, principal, playbook_id, archived=archived))

    # ---- sessions

    def list(self, principal: Principal, *, archived: bool = False) -> Sequence[Listed]:
        """The sessions that the principal takes part in, and those open to the team, newest activity first: at most
        100. `archived`: those of theirs that are."""
        return self._db.read(lambda session: sessions.listed(session, principal, archived=archived))

    def create(self, principal: Principal, playbook_id: str, title: str, *, open_to_team: bool = False) -> str:
        """Begin a session with what the playbook says now; returns its id. Raises `InvalidInput`, `Conflict` for an
        archived playbook and when one leads 200."""
        named = contents.title(title)

        def work(session: Session) -> str:
            found = playbooks.one(session, principal, playbook_id)
            if found.archived_at is not None:
                raise Conflict("This playbook is archived. Choose another one.")
            return sessions.create(session, principal, named, found.content, open_to_team=open_to_team)

        return self._db.write(work)

    def open(self, principal: Principal, session_id: str) -> Workshop:
        """A session, as its link opens it: one that is open to the team takes the principal in."""
        try:
            return self.get(principal, session_id)
        except NotFound:
            self._db.write(lambda session: people.join(session, principal, session_id))
            return self.get(principal, session_id)

    def get(self, principal: Principal, session_id: str) -> Workshop:
        """A session that the principal takes part in."""
        return self._db.read(lambda session: sessions.one(session, principal, session_id))

    def pulse(self, principal: Principal, session_id: str, step_id: str) -> Pulse:
        """What changes whenever the step is no longer as it was drawn."""
        return self._db.read(lambda session: sessions.pulse(session, principal, session_id, step_id))

    def rename(self, principal: Principal, session_id: str, title: str) -> None:
        """Give it another title: 1 to 80 characters. Raises `InvalidInput`."""
        self._change(principal, session_id, title=contents.title(title))

    def open_to_team(self, principal: Principal, session_id: str, *, is_open: bool) -> None:
        """Let everybody of the team take part who opens its link, or nobody more."""
        self._change(principal, session_id, open_to_team=is_open)

    def end(self, principal: Principal, session_id: str, *, ended: bool = True) -> None:
        """From now on it can only be read; `ended=False`: it goes on."""
        self._change(principal, session_id, ended_at=utcnow() if ended else None)

    def archive(self, principal: Principal, session_id: str, *, archived: bool = True) -> None:
        """Take it from everybody's list, to be read only; or bring it back."""
        self._change(principal, session_id, archived_at=utcnow() if archived else None)

    def set_done(self, principal: Principal, session_id: str, step_id: str, *, done: bool) -> None:
        """Mark a step as done, or as not done. Raises `InvalidInput` for a step that is not there."""

        def work(session: Session) -> None:
            sessions.require_step(sessions.one(session, principal, session_id).content, step_id)
            sessions.set_done(session, principal, session_id, step_id, done=done)

        self._db.write(work)

    # ---- people

    def invitable(self, principal: Principal, session_id: str) -> Sequence[Person]:
        """The people of the tenant who do not take part, by name: for who leads the session."""
        return self._db.read(lambda session: people.invitable(session, principal, session_id))

    def invite(self, principal: Principal, session_id: str, user_ids: Sequence[str]) -> None:
        """Let people of the tenant take part, those who were removed too. Raises `Conflict` for more than 100."""
        self._db.write(lambda session: people.invite(session, principal, session_id, user_ids))

    def remove(self, principal: Principal, session_id: str, user_id: str) -> None:
        """Somebody no longer takes part: nothing of it is theirs to see, and its link lets them in no more."""
        self._db.write(lambda session: people.remove(session, principal, session_id, user_id))

    def leave(self, principal: Principal, session_id: str) -> None:
        """Take part no longer. Raises `InvalidInput` for who leads it."""
        self._db.write(lambda session: people.leave(session, principal, session_id))

    # ---- notes

    def notes(self, principal: Principal, session_id: str, step_id: str) -> Notes | None:
        """The notes of a step that stand, None without any."""

        def work(session: Session) -> Notes | None:
            sessions.require_part(session, principal, session_id)
            return notes.standing(session, session_id, [step_id]).get(step_id)

        return self._db.read(work)

    def versions(self, principal: Principal, session_id: str, step_id: str) -> Sequence[Notes]:
        """All notes of a step that are kept, newest first: at most 50."""

        def work(session: Session) -> Sequence[Notes]:
            sessions.require_part(session, principal, session_id)
            return notes.versions(session, session_id, step_id)

        return self._db.read(work)

    def save_notes(self, principal: Principal, session_id: str, step_id: str, text: str, over: int) -> int:
        """Save notes over number `over`, those that were changed, 0 for none; returns the new number.

        Raises `InvalidInput`, and `Conflict`, which names who, where others were saved since: nothing is written then.
        """
        cleaned = contents.notes(text)

        def work(session: Session) -> int:
            saved = notes.save(session, principal, session_id, step_id, cleaned, over)
            if saved is None:
                raise notes.overtaken(session, session_id, step_id)
            return saved

        return self._db.write(work)

    # ---- the whole

    def pdf(self, principal: Principal, session_id: str, *, labels: Mapping[str, str]) -> ExportFile:
        """All steps with guidance, notes and conversations. `labels`: the models' names as people read them.

        Blocks for seconds. Raises `InvalidInput` when it cannot be laid out within a minute.
        """
        export = self._db.read(lambda session: _export(session, principal, session_id, labels))
        name = file_name(export.title, export.made_at, "pdf")
        return ExportFile(name, "application/pdf", exporting.to_pdf(export))

    def _change(self, principal: Principal, session_id: str, **values: object) -> None:
        self._db.write(lambda session: sessions.change(session, principal, session_id, **values))


def _export(session: Session, principal: Principal, session_id: str, labels: Mapping[str, str]) -> exporting.Export:
    require_active(session, principal)  # a page hands this out long after it was drawn
    found = sessions.one(session, principal, session_id)
    names: dict[str, str] = {}
    said: dict[str, tuple[Message, ...]] = {}
    for one in found.steps:
        if one.conversation_id is not None:
            conversation = conversations.get(session, principal, one.conversation_id, "reply")
            names |= conversations.people(session, conversation)
            head = conversation.head_message_id
            said[one.step.id] = conversations.branch(session, conversation.id, head, _MESSAGES).messages
    kept, cut = exporting.fitting(said)
    return exporting.Export(
        title=found.title,
        content=found.content,
        notes=notes.standing(session, session_id, [one.step.id for one in found.steps]),
        said=kept,
        done={one.step.id: one.done_at for one in found.steps},
        taking_part=tuple(person.name for person in found.people),
        people=names,
        models=labels,
        made_at=utcnow(),
        cut=cut,
    )
