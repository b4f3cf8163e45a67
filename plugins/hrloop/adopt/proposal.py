"""A source declaration proposed from what a company offers, for a person to read and mend.

What could not be told is an open question, and is left out: the check refuses what stays unanswered. No value
that describes a person is written; of columns that hold kinds of things their words are.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import make_url

from hrloop import as_of as moments
from hrloop.adopt import evidence
from hrloop.adopt.draft import Block, Draft, Line
from hrloop.adopt.evidence import Seen, fold
from hrloop.adopt.matching import Pairing, pair, pairings
from hrloop.adopt.offers import Offer, in_database, in_folder
from hrloop.sources import contract

# Days as names of files hold them: pattern, strptime format (None: ISO 8601, which needs none).
_IN_NAMES = (
    (r"(\d{4}-\d{2}-\d{2})", None),
    (r"(\d{2}\.\d{2}\.\d{4})", "%d.%m.%Y"),
    (r"(?<!\d)(\d{8})(?!\d)", "%Y%m%d"),
    (r"(\d{4}-\d{2})(?!\d)", "%Y-%m"),
    (r"(\d{4}_\d{2})(?!\d)", "%Y_%m"),
    (r"(?<!\d)(\d{6})(?!\d)", "%Y%m"),
)
_ISO_DAY = _IN_NAMES[0][0]
_LONGEST = 40  # letters of a word for a kind of thing; what is longer was written about somebody


@dataclass(frozen=True)
class Proposal:
    """A declaration as text, the source of each table that was found, and the questions it leaves open."""

    text: str
    tables: dict[str, str]
    questions: list[str]


def of_folder(folder: Path, beside: Path) -> Proposal:
    """A declaration for the exports in a folder; ``beside`` is the folder that it will lie in.

    Raises FileNotFoundError when there is nothing to propose from.
    """
    offers, unreadable = in_folder(folder)
    path = os.path.relpath(folder.resolve(), beside.resolve())
    origin = [Line("kind", "files"), Line("folder", path, "seen from this file")]
    return _propose(offers, str(folder), origin, unreadable)


def of_database(url: str, secret: str | None = None) -> Proposal:
    """A declaration for the tables of a database. ``secret``: the name of the secret that holds the URL.

    Raises ValueError for a URL that gives a password openly, and SourceError when it cannot be read.
    """
    if secret is None and make_url(url).password:
        raise ValueError(
            "the URL holds a password; write the whole URL to a secret (HRLOOP_SECRET_<NAME>, or the file"
            " secrets/<name> in home), and name it with --secret"
        )
    origin = [Line("kind", "sql"), Line("secret", secret) if secret else Line("url", url)]
    return _propose(in_database(url), f"the secret {secret}" if secret else url, origin, [])


def _propose(offers: list[Offer], place: str, origin: list[Line], unreadable: list[str]) -> Proposal:
    found = pairings(offers, contract.load().values())
    found += _leavers_among_employees(found)
    systems: dict[str, list[Pairing]] = {}
    for name in contract.load():
        for pairing in found:
            if pairing.table.full_name == name:
                systems.setdefault(pairing.table.system, []).append(pairing)
    draft = Draft()
    for reason in unreadable:
        draft.ask(f"{reason}. Put the file right, or take it away?")
    for offer in offers:
        if not any(pairing.offer is offer for pairing in found):
            draft.ask(f"{offer.place}: like no table of the contract. If it is one, add it under tables.")
    draft.write(Block("systems", tuple(_system(name, origin, members) for name, members in systems.items())))
    head = [
        f"Source declaration, proposed by `hrloop adopt propose` from {place}.",
        "",
        "Read every line: sure, likely and guess say how well names and values fit. Answer the questions",
        "where they stand below as comments. Then run `hrloop adopt check` on this file.",
        "docs/bring-your-own-data.md leads through it, docs/sources.md describes every key.",
    ]
    tables = {pairing.table.full_name: pairing.offer.place for pairing in found}
    return Proposal(draft.text(head), tables, draft.questions)


def _leavers_among_employees(found: list[Pairing]) -> list[Pairing]:
    """Who left may be told by columns of the employees' own table."""
    by_name = {pairing.table.full_name: pairing for pairing in found}
    if "hris.employees" not in by_name or "hris.terminations" in by_name:
        return []
    leavers = pair(by_name["hris.employees"].offer, contract.load()["hris.terminations"])
    return [leavers] if {"terminated_on", "employee_id"} <= leavers.by_column.keys() else []


# A system -----------------------------------------------------------------------------------------------


def _system(system: str, origin: list[Line], members: list[Pairing]) -> Block:
    tables = Block.of("tables", map(_table, members))
    return Block.of(system, [*origin, *_zone(members), *_arrival(members), *_history(members), tables])


def _zone(members: list[Pairing]) -> Iterator[Line]:
    local = [
        f"{pairing.table.name}.{match.new}"
        for pairing in members
        for match in pairing.matches
        if pairing.table.columns[match.new].type == "timestamp" and pairing.seen(match.new).is_local
    ]
    local += [f"{pairing.table.name}.updated_at" for pairing in members if _is_known_on_its_day(pairing)]
    if local:
        why = f"which zone are the times of {', '.join(local)} of? They have no UTC offset."
        yield Line("time_zone", "?", f"{why} Write one such as Europe/Berlin", "open")


def _arrival(members: list[Pairing]) -> Iterator[Line]:
    names = {name for pairing in members for name in pairing.offer.files}
    dated = [name for name in names if re.search(_ISO_DAY, name)]
    if dated:
        why = f"likely: {len(dated)} of {len(names)} files are named after the day on which they arrived"
        yield Line("arrival_from_name", _ISO_DAY, why)


def _history(members: list[Pairing]) -> Iterator[Line]:
    updated = any("updated_at" in pairing.by_column or _is_known_on_its_day(pairing) for pairing in members)
    newest = [pairing.offer.newest for pairing in members if pairing.offer.newest]
    if newest:
        until = moments.text(max(newest).replace(microsecond=0) + timedelta(seconds=1))
        why = "when the newest file was written: rows updated before were known when they were updated"
        yield Line("history_until", until, why, "set" if updated else "optional")
    elif updated:
        why = "until when were rows known when they were updated? Write the time of the first delivery"
        yield Line("history_until", "?", why, "open")


# A table ------------------------------------------------------------------------------------------------


def _table(pairing: Pairing) -> Block:
    parts = [
        *_origin(pairing.offer),
        Block.of("rename", _rename(pairing)),
        *_only_with(pairing),
        Block.of("values", _values(pairing)),
        Block.of("dates", _dates(pairing)),
        *_decimal(pairing),
        Block.of("lists", _lists(pairing)),
        Block.of("fill", _fill(pairing)),
        *_absent(pairing),
    ]
    unused = f"; read by nothing: {', '.join(pairing.unused)}" if pairing.unused else ""
    return Block.of(pairing.table.name, parts, f"like it by {pairing.score:.0%}{unused}")


def _origin(offer: Offer) -> Iterator[Line]:
    if offer.relation:
        yield Line("table", offer.relation)
        return
    yield Line("files", list(offer.patterns), f"{len(offer.files)} of the files")
    if offer.delimiter != ",":
        yield Line("delimiter", offer.delimiter, "sure: it splits the header")
    if offer.encoding != "utf-8":
        yield Line("encoding", offer.encoding, "likely: the files are not UTF-8")


def _rename(pairing: Pairing) -> Iterator[Line]:
    for match in pairing.matches:
        if match.old.strip() != match.new:
            yield Line(match.old.strip(), match.new, match.why)
    filled = {part.key for part in _fill(pairing)}
    for name in pairing.table.required:
        if name not in pairing.by_column and name not in filled:
            why = f"which column is {name}? None looks like it, and without it every file is refused"
            yield Line("?", name, why, "open")


def _only_with(pairing: Pairing) -> Iterator[Line]:
    """Employees' rows tell of a termination only where they have its day."""
    if pairing.table.full_name == "hris.terminations":
        seen = pairing.seen("terminated_on")
        if seen.there < seen.rows:
            why = f"likely: {seen.there} of {seen.rows} rows have one, and the others are of people who stay"
            yield Line("only_with", ["terminated_on"], why)


def _values(pairing: Pairing) -> Iterator[Line | Block]:
    for match in pairing.matches:
        seen = pairing.seen(match.new)
        if known := evidence.known_values(pairing.table, match.new):
            allowed = pairing.table.columns[match.new].values or ("true", "false")
            words = [word for word in seen.distinct if word not in allowed]
            yield from _kinds(match.new, words, known, seen)
        elif match.new == "fte":
            yield Block.of("fte", _shares(seen))
        elif match.new == "period_end" and seen.formats == ["%Y"]:
            years = (
                Line(year, f"{year}-12-31", "guess: a period ends with its year")
                for year in sorted(seen.distinct)
            )
            yield Block.of(match.new, years, "add the years to come")


def _kinds(name: str, words: list[str], known: dict[str, str], seen: Seen) -> Iterator[Line | Block]:
    unknown = [word for word in words if fold(word) not in known]
    if len(unknown) > evidence.FEW or any(len(word) > _LONGEST or "@" in word for word in unknown):
        why = f"which column says the {name}? This one has {len(unknown)} unknown texts, too many or too long"
        yield Line(name, {}, why, "open")
        return
    yield Block.of(
        name,
        (
            Line(word, known[fold(word)], f"likely: a known word, in {seen.counts[word]} rows")
            if fold(word) in known
            else Line(word, "?", f"what does {word!r} mean, in {seen.counts[word]} rows?", "open")
            for word in words
        ),
    )


def _shares(seen: Seen) -> Iterator[Line]:
    """Shares of full time that are written in per cent."""
    if not (seen.is_number and seen.has_few_words):
        return
    percent = {word: float(word.replace(",", ".")) for word in seen.distinct}
    if 10 <= max(percent.values()) <= 150:
        for word in sorted(percent, key=percent.get):
            yield Line(word, f"{percent[word] / 100:g}", "likely: per cent of full time")


def _dates(pairing: Pairing) -> Iterator[Line]:
    for match in pairing.matches:
        column, seen = pairing.table.columns[match.new], pairing.seen(match.new)
        if column.type in ("date", "timestamp"):
            yield from _format(match.new, seen.formats)
        elif match.new == "birth_year" and seen.is_day:
            form = "%Y-%m-%d" if seen.is_iso else seen.formats[0]
            yield Line(match.new, form, "likely: days of birth, of which the year is taken")
    if _day_in_names(pairing) and (form := _day_in_names(pairing)[1]):
        yield Line("valid_from", form, "sure: the day in the files' names")


def _format(name: str, formats: list[str]) -> Iterator[Line]:
    if len(formats) > 1:
        why = f"or is it {' or '.join(formats[1:])}? The values would be dates in each"
        yield Line(name, formats[0], why, "open")
    elif formats == ["%Y"]:
        if name != "period_end":
            yield Line(name, "%Y", "there is only a year: is its first day meant?", "open")
    elif formats:
        part = "" if "%d" in formats[0] else ", and the first of each month is taken"
        yield Line(name, formats[0], f"sure: its values are written so{part}")


def _decimal(pairing: Pairing) -> Iterator[Line]:
    numbers = [match.new for match in pairing.matches if pairing.is_number(match.new)]
    if written := [name for name in numbers if pairing.seen(name).has_commas]:
        yield Line("decimal", ",", f"sure: {', '.join(written)}")


def _lists(pairing: Pairing) -> Iterator[Line]:
    for match in pairing.matches:
        if pairing.table.columns[match.new].type == "list":
            sign = evidence.list_separator(pairing.seen(match.new))
            if sign not in (None, "|"):
                yield Line(match.new, sign, "likely: it stands between the items of many rows")


def _fill(pairing: Pairing) -> Iterator[Line]:
    table, there = pairing.table, pairing.by_column.keys()
    key, others = table.key[0], [name for name in table.required if name not in table.key]
    if table.key == (key,) and key not in there and not table.columns[key].person and set(others) <= there:
        yield Line(
            key, {"hash_of": others}, "likely: no column numbers the rows, and together these name one"
        )
    if day := _day_in_names(pairing):
        yield Line("valid_from", {"file_name": day[0]}, "sure: each file is a snapshot, named after its day")
    if "updated_at" in there or "updated_at" not in table.columns:
        return
    if _is_known_on_its_day(pairing):
        yield Line("updated_at", {"column": "valid_from"}, "likely: snapshots, each of them known on its day")
    elif not (day and day[0] == _ISO_DAY):  # such a file arrives on its day
        why = f"write this if rows were known on {table.happened_at}, and not only when the file arrived"
        yield Line("updated_at", {"column": table.happened_at}, why, "optional")


def _day_in_names(pairing: Pairing) -> tuple[str, str | None] | None:
    """Pattern and format of the day in the names of files that are snapshots of employees."""
    names = pairing.offer.files
    if pairing.table.full_name != "hris.employees" or "valid_from" in pairing.by_column or not names:
        return None
    return next((day for day in _IN_NAMES if all(re.search(day[0], name) for name in names)), None)


def _is_known_on_its_day(pairing: Pairing) -> bool:
    """Whether rows are snapshots that say no update, and do not arrive on their day."""
    if pairing.table.full_name != "hris.employees" or "updated_at" in pairing.by_column:
        return False
    if "valid_from" in pairing.by_column:
        columns = (pairing.column(name) for name in ("employee_id", "valid_from"))
        return "employee_id" in pairing.by_column and evidence.is_snapshots(*columns)
    day = _day_in_names(pairing)
    return day is not None and day[0] != _ISO_DAY


def _absent(pairing: Pairing) -> Iterator[Line]:
    table = pairing.table
    missing = [n for n in table.critical if n not in pairing.by_column and n not in table.required]
    if missing:
        why = f"which columns are {', '.join(missing)}? Name them under rename; write this if there are none"
        yield Line("absent", missing, why, "open")
