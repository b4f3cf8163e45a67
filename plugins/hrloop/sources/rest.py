"""Rows of a REST API, through dlt: it knows how to authenticate, to page and to try again."""

import os
from datetime import UTC, datetime

import pyarrow as pa

from hrloop.as_of import text
from hrloop.sources.contract import Table
from hrloop.sources.declaration import RestSource, RestTable
from hrloop.sources.pull import SourceError, as_rows

_FIRST = datetime(1970, 1, 1, tzinfo=UTC)  # what an API is asked for before the first pull


def pull(
    token: str | None, source: RestSource, given: RestTable, table: Table, since: datetime | None
) -> pa.Table:
    """All pages of a declared endpoint as text columns under the source's own names.

    The endpoint is asked for rows changed since the last pull where ``since`` names its parameter for that.
    Raises SourceError when the API cannot be read.
    """
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"  # HR data, and news of it, stay in the house
    from dlt.extract.exceptions import PipeException  # dlt takes a second to import: only where it is used
    from dlt.sources.rest_api import rest_api_resources

    endpoint = dict(given.endpoint)
    if given.since:
        endpoint["params"] = {**endpoint.get("params", {}), given.since: text(since or _FIRST)}
    client = {"base_url": source.base_url, **source.client}
    if token is not None:
        client["auth"] = {"type": "bearer", "token": token}
    config = {"client": client, "resources": [{"name": table.relation, "endpoint": endpoint}]}
    try:
        return as_rows(rest_api_resources(config)[0])
    except PipeException as error:
        raise SourceError(f"{table.full_name} could not be read from {source.base_url}: {error}") from error
