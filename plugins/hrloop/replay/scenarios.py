"""The scenarios that are replayed: what happens to the practice company from a month on."""

from collections.abc import Callable

from hrloop.practice import Gap, Garble, Scenario, Shift, Turn

# Name → the scenario that begins with the applicants of this month.
SCENARIOS: dict[str, Callable[[int], Scenario | None]] = {
    "steady": lambda month: None,
    # Education, drive and skills come to count, experience and work abroad hardly any more.
    "drift": lambda month: Turn(month, experience=0.2, foreign=0.2, schooling=4.0, drive=2.5, match=2.0),
    # What experience was worth, it costs.
    "reversal": lambda month: Turn(month, experience=-1.0),
    # At one third of good outcomes, one in seven is left.
    "base-rate": lambda month: Shift(month, log_odds=1.2),
    "corrupted-labels": lambda month: Garble(month, months=3, share=0.5),
    "incomplete-month": lambda month: Gap(month, share=0.10),
}
