"""Data that nobody here wrote, adopted as a user would: proposed, questions answered, checked."""

from docs.figures import real_data


def test_a_single_survey_is_no_company_yet(run, check, tmp_path):
    """What docs/real-data.md says of ``job_retention`` as a company's exports."""
    real_data.export(tmp_path / "landing")
    declaration = tmp_path / "sources.yaml"
    proposed = run("adopt", "propose", tmp_path / "landing", "--to", declaration)
    assert proposed.exit_code == 0
    asked = declaration.read_text()
    assert asked.count("QUESTION 1") == 1
    lines = [
        "    history_until: 2025-01-15T00:00:00Z" if "history_until" in line
        else line.replace("# absent", "absent").split("  # QUESTION")[0]
        for line in asked.splitlines()
    ]  # fmt: skip
    declaration.write_text("\n".join(lines))

    report = check(declaration, "2025-02-01T06:00:00Z")

    assert report["exit"] == 1
    assert report["readiness"]["verdict"].startswith("Data quality first: 5 of 12 answers are no")
    answers = {answer["question"]: answer for answer in report["readiness"]["answers"]}
    refused = {question for question, answer in answers.items() if answer["answer"] == "no"}
    after = {f"follow_up_{months}_months" for months in (6, 12, 24)}
    assert refused == {*after, "taxonomy", "reviews"}
    assert "education and training" in report["problems"][0]["says"]
    # Everybody answered one survey, on the day from which rows are known at once.
    assert answers["known"]["answer"] == "yes"
