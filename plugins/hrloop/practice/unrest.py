"""What no export shows of the employed: their habits, their seasons, and who makes up their mind to go.

Whoever resigns has made up their mind more than half a year before, so at the end of a month it is settled
who leaves within the next six, but for layoffs and for what is done about it. Two in three grow restless on
the way: overtime rises, messages fall and the mood sinks, all three together and by the measure of what is
usual for that person. One in three goes without a sign.

Among those who stay each sign comes by itself, for months: a busy season, a new role, a low mood. Workload
moves overtime and messages in the same direction, and what is usual differs widely from person to person.
"""

import numpy as np
import pandas as pd

from hrloop.practice.company import DAY, LAYOFF_MONTHS, Company, going_rate, seconds

SILENT_SHARE = 1 / 3  # of the resignations: no sign before
RESTLESS_MONTHS, FULLY_RESTLESS_MONTHS = 8.5, 5.0  # before the exit: signs begin, and are at their full

# Monthly chance to make up one's mind, and what multiplies it. The directions are those of the turnover
# literature (Griffeth, Hom and Gaertner 2000; for leavers in the team Felps et al. 2009), the sizes made up.
RESOLVE = 0.0085
NEWCOMER = 1.5  # fewer than two years with the company
RAISED = 0.6  # a raise or a promotion in the last year
PAID_ABOVE_PEERS = 0.75  # for each standard deviation of pay among peers
LEAVER_IN_THE_TEAM = 1.3  # for each of the last two months' resignations in the team, up to three
NEW_MANAGER = 1.8  # in the last half year
PERFORMS_BETTER = 0.65  # for each standard unit
PAY_SPREAD = 0.08  # of log pay among peers

EPISODES = ("none", "busy season", "new role", "low mood")
EPISODE_BEGINS = (0.0, 0.08, 0.08, 0.10)  # monthly chance of those in none
EPISODE_ENDS = 0.18  # monthly chance: they last half a year
STEADINESS = 0.8  # of workload and mood from month to month
UPROAR_MONTHS = (1, 2)  # after a wave of layoffs: those who stay do the work of those who went
UPROAR_OVERTIME, UPROAR_MESSAGES = 1.6, 1.4
MOST_OVERTIME = 90.0  # hours that anybody is asked for in a month


def habits(company: Company, index: int, performance) -> pd.DataFrame:
    """What is usual for each of these new people, and where they begin; one row for each ``performance``."""
    rng = company.rng(index, "habits")
    count = len(performance)
    return pd.DataFrame(
        {
            "usual_overtime": 7.0 * rng.lognormal(0, 0.6, size=count),  # hours a month
            "usual_messages": 280.0 * rng.lognormal(0, 0.5, size=count),  # a month
            "usual_mood": 0.15 * np.asarray(performance) + 0.8 * rng.normal(size=count),
            "persuasion": rng.random(count),  # a measure averts where its effect is larger
            "silent": rng.random(count) < SILENT_SHARE,
            "workload": rng.normal(size=count),
            "mood": rng.normal(size=count),
            "episode": pd.Series(["none"] * count, dtype="str"),
            "acted_on": np.full(count, np.datetime64("NaT", "s")),
        }
    )


def go_through(company: Company, index: int, staff: pd.DataFrame) -> pd.DataFrame:
    """The staff with this month's workload, mood and episodes."""
    rng = company.rng(index, "seasons")
    count = len(staff)
    fresh = np.sqrt(1 - STEADINESS**2)
    begins = rng.choice(len(EPISODES), p=[1 - sum(EPISODE_BEGINS), *EPISODE_BEGINS[1:]], size=count)
    ends = rng.random(count) < EPISODE_ENDS
    idle = staff["episode"].eq("none").to_numpy()
    episode = np.where(idle, np.array(EPISODES)[begins], np.where(ends, "none", staff["episode"]))
    return staff.assign(
        workload=STEADINESS * staff["workload"] + fresh * rng.normal(size=count),
        mood=STEADINESS * staff["mood"] + fresh * rng.normal(size=count),
        episode=pd.Series(episode, index=staff.index, dtype="str"),
    )


def make_up_minds(company: Company, index: int, staff: pd.DataFrame) -> pd.DataFrame:
    """The staff after some have decided to leave, seven to twelve months from now; ``resolve`` is the chance.

    Nobody leaves so before ``drawn_until``: until then the fate drawn at the start holds.
    """
    rng = company.rng(index, "resolves")
    chance = resolve(company, index, staff)
    draw = rng.random(len(staff))
    ahead = (rng.uniform(2, 150, size=len(staff)) * 86_400).astype("m8[s]")
    silent = rng.random(len(staff)) < SILENT_SHARE
    on = (company.opening(index + 7) + ahead).astype("M8[D]").astype("M8[s]")
    goes = (draw < chance) & ~going(staff)
    goes &= (on >= seconds(staff["drawn_until"])) & (on < seconds(staff["leaves_on"]))
    return staff.assign(
        resolve=chance,
        leaves_on=np.where(goes, on, seconds(staff["leaves_on"])),
        leaving_kind=staff["leaving_kind"].mask(goes, "voluntary"),
        silent=np.where(goes, silent, staff["silent"]),
    )


def resolve(company: Company, index: int, staff: pd.DataFrame) -> np.ndarray:
    """The chance (n,) that each makes up their mind to leave in month ``index``; leaders never do."""
    month = company.opening(index)
    year, half = np.timedelta64(365 * 86_400, "s"), np.timedelta64(183 * 86_400, "s")
    # the staff still holds those who left in the month before
    left = going(staff) & (seconds(staff["leaves_on"]) < company.opening(index + 1))
    leavers = pd.Series(left * 1.0).groupby(staff["manager_id"].to_numpy()).transform("sum").fillna(0.0)
    rate = going_rate(staff["job_family"], staff["job_level"].to_numpy())
    pay = np.log(staff["monthly_salary"].to_numpy() / rate) / PAY_SPREAD
    factor = (
        np.where(month - seconds(staff["hired_on"]) < 2 * year, NEWCOMER, 1.0)
        * np.where(month - seconds(staff["raised_on"]) < year, RAISED, 1.0)
        * np.where(month - seconds(staff["manager_since"]) < half, NEW_MANAGER, 1.0)
        * PAID_ABOVE_PEERS ** pay.clip(-2, 2)
        * LEAVER_IN_THE_TEAM ** leavers.to_numpy().clip(max=3)
        * PERFORMS_BETTER ** staff["performance"].to_numpy().clip(-2, 2)
    )
    return np.where(staff["job_level"] < 5, RESOLVE * factor, 0.0)


def going(staff: pd.DataFrame) -> np.ndarray:
    """Whether each means to resign at the end of their time (n,)."""
    return staff["leaving_kind"].eq("voluntary").to_numpy()


def restlessness(company: Company, index: int, staff: pd.DataFrame) -> np.ndarray:
    """How restless each is in month ``index`` (n,): 0, and 1 in the last months before a resignation."""
    months = (seconds(staff["leaves_on"]) - company.opening(index)) / DAY / 30.4375
    grown = (RESTLESS_MONTHS - months) / (RESTLESS_MONTHS - FULLY_RESTLESS_MONTHS)
    return np.where(going(staff) & ~staff["silent"].to_numpy(dtype=bool), grown.clip(0, 1), 0.0)


def overtime(company: Company, index: int, staff: pd.DataFrame) -> np.ndarray:
    """Expected overtime of each in month ``index`` (n,), in hours."""
    busy = staff["episode"].eq("busy season").to_numpy()
    pull = 0.66 * staff["workload"].to_numpy() + 0.50 * busy
    pull += 0.45 * restlessness(company, index, staff)
    hours = staff["usual_overtime"].to_numpy() * np.exp(pull) * _uproar(index, UPROAR_OVERTIME)
    return hours.clip(max=MOST_OVERTIME)


def messages(company: Company, index: int, staff: pd.DataFrame) -> np.ndarray:
    """Expected messages of each in month ``index`` (n,)."""
    role = staff["episode"].eq("new role").to_numpy()
    pull = 0.50 * staff["workload"].to_numpy() - 0.35 * role
    pull -= 0.31 * restlessness(company, index, staff)
    return staff["usual_messages"].to_numpy() * np.exp(pull) * _uproar(index, UPROAR_MESSAGES)


def mood(company: Company, index: int, staff: pd.DataFrame) -> np.ndarray:
    """The mood of each in month ``index`` (n,), 0 on average."""
    low = staff["episode"].eq("low mood").to_numpy()
    return (
        staff["usual_mood"].to_numpy()
        + 0.5 * staff["mood"].to_numpy()
        - 1.3 * low
        - 0.9 * restlessness(company, index, staff)
    )


def _uproar(index: int, factor: float) -> float:
    return factor if any(index - wave in UPROAR_MONTHS for wave in LAYOFF_MONTHS) else 1.0
