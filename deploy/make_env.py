"""Write ``.env`` for docker-compose.yaml: ``.env.example`` with every empty value replaced by a secret.

    python3 deploy/make_env.py

Needs nothing but Python, since it runs before anything is installed. The file appears whole and with
mode 0600, or not at all; one that is there already is never touched, for the databases behind it know
its passwords.
"""

import argparse
import os
import re
import secrets
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
ASSIGNMENT = re.compile(r"(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>.*)")


def filled(template: str) -> str:
    """The template with a fresh secret for each empty value.

    A secret is 43 letters, digits, ``-`` and ``_`` (256 random bits): safe inside a URL, a shell and YAML.
    Raises ValueError, naming the line, for one that is neither an assignment, a comment nor blank.
    """
    lines = []
    for number, line in enumerate(template.splitlines(), start=1):
        if line and not line.startswith("#"):
            match = ASSIGNMENT.fullmatch(line)
            if match is None:
                raise ValueError(f"line {number} is not NAME=value: {line!r}")
            line = f"{match['name']}={match['value'] or secrets.token_urlsafe(32)}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Write the file; 1 when there is one already."""
    parser = argparse.ArgumentParser(description="Write .env with generated secrets.")
    parser.add_argument("target", nargs="?", type=Path, default=PROJECT / ".env", help="default: %(default)s")
    target = parser.parse_args(arguments).target
    content = filled((PROJECT / ".env.example").read_text(encoding="utf-8"))
    draft = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
    try:
        os.link(draft, target)  # fails where the name is taken, unlike a rename
    except FileExistsError:
        print(f"{target} is there already and stays as it is; remove it to have a new one.", file=sys.stderr)
        return 1
    finally:
        draft.unlink()
    print(f"{target}: written, readable by you alone.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
