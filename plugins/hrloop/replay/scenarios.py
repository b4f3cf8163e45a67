"""The scenarios that are replayed: what happens to the practice company from a month on."""

from collections.abc import Callable

from hrloop.practice import Gap, Garble, Scenario, Shift, Turn

# Name → the scenario that begins with the applicants of this month.
SCENARIOS: dict[str, Callable[[int], Scenario | None]] = {
    "steady": lambda month: None,
    "drift": lambda month: Turn(month, experience=0.1, foreign=0.1, match=0.1, schooling=6.0, drive=3.0),
    "reversal": lambda month: Turn(month, experience=-1.0, foreign=-1.0),
    "base-rate": lambda month: Shift(month, log_odds=1.2),
    "corrupted-labels": lambda month: Garble(month, months=3, share=0.5),
    "incomplete-month": lambda month: Gap(month, share=0.10),
}
TOLD = {
    "steady": "What makes a good hire stays as it is.",
    "drift": "What makes a good hire changes: education and drive come to count more; experience, matching"
    " skills and work abroad hardly any longer.",
    "reversal": "Two effects turn round: where experience and work abroad helped they harm, and where they"
    " harmed they help.",
    "base-rate": "Good outcomes become rarer: of one in three, about one in seven is left.",
    "corrupted-labels": "For three months half of the ratings are entered at random, and never corrected.",
    "incomplete-month": "One month's applications come without years of experience in a tenth of the rows;"
    " the corrected file comes a day later.",
}
