"""Who is looking at the page, and how they come and go.

The middleware has turned the cookie into `st.user`; what it names is looked up again in each run, so an open tab
notices at its next action that it was signed out elsewhere.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NoReturn
from urllib.parse import urlencode, urlsplit

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core

SESSION_HEADER: Final = "X-Chatcore-Session"
ADDRESS_HEADER: Final = "X-Chatcore-Address"
# Not in the session state: what stands there outlives the run, and reading it may end the run.
_found: ContextVar[Principal | None] = ContextVar("principal_of_this_run", default=None)
_BEHIND_ROUTER: Final = "behind_router"
CODE_KINDS: Final = ("setup", "invite", "reset")

_go_to = st.components.v2.component(
    "chatcore_go_to",
    js="""
export default function ({ data }) {
  if (data && data.url) window.location.replace(data.url)
}
""",
)


def session_id() -> str | None:
    """The id of the browser session, as the middleware found it when this tab connected.

    `st.user` has it too, but looks for a secrets file under a lock at each read.
    """
    return st.context.headers.get(SESSION_HEADER) or None


def address() -> str:
    """The client's address, '' where it is not known."""
    return st.context.headers.get(ADDRESS_HEADER) or ""


def current_principal() -> Principal | None:
    """The signed-in person as the database knows them now; None once the session has ended."""
    found = session_id()
    return core().accounts.principal(found) if found else None


def require_principal() -> Principal:
    """`current_principal` for pages behind the router; where the session has just ended, the sign-in form comes.

    During a run of the router it is what the router found; a fragment that runs by itself looks anew. A page that
    runs without the router says that nobody is signed in, and ends.
    """
    principal = _found.get() or current_principal()
    if principal is None:
        _leave_page()
    return principal


def _leave_page() -> NoReturn:
    if st.session_state.pop(_BEHIND_ROUTER, False):
        st.rerun()
    st.info("You are signed out. Reload the page to sign in.", icon=":material/lock:")
    st.stop()


@contextmanager
def handed_on(principal: Principal) -> Iterator[None]:
    """What the router found, for the page that runs inside, and for no later run."""
    st.session_state[_BEHIND_ROUTER] = True
    token = _found.set(principal)
    try:
        yield
    finally:
        _found.reset(token)


def base_path() -> str:
    """`/chat` where the app is served under a path, else ''."""
    path = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{path}" if path else ""


def app_url() -> str:
    """The app's own address without a slash at its end, for links to hand to others."""
    public = core().settings.public_url
    if public:
        return public if public.endswith(base_path()) else public + base_path()
    here = urlsplit(st.context.url or "")
    return f"{here.scheme}://{here.netloc}{base_path()}" if here.netloc else base_path()


def path() -> str:
    """The path that this tab asked for, below the base path."""
    return urlsplit(st.context.url or "").path.removeprefix(base_path()) or "/"


def destination() -> str:
    """The path and query that this tab asked for, below the base path and without one-time codes."""
    dropped = (*CODE_KINDS, "sign_in", "password")
    kept = {name: st.query_params.get_all(name) for name in st.query_params if name not in dropped}
    return f"{path()}?{urlencode(kept, doseq=True)}" if kept else path()


def go_to(url: str) -> None:
    """Send the browser to another address; the present one leaves its history."""
    _go_to(data={"url": url}, key="go_to")


def enter(ticket: str, next_path: str) -> None:
    """Turn a ticket into the session cookie, then show `next_path`."""
    go_to(f"{base_path()}/session/enter?{urlencode({'ticket': ticket, 'next': next_path})}")


def sign_out() -> None:
    """End this browser's session and show the sign-in form."""
    found = session_id()
    if found:
        core().accounts.sign_out(found)
    forget()
    go_to(f"{base_path()}/session/leave")


def forget() -> None:
    """Drop what this tab keeps of the person who was here."""
    for name in list(st.session_state):
        del st.session_state[name]
