"""Source rows into ``raw``: files, databases and APIs, each batch once, happened and known times on each row.

``contract`` says which tables come in, ``declaration`` how one company delivers them.
"""

from hrloop.sources.contract import ContractError, Refusal
from hrloop.sources.declaration import DeclarationError
from hrloop.sources.ingest import IngestReport, Refused, Taken, ingest
from hrloop.sources.pull import SourceError
from hrloop.sources.tables import ensure_tables

__all__ = [
    "ContractError",
    "DeclarationError",
    "IngestReport",
    "Refusal",
    "Refused",
    "SourceError",
    "Taken",
    "ensure_tables",
    "ingest",
]
