"""Looks after alerts in the background: one process of the instance evaluates the rules and sends notices."""
