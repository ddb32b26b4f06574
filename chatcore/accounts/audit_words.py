"""An entry of the audit log as a sentence. What has none of its own is told by the name of its action."""

from collections.abc import Mapping
from typing import Any, Final

_ROLES: Final = {"member": "a member", "admin": "an admin", "operator": "an operator"}
_SENTENCES: Final[Mapping[str, str]] = {
    "sign_in": "{who} signed in",
    "sign_in.company": "{who} signed in with the company's account",
    "session.start": "{who} got a browser session",
    "session.by_command": "{who} opened a browser session as {whom}",
    "session.end": "{who} signed out",
    "session.revoke": "{who} signed one of their browsers out",
    "session.revoke_all": "{who} signed {whom} out everywhere",
    "password.change": "{who} changed their password",
    "password.reset": "{who} chose a new password by a link",
    "password.set": "{who} set the password of {whom}",
    "key.create": "{who} made an API key",
    "key.revoke": "{who} revoked an API key",
    "user.first": "{who} made the first account",
    "user.create": "{who} added {whom}",
    "user.invite": "{who} invited {whom}",
    "user.join": "{who} joined",
    "user.provision": "{who} came in by the company's sign-in",
    "user.link": "{who} was linked to their account at the company",
    "user.rename": "{who} changed their name",
    "user.role": "{who} made {whom} {role}",
    "user.tier": "{who} put {whom} into the tier {after}",
    "user.team": "{who} put {whom} into the team {after}",
    "user.disable": "{who} shut {whom} out",
    "user.enable": "{who} let {whom} in again",
    "user.reset_link": "{who} made a link with which {whom} can choose a password",
    "user.invite_link": "{who} made a new link for {whom} to join",
    "user.erase": "{who} erased a person",
    "tenant.add": "{who} added a tenant",
    "tenant.create": "{who} made this tenant",
    "tenant.rename": "{who} renamed the tenant to {after}",
    "tenant.timezone": "{who} set the time zone to {after}",
    "tenant.retention": "{who} changed how long messages and calls are kept",
    "retention.run": "What was older than its time was removed",
    "prompt.share": "{who} gave a prompt to the team",
    "prompt.change": "{who} changed a prompt of the team",
    "prompt.delete": "{who} deleted a prompt of the team",
    "agent.share": "{who} gave the agent {name} to the team",
    "agent.take_back": "{who} took the agent {name} back from the team",
    "agent.share_people": "{who} shared an agent of theirs with colleagues",
    "agent.change": "{who} changed the team's agent {name}",
    "agent.archive": "{who} archived the team's agent {name}",
    "agent.restore": "{who} brought the team's agent {name} back",
    "agent.delete": "{who} deleted the team's agent {name}",
    "knowledge.share": "{who} gave the knowledge base {name} to the team",
    "knowledge.take_back": "{who} took the knowledge base {name} back from the team",
    "knowledge.delete": "{who} deleted the team's knowledge base {name}",
    "share.create": "{who} shared a conversation",
    "share.revoke": "{who} ended the sharing of a conversation",
    "budget.set": "{who} set a budget",
    "budget.remove": "{who} removed a budget",
    "flags.change": "{who} changed flags, limits or prices",
    "provider_key.save": "{who} saved a provider's key",
    "provider_key.remove": "{who} removed a provider's key",
    "provider_key.rotate": "{who} encrypted a provider's key anew",
    "alert_rule.save": "{who} set the alert rule {name}",
    "alert_rule.delete": "{who} deleted the alert rule {name}",
    "alert_channel.add": "{who} added {name} for alerts to go to",
    "alert_channel.remove": "{who} removed {name}, where alerts went to",
    "alert_channel.try": "{who} sent a test alert",
    "alert_channel.rotate": "{who} encrypted an alert address anew",
    "provider.aside": "An alert put the provider {name} aside: it is asked last",
    "provider.back": "The provider {name} is asked as before",
    "breaker.say": "{who} switched a breaker",
    "prices.recompute": "{who} priced calls anew",
    "usage.export": "{who} exported calls",
    "audit.export": "{who} exported the audit log",
    "demo.make": "{who} made demo data",
    "demo.remove": "{who} removed demo data",
}
_BY_COMPANY: Final[Mapping[str, str]] = {
    "user.role": "The company's sign-in made {who} {role}",
    "user.team": "The company's sign-in put {who} into the team {after}",
}
ACTIONS: Final[tuple[str, ...]] = tuple(_SENTENCES)
"""The actions that have a sentence."""


def sentence(who: str, action: str, whom: str, details: Mapping[str, Any], *, own: bool = False) -> str:
    """`Ada made Bob an admin`. `whom`: '' where it is no person. `own`: who and whom are one."""
    template = _SENTENCES.get(action)
    if template is None:
        return f"{who}: {action}"
    after = details.get("after")
    if action == "user.team" and "after" in details and after is None:
        template = "{who} took {whom} out of the team {before}"
    if details.get("by") == "sign_in.company":
        template = _BY_COMPANY.get(action, template)
    facts = {
        "name": details.get("name") or "–",
        "who": who,
        "whom": "themself" if own else whom or "a person",
        "before": details.get("before") or "–",
    }
    return template.format(**facts, after=after or "–", role=_ROLES.get(str(after), "something else"))
