"""The release watch on people who are decided on month after month."""

from datetime import timedelta

import small_company as company
from hrloop import usecase
from hrloop.release import Release
from hrloop.rhythms import Loop, watch


def test_who_is_adversely_selected_is_told_by_person(warehouse):
    """A version that warns of men alone, where the one before warned of both."""
    rows = company.random_staff(seed=5, employees=90)
    for row in rows.tables["hris.employees"]:
        row["gender"] = ["man", "woman"][int(row["employee_id"][1:]) % 2]
    for number, decision in enumerate(rows.decisions):
        man = int(decision["case_key"].split(":")[0].removeprefix("k-E")) % 2 == 0
        decision["model_version"] = 1 + number % 2
        decision["recommended_action"] = "alert" if man or decision["model_version"] == 1 else "none"
    company.insert(warehouse, rows)
    company.build(warehouse, company.END, ["+stg_hris__employees"])
    loop = Loop(warehouse.settings, warehouse)
    attrition = usecase.load("attrition", warehouse.settings.project)
    released = Release("r", "attrition", company.START, "promotion", 2, 1, "promote")

    decided = watch._decided(loop, released, company.END)
    after = decided[decided["after"]]
    assert after["subject_key"].nunique() < len(after) / 2

    def found(rows):
        return watch._adverse(loop, attrition, rows, 0.05, company.END)

    assert found(decided) == ("gender woman",)
    assert found(decided.assign(action="alert")) == ()
    assert found(after) is None


def test_a_release_is_watched_from_its_first_round_on(warehouse):
    """Where people are decided on once a month, the first round comes weeks after the release."""
    rows = company.random_staff(seed=5, employees=20)
    taken = sorted(decision["as_of"] for decision in rows.decisions)
    rounds = [next(one for one in taken if one.month == month) for month in (2, 3, 4)]
    for decision in rows.decisions:
        version = 2 if decision["as_of"] >= rounds[2] else 1
        decision |= {"model_version": version, "arm": "champion"}
    # before its release, and after it in an experiment, it decided as a challenger
    for number, as_of in ((0, rounds[0]), (1, rounds[1] + timedelta(days=1))):
        rows.decisions[number] |= {"model_version": 2, "arm": "challenger", "as_of": as_of}
    company.insert(warehouse, rows)
    loop = Loop(warehouse.settings, warehouse)
    attrition = usecase.load("attrition", warehouse.settings.project)
    days = timedelta(days=attrition.watch.days.value)
    ledger = [
        Release("a", "attrition", rounds[0] - days, "first", 1, None, "promote"),
        Release("b", "attrition", rounds[1] + timedelta(hours=2), "promote", 2, 1, "promote"),
    ]

    def watched(as_of):
        return watch._watched(loop, ledger, attrition, as_of)

    assert watched(rounds[1]) is None, "it was not released yet"
    assert rounds[2] - rounds[1] >= days
    for as_of in (ledger[1].as_of, rounds[2], rounds[2] + days - timedelta(hours=1)):
        assert watched(as_of) == ledger[1]
    assert watched(rounds[2] + days) is None
    assert watch._watched(loop, ledger[:1], attrition, rounds[0]) is None, "there is none to go back to"
    third = Release("c", "attrition", rounds[2] + timedelta(days=1), "promote", 3, 2, "promote")
    back = Release("d", "attrition", rounds[2] + timedelta(days=2), "roll_back", 2, 3, "roll_back")
    assert watch._watched(loop, [*ledger, third, back], attrition, back.as_of) == ledger[1], "it is back"

    decided = watch._decided(loop, ledger[1], company.END)
    of_it = [one for one in rows.decisions if one["model_version"] == 2 and one["arm"] == "champion"]
    assert decided["after"].sum() == len(of_it) > 0
    assert len(decided) == len(rows.decisions) - 2
