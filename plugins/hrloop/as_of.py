"""The time as of which a step sees the world: aware, in UTC, to the second or finer."""

from datetime import UTC, datetime


def parse(text: str) -> datetime:
    """Read an ISO 8601 time with an offset, such as ``2026-10-01T06:00:00Z``, as an aware UTC datetime.

    Raises ValueError when the text is no ISO time or has no offset: a time that could be anybody's is
    nobody's.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(
            f"as_of {text!r} is not an ISO 8601 time; write it like 2026-10-01T06:00:00Z"
        ) from error
    return utc(moment)


def utc(moment: datetime) -> datetime:
    """The same moment in UTC. Raises ValueError for a naive datetime."""
    if moment.tzinfo is None:
        raise ValueError(f"as_of {moment.isoformat()} has no UTC offset; add one, such as a trailing Z")
    return moment.astimezone(UTC)


def text(moment: datetime) -> str:
    """ISO 8601 in UTC with a trailing Z: the one written form of an as_of."""
    return utc(moment).isoformat().replace("+00:00", "Z")
