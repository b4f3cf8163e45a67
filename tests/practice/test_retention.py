"""Who leaves the practice company, what shows of it before, and what measures change about it."""

import shutil
from datetime import date

import numpy as np
import pandas as pd
import pytest
import xgboost
from hrloop.practice import answer, history, retention, review_warnings, truth, unrest, workforce
from hrloop.practice.company import LAYOFF_MONTHS, NEVER, Company, going_rate, seconds
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

SMALL = {"applications_per_month": 400, "seed": 3}
MONTHS = 26
SIGNS = ["overtime", "messages", "mood"]


@pytest.fixture(scope="module")
def panel():
    """6,000 people through 26 months, nobody hired: a row for each month that somebody worked through."""
    company = Company(seed=11, start=date(2023, 10, 1), applications_per_month=4500)
    staff = workforce.founding(company)
    months = []
    for index in range(MONTHS):
        staff = workforce.lay_off(company, index, staff)
        staff, _ = workforce.change(company, index, staff)
        staff = unrest.make_up_minds(company, index, unrest.go_through(company, index, staff))
        staff, _, done = retention.act(company, index, staff, None)
        survey = workforce.surveys(company, index, staff).set_index("employee_id")
        work = workforce.work_months(company, index, staff).join(
            survey[["engagement", "enps", "manager_score"]], on="employee_id"
        )
        hidden = workforce.through(company, index, staff)
        months.append(
            work.assign(
                index=index,
                opening=company.opening(index + 1),
                due=company.opening(index + 7),
                leaves_on=seconds(hidden["leaves_on"]),
                kind=hidden["leaving_kind"],
                silent=hidden["silent"],
                episode=hidden["episode"],
                treated=work["employee_id"].isin(done["employee_id"]),
            )
        )
        staff = staff.loc[seconds(staff["leaves_on"]) >= company.opening(index)].reset_index(drop=True)
    frame = pd.concat(months, ignore_index=True)
    resigns = (frame["leaves_on"] < frame["due"]) & (frame["kind"] == "voluntary")
    other_end = (frame["leaves_on"] < frame["due"]) & (frame["kind"] != "voluntary")
    return indicators(frame.assign(resigns=resigns))[~other_end]


def indicators(panel):
    """What an HR analyst would build: the last three months, and how far they are from the person's past."""
    key = pd.MultiIndex.from_frame(panel[["index", "employee_id"]])

    def wide(column):
        return panel.pivot(index="index", columns="employee_id", values=column)

    def put(name, frame):
        panel[name] = frame.stack(future_stack=True).reindex(key).to_numpy()

    for name, column in (("overtime", "overtime_hours"), ("messages", "messages_sent")):
        months = wide(column)
        recent, past = months.rolling(3).mean(), months.shift(3).rolling(9, min_periods=4)
        put(f"{name}_level", recent)
        put(f"{name}_change", (recent - past.mean()) / past.std())
    for name, column in (("mood", "enps"), ("engagement", "engagement"), ("manager", "manager_score")):
        answers = wide(column)
        past = answers.expanding().mean().shift(1)
        put(f"{name}_level", answers.ffill())
        put(f"{name}_change", (answers - past).ffill())
    return panel


def single_indicators(panel):
    made = [f"{name}_{kind}" for name in (*SIGNS, "engagement", "manager") for kind in ("level", "change")]
    return [*made, "overtime_hours", "messages_sent", "absence_hours", "sick_hours", "internal_applications"]


def signs(panel):
    """Which of the three signs each row shows, by the measure of the person's own past."""
    return pd.DataFrame(
        {
            "overtime": panel["overtime_change"] > 1.0,
            "messages": panel["messages_change"] < -1.0,
            "mood": panel["mood_change"] < -1.0,
        }
    )


def test_each_indicator_alone_tells_little_and_together_they_tell_much(panel):
    seen = panel[panel["index"] >= 12]
    learnt = seen["employee_id"].str[-1].isin(list("01234"))  # other people than those that are judged
    names = single_indicators(panel)
    for name in names:
        there = seen[name].notna()
        alone = roc_auc_score(seen.loc[there, "resigns"], seen.loc[there, name])
        assert max(alone, 1 - alone) <= 0.62, name
    model = xgboost.XGBClassifier(
        n_estimators=150, max_depth=4, learning_rate=0.05, min_child_weight=5, n_jobs=1
    )
    model.fit(seen.loc[learnt, names], seen.loc[learnt, "resigns"])
    judged = seen[~learnt]
    risk = model.predict_proba(judged[names])[:, 1]
    assert 0.75 <= roc_auc_score(judged["resigns"], risk) <= 0.88

    # early: of those who leave in four to six months' time a fifth and more are in the riskiest twentieth
    early = judged["resigns"] & ((judged["leaves_on"] - judged["opening"]).dt.days > 4 * 30.4)
    assert early.sum() > 300
    assert (risk[early.to_numpy()] > np.quantile(risk, 0.95)).mean() > 0.2


def test_signs_by_themselves_are_common_among_those_who_stay_and_all_together_are_not(panel):
    seen = panel[panel["index"] >= 12]
    shown = signs(seen)
    stays = ~seen["resigns"]
    base = seen["resigns"].mean()
    number = shown.sum(axis=1)
    for name in SIGNS:
        alone = shown[name] & (number == 1)
        assert alone[stays].mean() > 0.08
        assert seen.loc[alone, "resigns"].mean() < 1.5 * base
    assert (number == 3)[stays].mean() < 0.02
    assert seen.loc[number == 3, "resigns"].mean() > 5 * base


def test_a_third_of_the_resignations_come_without_a_sign(panel):
    last = panel[panel["resigns"] & (panel["index"] >= 12)]
    last = last[(last["leaves_on"] - last["opening"]).dt.days < 62]
    people = last.drop_duplicates("employee_id")["silent"]
    assert binomtest(int(people.sum()), len(people), unrest.SILENT_SHARE).pvalue > 0.001
    seen = panel[(~panel["resigns"] & (panel["index"] >= 12)) | panel.index.isin(last.index)]
    for name, direction in (("overtime_change", 1), ("messages_change", -1), ("mood_change", -1)):
        known = seen[seen[name].notna()]
        mute, loud = (known[~known["resigns"] | (known["silent"] == kind)] for kind in (True, False))
        assert abs(roc_auc_score(mute["resigns"], mute[name]) - 0.5) < 0.06
        assert roc_auc_score(loud["resigns"], direction * loud[name]) > 0.57


def test_one_in_ten_resigns_in_a_year(panel):
    months = panel.groupby("index").size()
    gone = panel[panel["kind"] == "voluntary"].drop_duplicates("employee_id", keep="last")
    gone = gone[gone["leaves_on"] < panel["opening"].max()]
    assert 0.08 < 12 * len(gone) / months.sum() < 0.15
    by_month = gone.groupby(gone["leaves_on"].dt.to_period("M")).size()
    assert by_month.min() > 0.3 * by_month.median()  # from the first month on


@pytest.mark.parametrize(
    ("changed", "factor"),
    [
        ({"hired_on": "2024-06-15"}, unrest.NEWCOMER),
        ({"raised_on": "2024-06-01"}, unrest.RAISED),
        ({"manager_since": "2025-02-01"}, unrest.NEW_MANAGER),
        ({"performance": 1.0}, unrest.PERFORMS_BETTER),
        ({"monthly_salary": np.exp(unrest.PAY_SPREAD)}, unrest.PAID_ABOVE_PEERS),
        ({"job_level": 5}, 0.0),
    ],
)
def test_what_moves_people_to_go(changed, factor):
    company = Company(seed=1, start=date(2023, 10, 1), applications_per_month=50)
    rate = going_rate(pd.Series(["data"]), np.array([2]))[0]
    usual = {
        "hired_on": "2015-01-01", "raised_on": "2015-01-01", "manager_since": "2015-01-01",
        "manager_id": "E0000-0000001", "job_family": "data", "job_level": 2, "monthly_salary": 1.0,
        "performance": 0.0, "leaving_kind": "none", "leaves_on": NEVER,
    }  # fmt: skip
    staff = pd.DataFrame([usual, usual | changed])
    staff["monthly_salary"] *= rate
    staff.loc[staff["job_level"] == 5, "monthly_salary"] = going_rate(pd.Series(["data"]), np.array([5]))[0]
    for name in ("hired_on", "raised_on", "manager_since"):
        staff[name] = seconds(staff[name])
    before, after = unrest.resolve(company, 18, staff)
    assert before == pytest.approx(unrest.RESOLVE)
    assert after == pytest.approx(unrest.RESOLVE * factor)

    # whoever resigns draws others of the team along, and nobody of another team
    leaver = usual | {"leaving_kind": "voluntary", "leaves_on": company.opening(18)}
    team = pd.DataFrame([usual, leaver, usual | {"manager_id": "E0000-0000002"}])
    team["monthly_salary"] *= rate
    for name in ("hired_on", "raised_on", "manager_since", "leaves_on"):
        team[name] = seconds(team[name])
    same, _, other = unrest.resolve(company, 18, team)
    assert same == pytest.approx(unrest.RESOLVE * unrest.LEAVER_IN_THE_TEAM)
    assert other == pytest.approx(unrest.RESOLVE)


def test_who_resigns_within_half_a_year_is_settled_but_for_measures_and_layoffs(panel):
    for index in (3, 10, 17):
        now = panel[panel["index"] == index].set_index("employee_id")
        then = panel[panel["index"] == index + 6].set_index("employee_id")
        touched = panel[panel["index"].between(index + 1, index + 6) & panel["treated"]]["employee_id"]
        resigns = now[now["resigns"] & ~now.index.isin(touched)]
        assert len(resigns) > 100
        assert not resigns.index.isin(then.index).any()
        # nobody else went of their own will: who is gone was laid off, retired, was let go or was away
        last = panel[panel["index"] <= index + 6].groupby("employee_id").last()
        gone = last[(last["leaves_on"] < now["due"].iloc[0]) & (last["kind"] == "voluntary")]
        gone = gone[gone.index.isin(now.index)]
        assert gone.index.isin(now.index[now["resigns"]]).all()


def test_a_wave_of_layoffs_takes_one_in_twenty_and_leaves_the_others_in_uproar(panel):
    """A layoff is no resignation; overtime and messages are others for two months, and then it is over."""
    (wave, *_) = LAYOFF_MONTHS
    before, after = (set(panel.loc[panel["index"] == i, "employee_id"]) for i in (wave - 1, wave))
    # leaders are spared; a few more go in any month
    assert 0.04 < len(before - after) / len(before) < 0.075
    stayed = panel[panel["employee_id"].isin(after)]
    overtime, messages = (
        stayed.groupby("index")[name].mean() for name in ("overtime_hours", "messages_sent")
    )
    for month in unrest.UPROAR_MONTHS:
        assert overtime[wave + month] > 1.3 * overtime[wave]
        assert messages[wave + month] > 1.3 * messages[wave]
    calm = wave + max(unrest.UPROAR_MONTHS) + 1
    assert overtime[calm] == pytest.approx(overtime[wave], rel=0.06)
    assert messages[calm] == pytest.approx(messages[wave], rel=0.06)


@pytest.fixture(scope="module")
def crowd():
    """20,000 people of whom half will resign in three months, and an alert for every other person."""
    company = Company(seed=5, start=date(2023, 10, 1), applications_per_month=15_000)
    staff = workforce.founding(company)
    staff = unrest.make_up_minds(company, 0, staff)
    rng = np.random.default_rng(0)
    goes = rng.random(len(staff)) < 0.5
    staff = staff.assign(
        leaves_on=np.where(goes, np.datetime64("2024-01-15", "s"), NEVER),
        leaving_kind=np.where(goes, "voluntary", "none"),
    )
    action = np.where(rng.random(len(staff)) < 0.5, "alert", "none")
    return company, staff, pd.DataFrame({"employee_id": staff["employee_id"], "action": action})


def test_measures_avert_the_declared_share_of_resignations(crowd):
    company, staff, alerts = crowd
    after, rows, done = retention.act(company, 1, staff, alerts)
    would = done[done["would_have_left_as"] == "voluntary"]
    prompted = would[would["alerted"]]
    for kind, effect in retention.EFFECTS.items():
        some = prompted.loc[prompted["kind"] == kind, "averted"]
        assert len(some) > 150
        assert binomtest(int(some.sum()), len(some), effect).pvalue > 0.001, kind
    assert not done.loc[done["would_have_left_as"] == "none", "averted"].any()

    now = after.set_index("employee_id")
    stay = now.loc[done.loc[done["averted"], "employee_id"]]
    assert (seconds(stay["leaves_on"]) >= np.datetime64("2025-01-15", "s")).all()
    changed = seconds(after["leaves_on"]) != seconds(staff["leaves_on"])
    assert set(after.loc[changed, "employee_id"]) == set(done.loc[done["averted"], "employee_id"])
    assert (now.loc[stay.index, "leaving_kind"] == "voluntary").all()
    assert set(rows["employee_id"]) == set(done["employee_id"])

    raised = done.loc[done["kind"] == "raise", "employee_id"]
    pay = now["monthly_salary"] / staff.set_index("employee_id")["monthly_salary"]
    assert pay[raised].to_numpy() == pytest.approx(retention.RAISE, abs=0.003)
    assert (pay[~pay.index.isin(raised)] == 1).all()


def test_partners_act_on_seven_alerts_in_ten_and_on_nobody_held_out(crowd):
    company, staff, alerts = crowd
    _, _, done = retention.act(company, 1, staff, alerts)
    acted = set(done.loc[done["alerted"], "employee_id"])
    alerted = alerts.loc[alerts["action"] == "alert", "employee_id"]
    assert acted <= set(alerted)
    assert binomtest(len(acted), len(alerted), retention.ACTED_ON).pvalue > 0.001
    # what managers do by themselves they do for the held out as for anybody, and as without alerts
    _, _, alone = retention.act(company, 1, staff, None)
    held_out = alerts.loc[alerts["action"] == "none", "employee_id"]
    assert set(alone["employee_id"]) - acted == set(done["employee_id"]) - acted
    assert 0.001 < alone["employee_id"].isin(held_out).sum() / len(held_out) < 0.01


def test_nobody_is_approached_again_at_once_nor_persuaded_by_more_of_the_same(crowd):
    company, staff, alerts = crowd
    once, _, first = retention.act(company, 1, staff, alerts)
    again, _, second = retention.act(company, 2, once, alerts)
    assert not second.loc[second["alerted"], "employee_id"].isin(first["employee_id"]).any()
    rested = again.assign(acted_on=np.datetime64("NaT", "s"))
    _, _, third = retention.act(company, 3, rested, alerts)
    both = first.merge(third, on=["employee_id", "kind"], suffixes=("", "_again"))
    both = both[(both["would_have_left_as"] == "voluntary") & ~both["averted"]]
    assert len(both) > 100
    assert not both["averted_again"].any()


def test_managers_act_sooner_for_the_unhappy(crowd):
    """Confounding by indication: who was helped was worse off to begin with."""
    company, staff, _ = crowd
    low = staff.assign(
        episode=np.where(np.arange(len(staff)) % 2 == 0, "low mood", "none"),
        leaving_kind="none",
        leaves_on=NEVER,
    )
    done = pd.concat([retention.act(company, index, low, None)[2] for index in range(1, 6)])
    helped = staff.index[staff["employee_id"].isin(done["employee_id"])] % 2 == 0
    assert helped.mean() == pytest.approx(retention.UNHAPPY / (1 + retention.UNHAPPY), abs=0.06)


@pytest.fixture(scope="module")
def past(tmp_path_factory):
    """Two months of a small company."""
    folder = tmp_path_factory.mktemp("past")
    history(folder, months=2, **SMALL)
    return folder


@pytest.fixture
def lived(past, tmp_path):
    shutil.copytree(past, tmp_path / "company")
    return tmp_path / "company"


def warned(folder, month="2023-11"):
    """An alert for each who would resign within half a year, as an oracle would give it."""
    staff = truth(folder, "employees")
    staff = staff[staff["month"] == month]
    goes = (staff["leaving_kind"] == "voluntary") & (staff["leaves_on"] < pd.Timestamp("2024-06-01"))
    return staff[["employee_id", "month"]].assign(action=np.where(goes, "alert", "none"))


def landed(folder):
    return {file: file.read_bytes() for file in sorted((folder / "landing").rglob("*.*"))}


def test_alerts_are_answered_once_and_the_same_again_changes_nothing(lived):
    alerts = warned(lived)
    assert answer(lived, "2023-11", alerts=alerts).alerts == len(alerts)
    before = landed(lived)
    of_other_months = pd.concat([alerts.assign(month="2023-10"), alerts.assign(month="2023-12"), alerts])
    assert answer(lived, "2023-11", alerts=alerts.sample(frac=1, random_state=0)).files == 0
    assert answer(lived, "2023-11", alerts=of_other_months).files == 0
    assert landed(lived) == before
    with pytest.raises(ValueError, match="answered already, with other alerts"):
        answer(lived, "2023-11", alerts=alerts.assign(action="none"))
    with pytest.raises(ValueError, match="answered already, with other alerts"):
        answer(lived, "2023-11")


def test_alerts_prompt_measures_that_the_exports_and_the_truth_tell(lived):
    alerts = warned(lived)
    answer(lived, "2023-11", alerts=alerts)
    done = truth(lived, "interventions")
    done = done[done["started_on"] >= "2023-12-01"]
    prompted = done.loc[done["alerted"], "employee_id"]
    assert len(prompted) > 5
    assert prompted.isin(alerts.loc[alerts["action"] == "alert", "employee_id"]).all()
    file = lived / "landing/hris/interventions/2024-01-01.csv.gz"
    assert set(pd.read_csv(file)["employee_id"]) <= set(done["employee_id"])
    assert done["averted"].sum() > 0
    later = truth(lived, "employees")
    later = later[later["month"] == "2023-12"].set_index("employee_id")["leaves_on"]
    averted = done.loc[done["averted"], "employee_id"]
    assert (later[averted] > pd.Timestamp("2024-12-01")).all()


def test_alerts_without_an_alert_leave_all_as_it_would_have_been(lived, past, tmp_path):
    shutil.copytree(past, tmp_path / "alone")
    answer(lived, "2023-11", alerts=warned(lived).assign(action="none"))
    answer(tmp_path / "alone", "2023-11")
    assert list(landed(lived).values()) == list(landed(tmp_path / "alone").values())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a: a.drop(columns="action"), r"lack the columns \['action'\]"),
        (lambda a: a.assign(action="talk"), "is 'talk'; write 'alert' or 'none'"),
        (lambda a: a.assign(month="May"), "is 'May'; write year and month"),
        (lambda a: pd.concat([a, a]), "stands there twice"),
        (
            lambda a: a.assign(employee_id="E9999-0000001").iloc[:1],
            "no E9999-0000001 was employed through it",
        ),
    ],
)
def test_alerts_that_are_not_understood_are_refused(lived, change, says):
    before = landed(lived)
    with pytest.raises(ValueError, match=says):
        answer(lived, "2023-11", alerts=change(warned(lived)))
    assert landed(lived) == before


def test_partners_review_alike_whenever_asked_and_say_temporary_where_overtime_alone_is_up():
    rng = np.random.default_rng(2)
    shown = pd.DataFrame(rng.random((6000, 3)) < 0.4, columns=["overtime_up", "messages_down", "survey_down"])
    waiting = shown.assign(decision_id=[f"{i:032x}" for i in range(len(shown))])
    said = review_warnings(waiting)
    again = review_warnings(waiting.sample(frac=1, random_state=3)).sort_values("decision_id")
    pd.testing.assert_frame_equal(said, again.reset_index(drop=True))
    overruled = said["verdict"] == "overrule"
    assert overruled.mean() == pytest.approx(0.20, abs=0.03)
    assert (said.loc[~overruled, ["reason_code", "words"]] == "").all(axis=None)
    alone = shown["overtime_up"] & ~shown["messages_down"] & ~shown["survey_down"]
    told = said["reason_code"] == "workload_temporary"
    assert told[overruled & alone].mean() == pytest.approx(0.65, abs=0.09)
    assert told[overruled & ~alone].mean() == pytest.approx(0.08, abs=0.04)
    # a sign that is not known is not there
    unknown = waiting.astype({"messages_down": object, "survey_down": object})
    unknown.loc[alone, ["messages_down", "survey_down"]] = None
    pd.testing.assert_frame_equal(said, review_warnings(unknown))
