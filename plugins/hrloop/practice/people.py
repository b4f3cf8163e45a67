"""Who applies, and what would become of each of them if hired: the truth behind the exports.

Performance is built so that it has to be learned rather than looked up:

- experience helps in engineering, data and finance, has a peak that depends on the level of the job in sales
  and customer support (beyond it people are overqualified), and fades slowly elsewhere;
- an unobserved talent matters in proportion to how well the skills match; the assessment score shows the
  talent through noise;
- foreign experience helps at the international sites and hurts elsewhere, and means nothing on average;
- education helps in the analytical families and slightly hurts in sales and support;
- an unobserved drive shows only in the cover letter;
- the source channel's effect turns round after month 18: referrals start better and fade, people from
  agencies start worse and grow.

Gender and education field have no effect on the truth.
"""

from functools import cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import expit, logit, ndtr, ndtri

from hrloop.practice.company import (
    DEPARTMENTS,
    INTERNATIONAL,
    LOCATIONS,
    Company,
    identifiers,
    job_title,
    later,
    leader_ids,
    pick,
    position,
    seconds,
    texts,
)
from hrloop.practice.scenarios import Shift, Turn
from hrloop.practice.taxonomy import (
    FAMILY_SKILLS,
    GENERAL_SKILLS,
    JOB_FAMILIES,
    SKILL_SYNONYMS,
    SKILLS,
    UNMAPPED_SKILLS,
)

CHANNELS = ("career_site", "job_board", "social_media", "referral", "agency")
CHANNEL_SHARES = (0.27, 0.23, 0.18, 0.16, 0.16)
EDUCATION_LEVELS = ("secondary", "vocational", "bachelor", "master", "doctorate")
EDUCATION_SHARES = (0.12, 0.24, 0.34, 0.24, 0.06)
EDUCATION_FIELDS = ("engineering", "computer_science", "business", "social_science", "humanities", "health")
FIELD_SHARES = {  # by gender: the field is the proxy through which the old bias also works
    "female": (0.08, 0.08, 0.24, 0.24, 0.20, 0.16),
    "male": (0.28, 0.24, 0.26, 0.08, 0.07, 0.07),
}
GENDERS = ("female", "male", "diverse")
GENDER_SHARES = (0.45, 0.53, 0.02)
RETURNING_SHARE = 0.08  # applications by people who were turned down before

CHANNEL_EFFECT = np.array([0.0, -0.05, 0.05, 0.45, -0.40])  # performance until month 18
CHANNEL_EFFECT_LATER = np.array([0.0, 0.0, 0.0, -0.60, 0.60])  # and after it
REVERSAL_MONTH = 18
MILESTONES = (3, 6, 12, 24)
GOOD_RATING = 3.5
RATING_BASE, RATING_SLOPE, RATING_NOISE = 3.30, 0.45, 0.30
ROUNDED_UP = 3.45  # ratings have one decimal: from here on it is written as 3.5
LEAVING_HORIZON = 480.0  # months; nobody's stay is drawn longer

FIRST_NAMES = {
    "female": ("Anna", "Maria", "Fatima", "Zofia", "Ines", "Laura", "Elif", "Mei", "Clara", "Amara"),
    "male": ("Jonas", "Pedro", "Ahmed", "Piotr", "Lukas", "Marc", "Emre", "Wei", "Felix", "Kwame"),
    "diverse": ("Alex", "Robin", "Sascha", "Kim", "Noa", "Charlie", "Deniz", "Sam", "Toni", "Jamie"),
}
LAST_NAMES = (
    "Schmidt", "Silva", "Kowalski", "Keller", "Yilmaz", "Okafor", "Nowak", "Costa", "Weber", "Rossi",
    "Novak", "Haddad", "Chen", "Martin", "Jensen", "Larsen", "Moreau", "Fischer", "Santos", "Meyer",
)  # fmt: skip

OPENINGS = (
    "I would like to apply for this position.",
    "Your advertisement caught my attention.",
    "With great interest I read about this role.",
)
PLAIN_SENTENCES = (
    "I am a reliable team player and used to working under pressure.",
    "Please find my documents attached to this application.",
    "My previous positions gave me a broad overview of the industry.",
    "I am available at short notice and willing to travel.",
    "My salary expectation is in line with the market.",
)
DRIVEN_SENTENCES = (
    "In my last job I rebuilt the weekly planning and halved the waiting time for our customers.",
    "I taught myself the tools that your team describes, and built a small project with them.",
    "I measured what we delivered every quarter, and changed what did not work.",
    "I would be glad to show you what I improved, with the figures before and after.",
)
CLOSINGS = ("Kind regards", "I look forward to hearing from you.", "Sincerely")


def requisitions(company: Company, index: int) -> tuple[pd.DataFrame, np.ndarray]:
    """The month's new requisitions, and which skills each requires as a matrix (requisitions, skills)."""
    rng = company.rng(index, "requisitions")
    count = max(2, round(company.applications_per_month / 25))
    family = pick(JOB_FAMILIES, rng.permutation(np.arange(count) % len(JOB_FAMILIES)))
    location = pick(LOCATIONS, rng.permutation(np.arange(count) % len(LOCATIONS)))
    department = family.map(DEPARTMENTS)
    level = rng.choice([1, 2, 3, 4], p=[0.25, 0.4, 0.25, 0.1], size=count)
    required = _choose(_pool(family), rng.integers(4, 6, size=count), rng)
    required |= _choose(np.tile(np.isin(SKILLS, GENERAL_SKILLS), (count, 1)), np.ones(count), rng)
    frame = pd.DataFrame(
        {
            "requisition_id": identifiers("R", company.month(index), count),
            "job_family": family,
            "title": job_title(family, level),
            "department": department,
            "location": location,
            "opened_at": later(np.full(count, company.opening(index)), rng, 0.3, 9.0),
            "closed_at": np.full(count, np.datetime64("NaT", "s")),
            "headcount": rng.choice([1, 2, 3, 4, 5], p=[0.15, 0.3, 0.3, 0.15, 0.1], size=count),
            "required_skills": _skill_lists(required, rng, unmapped=0.0),
            "hiring_manager_id": leader_ids(department, location, company, rng),
            "level": level,
        }
    )
    return frame.assign(updated_at=frame["opened_at"]), required


def applicants(
    company: Company, index: int, opened: pd.DataFrame, required: np.ndarray, known: pd.DataFrame | None
) -> pd.DataFrame:
    """The month's applications, with what the exports show and the traits they do not.

    ``opened`` and ``required`` come from :func:`requisitions`; ``known`` holds people turned down before
    (None before there are any), of whom some apply again: the same persons, with the skills they name today.
    """
    rng = company.rng(index, "applicants")
    count = company.applications_per_month + int(rng.integers(0, company.applications_per_month // 20 + 1))
    appeal = rng.gamma(4.0, size=len(opened))
    where = rng.choice(len(opened), p=appeal / appeal.sum(), size=count)
    job = opened.iloc[where].reset_index(drop=True)
    people = _persons(company, index, count, job["level"].to_numpy(), rng)
    if known is not None:
        again = min(len(known), int(RETURNING_SHARE * count))
        whom = known[list(people.columns)].iloc[rng.choice(len(known), size=again, replace=False)]
        taken = np.arange(count)
        taken[rng.choice(count, size=again, replace=False)] = count + np.arange(again)
        people = pd.concat([people, whom], ignore_index=True).iloc[taken].reset_index(drop=True)

    aptitude = people["aptitude"].to_numpy()
    asked = required[where]
    chance = np.where(asked, aptitude[:, None], 0.06 + 0.25 * _pool(job["job_family"]))
    owned = rng.random(asked.shape) < chance
    owned[np.arange(count), rng.integers(0, len(SKILLS), size=count)] = True  # nobody names no skill
    match = (owned & asked).sum(axis=1) / asked.sum(axis=1)

    opens = seconds(job["opened_at"])
    closes = company.opening(index + 1) - np.timedelta64(3_600, "s")
    applied = opens + (rng.beta(1.2, 1.8, size=count) * (closes - opens).astype(np.int64)).astype("m8[s]")
    assessment = 0.82 * people["talent"].to_numpy() + 0.57 * rng.normal(size=count)
    score = np.clip(np.round(62 + 13 * assessment), 0, 100)
    channel = rng.choice(len(CHANNELS), p=CHANNEL_SHARES, size=count)
    score[rng.random(count) < np.where(channel == CHANNELS.index("agency"), 0.2, 0.08)] = np.nan
    return pd.DataFrame(
        {
            "application_id": identifiers("A", company.month(index), count),
            "candidate_id": people["candidate_id"],
            "requisition_id": job["requisition_id"],
            "applied_at": applied,
            "source_channel": pick(CHANNELS, channel),
            "years_experience": people["years_experience"],
            "education_level": people["education_level"],
            "education_field": people["education_field"],
            "skills": _skill_lists(owned, rng, unmapped=0.02),
            "foreign_experience": people["foreign_experience"],
            "assessment_score": score,
            "cover_letter": _letters(people["drive"].to_numpy(dtype=float), rng),
            "name": people["name"],
            "email": people["email"],
            "gender": people["gender"],
            "birth_year": people["birth_year"],
            "updated_at": applied + np.timedelta64(300, "s"),
            "job_family": job["job_family"],
            "department": job["department"],
            "location": job["location"],
            "level": job["level"],
            "headcount": job["headcount"],
            "match": match,
            "assessment": np.where(np.isnan(score), np.nan, assessment),
            "aptitude": aptitude,
            "talent": people["talent"],
            "drive": people["drive"],
        }
    )


def fates(company: Company, index: int, applications: pd.DataFrame) -> pd.DataFrame:
    """What would become of every applicant if hired, row by row with ``applications``.

    ``would_be_good_at_<m>``: no voluntary or involuntary exit before month m, and a rating of at least 3.5
    in the review of month m. ``probability_good_at_<m>`` is the probability of just that, given all traits,
    before chance is drawn. A Turn changes the performance that all follows from; a Shift lowers the
    probability through ratings alone, people stay as long as they would have. ``months_until_leaving`` and
    ``leaving_kind`` also know the end of a fixed-term contract, at which the outcome can no longer be
    observed; layoffs come on top.
    """
    rng = company.rng(index, "fates")
    count = len(applications)
    happens = company.scenario if company.scenario and index >= company.scenario.month else None
    lasting = _performance(applications, happens if isinstance(happens, Turn) else Turn(index))
    channel = position(CHANNELS, applications["source_channel"])
    early, late = lasting + CHANNEL_EFFECT[channel], lasting + CHANNEL_EFFECT_LATER[channel]

    leaves_early = _hazards(early)
    leaves_late = _hazards(late)
    stay = _months_until(rng.exponential(size=count), leaves_early.sum(axis=1), leaves_late.sum(axis=1))
    in_force = np.where((stay < REVERSAL_MONTH)[:, None], leaves_early, leaves_late)
    voluntary = rng.random(count) < in_force[:, 0] / in_force.sum(axis=1)
    contract = rng.choice([9.0, 18.0, np.inf], p=[0.03, 0.04, 0.93], size=count)
    noise = rng.normal(size=(count, len(MILESTONES))) * RATING_NOISE

    fate = {
        "months_until_leaving": np.minimum(stay, contract),
        "leaving_kind": np.select(
            [contract <= stay, voluntary], ["end_of_contract", "voluntary"], "involuntary"
        ),
        "fixed_term": np.isfinite(contract),
        "performance": lasting,
    }
    for column, months in enumerate(MILESTONES):
        performance = early if months <= REVERSAL_MONTH else late
        expected = RATING_BASE + RATING_SLOPE * performance
        survival = np.exp(-_hazard_until(months, leaves_early.sum(axis=1), leaves_late.sum(axis=1)))
        probability = survival * ndtr((expected - ROUNDED_UP) / RATING_NOISE)
        if isinstance(happens, Shift):
            probability = expit(logit(probability) - happens.log_odds)
            expected = ROUNDED_UP + RATING_NOISE * ndtri(probability / survival)
        rating = np.clip(np.round(expected + noise[:, column], 1), 1, 5)
        fate[f"rating_{months}"] = rating
        fate[f"would_be_good_at_{months}"] = (stay >= months) & (rating >= GOOD_RATING)
        fate[f"probability_good_at_{months}"] = probability
    return pd.DataFrame(fate)


def _performance(a: pd.DataFrame, counts: Turn) -> np.ndarray:
    """Expected performance (n,) without the channel's part, in standard units of the applicants.

    ``counts``: how many times as much each part counts.
    """
    years = a["years_experience"].to_numpy(dtype=float)
    level = a["level"].to_numpy(dtype=float)
    education = position(EDUCATION_LEVELS, a["education_level"]) - 2.0
    analytical = a["job_family"].isin(["engineering", "data", "finance"]).to_numpy()
    customer = a["job_family"].isin(["sales", "customer support"]).to_numpy()
    abroad = a["location"].isin(INTERNATIONAL).to_numpy()
    foreign = a["foreign_experience"].to_numpy(dtype=bool)
    match = a["match"].to_numpy()

    growing = 1.5 * np.tanh(years / 8) - 0.95
    peaked = 0.55 - 0.22 * np.abs(years - (2 + 1.5 * level)).clip(max=8)
    fading = 0.15 - 0.03 * years
    experience = np.select([analytical, customer], [growing, peaked], fading)
    schooling = np.select([analytical, customer], [0.16 * education, -0.08 * education], 0.0)
    return (
        0.08
        + counts.experience * 0.95 * experience
        + counts.schooling * schooling
        + counts.foreign * np.where(foreign, np.where(abroad, 0.55, -0.45), 0.0)
        + counts.match * 1.1 * (match - 0.55)
        + counts.talent * a["talent"].to_numpy(dtype=float) * (0.15 + 0.9 * match)
        + counts.drive * 0.30 * a["drive"].to_numpy(dtype=float)
    )


def _hazards(performance: np.ndarray) -> np.ndarray:
    """Monthly hazards of leaving (n, 2): voluntary, involuntary. The worse the fit, the higher both."""
    fit = performance.clip(-3, 3)
    return np.column_stack([0.010 * np.exp(-0.7 * fit), 0.005 * np.exp(-1.1 * fit)]).clip(max=0.2)


def _hazard_until(months, early: np.ndarray, late: np.ndarray) -> np.ndarray:
    """Cumulative hazard at ``months``; the first three months weigh 1.3-fold (probation)."""
    probation = 1.3 * early * np.minimum(months, 3)
    middle = early * np.clip(months - 3, 0, REVERSAL_MONTH - 3)
    return probation + middle + late * np.maximum(months - REVERSAL_MONTH, 0)


def _months_until(drawn: np.ndarray, early: np.ndarray, late: np.ndarray) -> np.ndarray:
    """The month at which the cumulative hazard reaches the drawn standard exponential (n,)."""
    probation = _hazard_until(3, early, late)
    turn = _hazard_until(REVERSAL_MONTH, early, late)
    months = np.select(
        [drawn < probation, drawn < turn],
        [drawn / (1.3 * early), 3 + (drawn - probation) / early],
        REVERSAL_MONTH + (drawn - turn) / late,
    )
    return np.minimum(months, LEAVING_HORIZON)


def _persons(company: Company, index: int, count: int, level: np.ndarray, rng) -> pd.DataFrame:
    """New people (count rows): who they are, seen and unseen."""
    gender = rng.choice(len(GENDERS), p=GENDER_SHARES, size=count)
    female = gender == 0
    fields = np.where(
        female,
        rng.choice(len(EDUCATION_FIELDS), p=FIELD_SHARES["female"], size=count),
        rng.choice(len(EDUCATION_FIELDS), p=FIELD_SHARES["male"], size=count),
    )
    years = np.round(rng.gamma(1.7, 1.0 + 1.3 * level).clip(0, 40) * 2) / 2
    school = rng.choice(len(EDUCATION_LEVELS), p=EDUCATION_SHARES, size=count)
    age = 18 + school * 1.7 + years + rng.exponential(3.0, size=count)
    candidate = identifiers("C", company.month(index), count)
    name, email = names(candidate, gender, rng)
    return pd.DataFrame(
        {
            "candidate_id": candidate,
            "years_experience": years,
            "education_level": pick(EDUCATION_LEVELS, school),
            "education_field": pick(EDUCATION_FIELDS, fields),
            "foreign_experience": rng.random(count) < 0.35,
            "name": name,
            "email": email,
            "gender": pick(GENDERS, gender),
            "birth_year": int(str(company.month(index))[:4]) - age.clip(max=64).astype(np.int64),
            "aptitude": rng.beta(3.0, 2.4, size=count),
            "talent": rng.normal(size=count),
            "drive": rng.normal(size=count),
        }
    )


def names(number: pd.Series, gender: np.ndarray, rng) -> tuple[pd.Series, pd.Series]:
    """Pseudo-names and addresses under example.com, which can never be delivered to anyone."""
    width = len(LAST_NAMES)
    given = [name for kind in GENDERS for name in FIRST_NAMES[kind]]
    first = pick(given, gender * 10 + rng.integers(0, 10, size=len(gender)))
    last = pick(LAST_NAMES, rng.integers(0, width, size=len(gender)))
    return first + " " + last, first.str.lower() + "." + last.str.lower() + "." + number + "@example.com"


def _pool(family: pd.Series) -> np.ndarray:
    """Which skills belong to each row's job family (n, skills)."""
    pools = np.array([np.isin(SKILLS, FAMILY_SKILLS[name]) for name in JOB_FAMILIES])
    return pools[position(JOB_FAMILIES, family)]


def _choose(pool: np.ndarray, how_many: np.ndarray, rng) -> np.ndarray:
    """Choose ``how_many`` skills at random from each row's pool (n, skills)."""
    order = np.where(pool, rng.random(pool.shape), 2.0).argsort(axis=1).argsort(axis=1)
    return pool & (order < np.asarray(how_many)[:, None])


def _skill_lists(owned: np.ndarray, rng, unmapped: float) -> pd.Series:
    """Each row's skills joined by ``|``, in the spellings people use.

    ``unmapped`` is the share of rows in which one skill stands in a way that no taxonomy knows.
    """
    _, columns = np.nonzero(owned)
    offsets = np.concatenate([[0], np.cumsum(owned.sum(axis=1))])
    words = respell(pick(SKILLS, columns), SKILLS, SKILL_SYNONYMS, rng, share=0.25)
    odd = np.flatnonzero(rng.random(len(owned)) < unmapped)
    if len(odd):
        words.iloc[offsets[odd]] = pick(UNMAPPED_SKILLS, rng.integers(0, len(UNMAPPED_SKILLS), len(odd)))
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(words, pa.string()))
    return texts(pc.binary_join(lists, "|"))


def respell(values: pd.Series, canonical, synonyms: dict[str, str], rng, share: float) -> pd.Series:
    """Write a share of canonical names as one of their synonyms, or in capitals."""
    forms, starts = _spellings(tuple(canonical), tuple(synonyms.items()))
    codes = position(canonical, values)
    lengths = np.diff(starts)[codes]
    other = starts[codes] + (rng.random(len(values)) * lengths).astype(np.int64)
    chosen = np.where(rng.random(len(values)) < share, other, starts[codes])
    return pick(forms, chosen)


@cache
def _spellings(canonical: tuple, synonyms: tuple) -> tuple[list[str], np.ndarray]:
    """All written forms, each canonical name's together and the plain one first, and where each starts."""
    groups = [[synonym for synonym, name in synonyms if name == wanted] for wanted in canonical]
    forms = [
        [form for synonym in group for form in (synonym, synonym.title(), synonym.upper())]
        for group in groups
    ]
    return [form for group in forms for form in group], np.cumsum([0, *map(len, forms)])


def _letters(drive: np.ndarray, rng) -> pd.Series:
    """Cover letters: plain sentences by chance, driven ones by drive; 12 % write none (missing)."""
    count = len(drive)
    driven = np.round(1.3 + 0.9 * drive + 0.4 * rng.normal(size=count)).clip(0, len(DRIVEN_SENTENCES))
    plain = rng.integers(1, 4, size=count)
    slots = [pick(OPENINGS, rng.integers(0, len(OPENINGS), size=count))]
    turn = rng.integers(0, 100, size=count)
    for sentences, wanted in ((DRIVEN_SENTENCES, driven), (PLAIN_SENTENCES, plain)):
        options = ["", *(f" {sentence}" for sentence in sentences)]
        for slot in range(len(DRIVEN_SENTENCES)):
            slots.append(pick(options, np.where(slot < wanted, 1 + (turn + slot) % len(sentences), 0)))
    slots.append(" " + pick(CLOSINGS, rng.integers(0, len(CLOSINGS), size=count)))
    letters = texts(pc.binary_join_element_wise(*(pa.array(slot, pa.string()) for slot in slots), ""))
    return letters.mask(rng.random(count) < 0.12)
