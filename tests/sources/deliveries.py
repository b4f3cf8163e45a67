"""Small deliveries of requisitions."""

HEADER = "requisition_id,job_family,title,opened_at,updated_at"


def requisitions(*rows: str, header: str = HEADER) -> str:
    """A CSV file of requisitions; a bare id becomes a whole row."""
    whole = (
        row if "," in row else f"{row},engineering,Engineer,2024-01-05T09:00:00Z,2024-01-05T09:00:00Z"
        for row in rows
    )
    return "\n".join([header, *whole]) + "\n"
