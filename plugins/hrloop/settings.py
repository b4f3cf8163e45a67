"""Every environment variable, typed, in one place.

State (the embedded Postgres, secrets, landing files, logs) lives in one git-ignored folder, ``home``.
Secrets are generated on first use, each in a file that only its owner can read, unless the environment
gives them (``HRLOOP_SECRET_<NAME>``, as docker-compose does from ``.env``).
"""

import os
import secrets
from pathlib import Path

from pydantic import Field, SecretStr, computed_field
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT = Path(__file__).resolve().parents[2]


class Settings(BaseSettings):
    """Where things are and how to reach them. Raises pydantic's ValidationError, naming the variable."""

    model_config = SettingsConfigDict(env_prefix="HRLOOP_", extra="ignore", frozen=True)

    project: Path = Field(PROJECT, description="The checkout: dags/, dbt/, expectations/, models/.")
    home: Path = Field(PROJECT / ".hrloop", description="State of this installation; git-ignored.")
    landing_dir: Path | None = Field(None, description="Where exports arrive; default: landing/ in home.")
    sources: Path | None = Field(None, description="Source declaration; default: the practice company's.")
    database_url: SecretStr | None = Field(
        None,
        validation_alias="DATABASE_URL",
        description="Administrator's URL of a Postgres to use instead of the embedded one.",
    )
    database: str = Field("warehouse", description="Name of the warehouse database.")
    mlflow_url: str | None = Field(
        None, description="URL of a running MLflow server; default: the one this installation starts."
    )

    approval_poll_seconds: float = Field(
        60.0, gt=0, description="How often a waiting run asks whether the model owner has judged."
    )
    approval_webhook: bool = Field(
        False, description="Whether MLflow tells Airflow of an approval at once; see hrloop_webhook."
    )
    airflow_url: str | None = Field(
        None, description="Where MLflow reaches Airflow; default: the one this installation starts."
    )

    @computed_field
    @property
    def landing(self) -> Path:
        return self.landing_dir or self.home / "landing"

    @computed_field
    @property
    def truth(self) -> Path:
        """What truly would have become of everyone in the practice company; evaluation alone reads it."""
        return self.home / "truth"

    def secret(self, name: str) -> str:
        """The secret of this name: from ``HRLOOP_SECRET_<NAME>``, else from its file, made when missing.

        The file appears whole and with mode 0600 or not at all, and two processes asking at once get
        the same answer.
        """
        given = os.environ.get(f"HRLOOP_SECRET_{name.upper()}")
        if given:
            return given
        folder = self.home / "secrets"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / name
        if not path.exists():
            draft = folder / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(32))
            try:
                os.link(draft, path)
            except FileExistsError:
                pass  # another process was first: its secret is the one
            finally:
                draft.unlink()
        return path.read_text(encoding="utf-8").strip()


def load() -> Settings:
    """The settings of this process, read from the environment."""
    return Settings()
