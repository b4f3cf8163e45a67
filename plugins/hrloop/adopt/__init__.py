"""A company's own data onto the contract: propose a source declaration, check what it would bring in."""

from hrloop.adopt.check import Problem, Report, check
from hrloop.adopt.proposal import Proposal, of_database, of_folder
from hrloop.adopt.readiness import Answer, Readiness, assess

__all__ = [
    "Answer",
    "Problem",
    "Proposal",
    "Readiness",
    "Report",
    "assess",
    "check",
    "of_database",
    "of_folder",
]
