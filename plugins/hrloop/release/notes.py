"""Change notes: what changed in what decides, in plain words for HR, in English and Swedish.

Each change of champion or calibrator has one, on the version (tags ``change_note.en`` and
``change_note.sv``) and in ``loop.change_notes``.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from hrloop.release.ledger import PROMOTIONS, Release
from hrloop.release.registry import Registry
from hrloop.usecase import UseCase
from hrloop.warehouse.tables import change_notes

CHANGES = (*PROMOTIONS, "roll_back", "calibrate")

_WHAT = {
    "en": {
        "first": "From {date} model version {version} helps to decide in “{title}”. Until then people decided"
        " alone.",
        "promote": "From {date} model version {version} helps to decide in “{title}”, in place of version"
        " {previous}.",
        "roll_back": "From {date} model version {version} helps to decide in “{title}” again; version"
        " {previous} was taken out of use.",
        "calibrate promote": "From {date} the probabilities in “{title}” are read off a new scale (model"
        " version {version}). Who ranks above whom stays as it was.",
        "calibrate roll_back": "From {date} the probabilities in “{title}” are read off the scale before the"
        " last one (model version {version}). Who ranks above whom stays as it was.",
    },
    "sv": {
        "first": "Från och med {date} används modellversion {version} som stöd i ”{title}”. Dessförinnan"
        " beslutade människor på egen hand.",
        "promote": "Från och med {date} används modellversion {version} som stöd i ”{title}”, i stället för"
        " version {previous}.",
        "roll_back": "Från och med {date} används modellversion {version} åter som stöd i ”{title}”; version"
        " {previous} har tagits ur bruk.",
        "calibrate promote": "Från och med {date} läses sannolikheterna i ”{title}” av mot en ny skala"
        " (modellversion {version}). Rangordningen är densamma som förut.",
        "calibrate roll_back": "Från och med {date} läses sannolikheterna i ”{title}” av mot den föregående"
        " skalan (modellversion {version}). Rangordningen är densamma som förut.",
    },
}
_HOW_MUCH = {
    "en": "Checked on {n} decisions whose outcome is known, its predictions miss by {percent} less than"
    " {reference} (mean squared error {after} instead of {before}).",
    "sv": "Kontrollerat på {n} beslut med känt utfall: förutsägelserna missar {percent} mindre än"
    " {reference} (medelkvadratfel {after} i stället för {before}).",
}
_REFERENCE = {
    "en": {
        "base_rate": "always naming the average",
        "champion": "those of the version before",
        "calibrator": "before the change",
    },
    "sv": {
        "base_rate": "om man alltid anger genomsnittet",
        "champion": "den tidigare versionens",
        "calibrator": "före ändringen",
    },
}
_WHO = {
    "en": "Approved by {by} on {at}: {reason}",
    "sv": "Godkänt av {by} den {at}: {reason}",
}
_ROLLED_BACK = {"en": "Reason given by {by}: {reason}", "sv": "Skäl, angivet av {by}: {reason}"}
_BY_ITSELF = {
    "en": "The system makes this change by itself, and takes it back by itself when it does not help.",
    "sv": "Systemet gör denna ändring självt och tar själv tillbaka den om den inte hjälper.",
}


def words(use_case: UseCase, row: Release) -> dict[str, str]:
    """The note of a ledger row, by language.

    ``evidence.details.change`` (reference, before, after, n) says by how much; without it, as after a
    roll-back, the note does not say.
    """
    return {language: _in(language, use_case, row) for language in _WHAT}


def _in(language: str, use_case: UseCase, row: Release) -> str:
    kind = f"{row.kind} {row.verdict}" if row.kind == "calibrate" else row.kind
    sentences = [
        _WHAT[language][kind].format(
            date=f"{row.as_of:%Y-%m-%d}",
            version=row.version,
            previous=row.previous_version,
            title=use_case.title,
        )
    ]
    change = row.evidence.get("details", {}).get("change")
    if change and change["after"] < change["before"]:  # else another figure decided, and the verdict tells it
        before, after = change["before"], change["after"]
        sentences.append(
            _HOW_MUCH[language].format(
                n=change["n"],
                percent=f"{100 * (1 - after / before):.0f} %",
                reference=_REFERENCE[language][change["reference"]],
                before=_number(language, f"{before:.3f}"),
                after=_number(language, f"{after:.3f}"),
            )
        )
    if row.kind == "calibrate":
        sentences.append(_BY_ITSELF[language])
    else:
        who = _ROLLED_BACK if row.kind == "roll_back" else _WHO
        by, reason = row.approved_by, row.approval_reason
        sentences.append(who[language].format(by=by, at=f"{row.approved_at:%Y-%m-%d}", reason=reason))
    return " ".join(sentences)


def _number(language: str, number: str) -> str:
    return number.replace(".", ",") if language == "sv" else number


def publish(connection: Connection, registry: Registry, use_case: UseCase, rows: Sequence[Release]) -> None:
    """Write the notes of these ledger rows that have none yet.

    The tags come first: what was cut short is written again.
    """
    there = set(connection.scalars(select(change_notes.c.release_id)))
    new = [row for row in rows if row.kind in CHANGES and row.release_id not in there]
    for row in new:
        told = words(use_case, row)
        registry.tag(use_case.name, row.version, {f"change_note.{lang}": note for lang, note in told.items()})
        values = [
            {"release_id": row.release_id, "language": lang, "words": note} for lang, note in told.items()
        ]
        connection.execute(insert(change_notes).values(values).on_conflict_do_nothing())
