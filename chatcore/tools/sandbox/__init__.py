"""A sandbox: a place where a program of somebody's runs and can harm and learn nothing."""

from chatcore.tools.sandbox.confine import Cell, find_cell
from chatcore.tools.sandbox.proof import Proof, prove
from chatcore.tools.sandbox.running import run
from chatcore.tools.sandbox.values import Came, Ending, GivenFile, Limits, MadeFile, NoSandbox, Outcome

__all__ = [
    "Came",
    "Cell",
    "Ending",
    "GivenFile",
    "Limits",
    "MadeFile",
    "NoSandbox",
    "Outcome",
    "Proof",
    "find_cell",
    "prove",
    "run",
]
