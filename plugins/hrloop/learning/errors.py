"""What learning refuses, and how it says so."""


class LearningError(ValueError):
    """A frame that nothing sound can be learnt from. The message says what to do."""


class TooEarly(LearningError):
    """Too little has happened so far to learn from; with time it will do, and nothing is wrong."""


class MissingColumn(LearningError):
    """A column that is not in the frame. ``version``: the one that reads it, in words, where it is learnt."""

    def __init__(self, columns: list[str], where: str, version: str | None = None):
        self.columns = columns
        names = ", ".join(columns)
        super().__init__(
            f"{where} has no column {names}, which {version} reads: put it back into the feature table until "
            "a version without it is in charge (declared it need not be), or roll back to one without it"
            if version
            else f"{where} has no column {names}: build it in the feature table, "
            "or take it out of features in the use case"
        )


class InsufficientLabels(TooEarly):
    """Too few observed labels. ``counts`` holds the number of decisions by label status."""

    def __init__(self, counts: dict[str, int], needed: int):
        self.counts, self.needed = counts, needed
        told = ", ".join(f"{status} {number}" for status, number in sorted(counts.items())) or "none at all"
        super().__init__(
            f"{counts.get('observed', 0)} observed labels, and learning needs {needed} "
            f"(labels of selected cases by status: {told}); wait for more milestones to mature, "
            "or collect the missing ones"
        )


class InsufficientHistory(TooEarly):
    """Too few labels to fit a calibrator on some of them and to judge it by the others."""

    def __init__(self, past: int, newest: int, needed: int):
        self.past, self.newest, self.needed = past, newest, needed
        super().__init__(
            f"{past} labels to fit a calibrator on and {newest} newer ones to judge it by; each needs "
            f"{needed}, and those to fit on must have become known at more than one moment; wait for more "
            "milestones to mature"
        )


class OneClassOnly(TooEarly):
    """Labels that are all the same."""

    def __init__(self, value: float, number: int):
        super().__init__(
            f"all {number} observed labels are {value:g}: there is nothing to tell apart; "
            "check the definition of the outcome in the use case"
        )


class NobodyFollowed(TooEarly):
    """Cases that were all censored before the moment that is asked about."""

    def __init__(self, cases: int, horizon: float, longest: float):
        super().__init__(
            f"none of {cases} cases was followed to month {horizon:g} (the longest to month {longest:.1f}): "
            "what comes until then cannot be known; wait, or declare a nearer milestone"
        )


class LeakError(LearningError):
    """Features that look as if they were known only after the decision. ``findings``: feature to why."""

    def __init__(self, findings: dict[str, str]):
        self.findings = findings
        super().__init__(
            "\n".join(
                [
                    "refused: these features look as if they were known only after the decision",
                    *(f"  {feature}: {why}" for feature, why in findings.items()),
                ]
            )
        )
