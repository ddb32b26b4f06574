"""Workshops: playbooks of steps, and sessions in which several people work through them."""
