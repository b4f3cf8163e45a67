"""The release watch on people who are decided on month after month."""

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
