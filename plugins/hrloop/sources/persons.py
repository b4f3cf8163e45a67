"""From a pseudonym back to a person: for those who must speak with them, and for nobody else.

Only the loader's role can read open identifiers, so only who holds its password can do this.
"""

from hrloop.sources import contract
from hrloop.warehouse import Warehouse


class UnknownPerson(ValueError):
    """No source row has this pseudonym. The message says where it was looked for."""


def identify(wh: Warehouse, key_column: str, pseudonym: str) -> str:
    """The identifier that the source systems use for the person of a pseudonym, read as the role ``loader``.

    ``key_column``: what the pseudonym is called, such as employee_key. Raises UnknownPerson.
    """
    columns = {
        table.raw: column
        for table in contract.load().values()
        for column, key in table.keys_of_persons.items()
        if key == key_column
    }
    for raw, column in columns.items():  # names of the contract; the pseudonym is bound
        found = wh.read(
            "loader",
            f"select distinct {column} as person from {raw} where {key_column} = :pseudonym limit 1",  # noqa: S608
            pseudonym=pseudonym,
        )["person"].to_pylist()
        if found:
            return found[0]
    looked_in = ", ".join(columns) or "none, since no table has such a column"
    raise UnknownPerson(f"no source row has the {key_column} {pseudonym}; looked in {looked_in}")
