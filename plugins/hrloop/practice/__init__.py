"""A company to practise on: writes the exports that a real ATS and HRIS would, and knows the truth.

``history`` writes the past, ``answer`` lives the next month under the decisions it is given, ``review`` and
``review_warnings`` say what its recruiters and HR partners think of decisions, ``truth`` reads what would
have become of people. The taxonomy of skills and job families is in ``taxonomy``.
"""

from hrloop.practice.company import Shift
from hrloop.practice.reviewing import review, review_warnings
from hrloop.practice.simulation import Report, answer, history, truth
from hrloop.practice.taxonomy import JOB_FAMILIES, JOB_FAMILY_SYNONYMS, SKILL_SYNONYMS, SKILLS

__all__ = [
    "JOB_FAMILIES",
    "JOB_FAMILY_SYNONYMS",
    "SKILLS",
    "SKILL_SYNONYMS",
    "Report",
    "Shift",
    "answer",
    "history",
    "review",
    "review_warnings",
    "truth",
]
