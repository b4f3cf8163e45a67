"""What the company does so that people stay, and what becomes of those it is done for.

Managers act by themselves, sooner where somebody is visibly unhappy. HR partners act on most of the alerts
that they are given, and on nobody whom the loop held out. A measure persuades a person or it does not: it
averts a resignation that was to come within a year where the person's ``persuasion`` lies below its effect,
so a second talk persuades nobody whom the first did not. Whoever is persuaded stays one to two years longer.
"""

import numpy as np
import pandas as pd

from hrloop.practice import unrest
from hrloop.practice.company import DAY, Company, add_months, identifiers, later, pick, seconds

EFFECTS = {"retention_talk": 0.25, "raise": 0.40, "role_change": 0.30, "workload": 0.20}
"""Share of the resignations ahead that a measure averts."""

ACTED_ON = 0.7  # of the alerts
PARTNERS_CHOOSE = (0.70, 0.12, 0.06, 0.12)  # the measures, in the order of EFFECTS, when HR partners act
MANAGERS_CHOOSE = (0.50, 0.20, 0.10, 0.20)  # and when managers do
UNPROMPTED_SHARE = 0.003  # of the staff, each month, and three times as often those who are unhappy
UNHAPPY = 3.0
REST_DAYS = 90  # HR partners approach nobody so soon after a measure
RAISE = 1.05
AHEAD_DAYS = 365  # resignations so far ahead can be averted
ALERT_COLUMNS = ("employee_id", "month", "action")


def read_alerts(alerts: pd.DataFrame, employees: pd.Series, month: str) -> pd.DataFrame:
    """The alerts about those employed through ``month``, checked, one row each: employee_id and action.

    Alerts of other months are left out: earlier ones come too late to matter. Raises ValueError naming
    column, row and remedy.
    """
    missing = set(ALERT_COLUMNS) - set(alerts.columns)
    if missing:
        raise ValueError(f"alerts for {month} lack the columns {sorted(missing)}; add them")
    table = alerts[list(ALERT_COLUMNS)].astype("str").reset_index(drop=True)
    known = table["action"].isin(["alert", "none"])
    if not known.all():
        row = table.loc[~known].iloc[0]
        raise ValueError(
            f"alerts for {month}: action of {row['employee_id']} is {row['action']!r};"
            " write 'alert' or 'none'"
        )
    dated = table["month"].str.fullmatch(r"\d{4}-\d\d")
    if not dated.all():
        row = table.loc[~dated].iloc[0]
        raise ValueError(
            f"alerts for {month}: month of {row['employee_id']} is {row['month']!r};"
            " write year and month, such as 2026-07"
        )
    table = table.loc[table["month"] == month, ["employee_id", "action"]]
    twice = table["employee_id"].duplicated()
    if twice.any():
        raise ValueError(
            f"alerts for {month}: {table.loc[twice, 'employee_id'].iloc[0]} stands there twice;"
            " give one row per employee and month"
        )
    strange = ~table["employee_id"].isin(employees)
    if strange.any():
        raise ValueError(
            f"alerts for {month}: no {table.loc[strange, 'employee_id'].iloc[0]} was employed through it;"
            " give the alerts about those with a row in its work months"
        )
    return table.sort_values("employee_id").reset_index(drop=True)


def act(
    company: Company, index: int, staff: pd.DataFrame, alerts: pd.DataFrame | None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The staff after what was done in month ``index``, the rows that say so, and the truth about them.

    ``alerts`` is what :func:`read_alerts` returns about the month before, or None.
    """
    rng = company.rng(index, "interventions")
    count, month = len(staff), company.opening(index)
    unhappy = (unrest.restlessness(company, index, staff) > 0.5) | staff["episode"].eq("low mood").to_numpy()
    unprompted = rng.random(count) < UNPROMPTED_SHARE * np.where(unhappy, UNHAPPY, 1.0)
    unprompted_on = later(np.full(count, month), rng, 0, 25)
    followed = rng.random(count) < ACTED_ON
    prompted_on = later(np.full(count, month), rng, 3, 20)
    by_managers = rng.choice(len(EFFECTS), p=MANAGERS_CHOOSE, size=count)
    by_partners = rng.choice(len(EFFECTS), p=PARTNERS_CHOOSE, size=count)
    longer = (rng.uniform(366, 730, size=count) * 86_400).astype("m8[s]")

    alerted = np.zeros(count, dtype=bool)
    if alerts is not None:
        alerted = staff["employee_id"].isin(alerts.loc[alerts["action"] == "alert", "employee_id"]).to_numpy()
    rested = ~(month - seconds(staff["acted_on"]) < REST_DAYS * DAY)  # nothing was ever done: rested
    prompted = alerted & followed & rested
    on = np.where(prompted, prompted_on, unprompted_on).astype("M8[D]").astype("M8[s]")
    kind = np.where(prompted, by_partners, by_managers)
    leaves = seconds(staff["leaves_on"])
    done = (prompted | unprompted) & (seconds(staff["hired_on"]) < month) & (leaves > on)
    effect = np.array(list(EFFECTS.values()))[kind]
    averted = done & unrest.going(staff) & (leaves - on <= AHEAD_DAYS * DAY)
    averted &= staff["persuasion"].to_numpy() < effect
    raised = done & (kind == list(EFFECTS).index("raise"))

    where = np.flatnonzero(done)
    rows = pd.DataFrame(
        {
            "intervention_id": identifiers("N", company.month(index), len(where)),
            "employee_id": staff["employee_id"].iloc[where].array,
            "kind": pick(EFFECTS, kind[where]),
            "started_on": on[where],
        }
    )
    ends = rows["kind"].eq("workload").to_numpy()
    rows["ended_on"] = np.where(ends, seconds(add_months(on[where], 2)), np.datetime64("NaT", "s"))
    rows["updated_at"] = later(on[where], rng, 0.3, 2)
    truth = rows[["intervention_id", "employee_id", "kind", "started_on"]].assign(
        alerted=prompted[where],
        would_have_left_on=leaves[where],
        would_have_left_as=staff["leaving_kind"].iloc[where].array,
        averted=averted[where],
    )
    # a raise is paid from the next month on
    payday = company.opening(index + 1)
    staff = staff.assign(
        acted_on=np.where(done, on, seconds(staff["acted_on"])),
        leaves_on=np.where(averted, leaves + longer, leaves).astype("M8[D]").astype("M8[s]"),
        monthly_salary=np.round(staff["monthly_salary"].to_numpy() * np.where(raised, RAISE, 1.0), -1),
        raised_on=np.where(raised, on, seconds(staff["raised_on"])),
        valid_from=np.where(raised, payday, seconds(staff["valid_from"])),
        updated_at=np.where(raised, later(on, rng, 0.3, 2), seconds(staff["updated_at"])),
    )
    return staff, rows, truth
