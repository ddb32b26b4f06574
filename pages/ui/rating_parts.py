"""Rating a reply, and what admins see of the ratings."""

from datetime import datetime

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations.ratings import MAX_COMMENT, ModelRating, RatingComment
from chatcore.errors import ChatcoreError
from pages.ui.text import ago, plain

_COMMENTS = 10
_number = st.column_config.NumberColumn


def draw(principal: Principal, message_id: str) -> None:
    """The form, for a dialog: stars, a comment, and whether admins may read the text. What was given stands in it."""
    mine = core().ratings.mine(principal, [message_id]).get(message_id)
    key = f"rating-{message_id}"
    chosen = st.feedback("stars", key=f"{key}-stars", default=mine.stars - 1 if mine else None)
    st.caption("Your stars. Admins see them by model, without your name.")
    comment = st.text_area("Comment", mine.comment if mine else "", key=f"{key}-comment", max_chars=MAX_COMMENT,
                           placeholder="What was good or bad about it (optional)", height=90)  # fmt: skip
    send_text = st.toggle(
        "Send my question and this reply to the admins", mine.text_sent if mine else False, key=f"{key}-text",
        help="Without it they see your stars and your comment, and nothing of the conversation.",
    )  # fmt: skip
    with st.container(horizontal=True, horizontal_alignment="right"):
        removing = mine is not None and st.button("Take back", key=f"{key}-remove")
        sending = st.button("Send", key=f"{key}-send", type="primary", disabled=chosen is None)
    try:
        if removing:
            core().ratings.remove(principal, message_id)
        elif sending and chosen is not None:
            core().ratings.rate(principal, message_id, chosen + 1, comment, send_text)
    except ChatcoreError as error:
        st.error(str(error))
        return
    if removing or sending:
        st.rerun()


def draw_admin(principal: Principal, since: datetime | None = None) -> None:
    """What the team thinks of the models, for admins. `since`: a point in time, None for all ratings."""
    models = core().ratings.by_model(principal, since)
    st.subheader("Ratings")
    if not models:
        st.caption("No reply has been rated yet. People rate one with the menu below it.")
        return
    draw_models(models)
    comments = core().ratings.comments(principal, since, limit=_COMMENTS)
    if comments:
        st.markdown("**What people wrote**")
    for comment in comments:
        draw_comment(comment)


def draw_models(models: list[ModelRating]) -> None:
    """The table of models with their mean and their stars."""
    rows = [{"model": one.model, "mean": one.mean, "count": one.count, "stars": list(one.histogram)} for one in models]
    config = {
        "model": st.column_config.TextColumn("Model", pinned=True),
        "mean": _number("Mean", format="%.1f ★", width="small"),
        "count": _number("Ratings", format="localized", width="small"),
        "stars": st.column_config.BarChartColumn("1 to 5 stars", y_min=0, help="How many gave one star, two, … five."),
    }
    st.dataframe(rows, column_config=config, hide_index=True, key="ratings_table", alt="Ratings of each model")


def draw_comment(one: RatingComment) -> None:
    """Stars, model, and what somebody wrote; question and reply where they were sent."""
    with st.container(border=True, gap="xxsmall"):
        st.caption(f"{'★' * one.stars}{'☆' * (5 - one.stars)} · {plain(one.model)} · {ago(one.updated_at)}")
        if one.comment:
            st.text(one.comment)
        if one.reply is not None:
            with st.expander("Question and reply", type="compact"):
                st.caption("Question")
                st.text(one.question or "")
                st.caption("Reply")
                st.text(one.reply)
