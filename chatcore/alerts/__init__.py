"""Alerts: rules of what is wrong, how far each is broken, and the notices that say so.

`rules` are the metrics and what a rule may say, `readings` what the database says of them, `state` what follows from
that, `looks` the three together; `channels` and `notices` are where word of it goes. `Alerts` is the facade.
"""

from chatcore.alerts.service import Alerts

__all__ = ["Alerts"]
