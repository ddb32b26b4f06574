"""Workshops: playbooks, and sessions with their people, steps and notes."""

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, ForeignKey, Index, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from chatcore.db.tables.base import Base, utcnow


class Playbook(Base):
    """Steps that a workshop goes through, made by somebody for their team. What ships is code and has no row.

    `content`: the system prompt for all steps, and the steps in their order. `owner_id`: None where the owner was
    erased. `version`: grows by one with every change.
    """

    __tablename__ = "playbooks"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    owner_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    content: Mapped[dict[str, Any]] = mapped_column(default=dict)
    version: Mapped[int] = mapped_column(Integer, default=1)
    archived_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)
    __table_args__ = (Index("ix_playbooks_tenant", "tenant_id", "archived_at", "name"),)


class WorkshopSession(Base):
    """People who work through a playbook together. `content`: the playbook as it was at the start, its name too.

    `owner_id`: who leads it, and whose the conversations of its steps are. `open_to_team`: whoever of the tenant opens
    its link takes part. `revision`: grows by one with every change but what is said in its conversations.
    """

    __tablename__ = "workshop_sessions"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    title: Mapped[str]
    content: Mapped[dict[str, Any]] = mapped_column(default=dict)
    open_to_team: Mapped[bool] = mapped_column(Boolean, default=False)
    revision: Mapped[int] = mapped_column(Integer, default=0)
    ended_at: Mapped[datetime | None]
    archived_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)
    __table_args__ = (Index("ix_workshop_sessions_tenant", "tenant_id", "archived_at", "updated_at"),)


class WorkshopParticipant(Base):
    """Who takes part in a session. `removed_at`: they no longer do, and its link lets them in no more."""

    __tablename__ = "workshop_participants"
    session_id: Mapped[str] = mapped_column(ForeignKey("workshop_sessions.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True, index=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    joined_at: Mapped[datetime] = mapped_column(default=utcnow)
    removed_at: Mapped[datetime | None]


class WorkshopStep(Base):
    """A step of a session. `conversation_id`: its conversation, from the first question on; whoever takes part in the
    session may reply in it. `notes`: the number of the notes that stand, 0 for none."""

    __tablename__ = "workshop_steps"
    session_id: Mapped[str] = mapped_column(ForeignKey("workshop_sessions.id", ondelete="CASCADE"), primary_key=True)
    step_id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    conversation_id: Mapped[str | None] = mapped_column(
        ForeignKey("conversations.id", ondelete="SET NULL"), unique=True
    )
    notes: Mapped[int] = mapped_column(Integer, default=0)
    done_at: Mapped[datetime | None]
    done_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"))


class WorkshopNotes(Base):
    """Notes of a step as they were saved, the `number`th time. `model`: which one wrote them, where one did."""

    __tablename__ = "workshop_notes"
    session_id: Mapped[str] = mapped_column(ForeignKey("workshop_sessions.id", ondelete="CASCADE"), primary_key=True)
    step_id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    model: Mapped[str | None]
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
