"""What the four rhythms remember: shadow scores, experiments, change notes, live calibrators, time-outs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

GRANTS = {
    "shadow_scores": {"engine": "select, insert"},
    "experiments": {"engine": "select, insert, update", "transformer": "select"},
    "change_notes": {"engine": "select, insert", "transformer": "select"},
    "releases": {"transformer": "select"},
}
APPEND_ONLY = ("shadow_scores", "change_notes")
KINDS = "'first', 'promote', 'roll_back', 'keep', 'reject', 'calibrate', 'insufficient_evidence'"

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_constraint("ck_releases_kind", "releases", schema="loop")
    op.create_check_constraint(
        "ck_releases_kind", "releases", f"kind in ({KINDS}, 'time_out')", schema="loop"
    )
    op.add_column(
        "decisions",
        sa.Column(
            "calibration_id",
            sa.Text(),
            nullable=True,
            comment="Row of the ledger whose calibrator was live; null: the version's own.",
        ),
        schema="loop",
    )
    op.create_foreign_key(
        op.f("fk_decisions_calibration_id_releases"),
        "decisions",
        "releases",
        ["calibration_id"],
        ["release_id"],
        source_schema="loop",
        referent_schema="loop",
    )
    op.create_table(
        "shadow_scores",
        sa.Column("decision_id", sa.Text(), nullable=False, comment="The decision."),
        sa.Column(
            "model_version",
            sa.Integer(),
            nullable=False,
            comment="Version that scored it and did not decide.",
        ),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False, comment="The as_of of the decision."),
        sa.Column("score", sa.Double(), nullable=False, comment="The version's uncalibrated probability."),
        sa.Column(
            "probability", sa.Double(), nullable=False, comment="The version's calibrated probability."
        ),
        sa.CheckConstraint("probability between 0 and 1", name=op.f("ck_shadow_scores_probability")),
        sa.ForeignKeyConstraint(
            ["decision_id"],
            ["loop.decisions.decision_id"],
            name=op.f("fk_shadow_scores_decision_id_decisions"),
        ),
        sa.PrimaryKeyConstraint("decision_id", "model_version", name=op.f("pk_shadow_scores")),
        schema="loop",
        comment="Append-only: one row per decision and version that scored it without deciding.",
    )
    op.create_table(
        "experiments",
        sa.Column(
            "experiment_id",
            sa.Text(),
            nullable=False,
            comment="Deterministic: a hash of use case, start, versions.",
        ),
        sa.Column("use_case", sa.Text(), nullable=False, comment="Use case."),
        sa.Column("champion", sa.Integer(), nullable=False, comment="Version in charge at the start."),
        sa.Column("challenger", sa.Integer(), nullable=False, comment="Version that is tried against it."),
        sa.Column(
            "share", sa.Double(), nullable=False, comment="Share of the groups that the challenger decides."
        ),
        sa.Column(
            "looks",
            postgresql.ARRAY(sa.Integer()),
            nullable=False,
            comment="Days at which a verdict may fall, set before.",
        ),
        sa.Column(
            "started_at", sa.DateTime(timezone=True), nullable=False, comment="The as_of of its start."
        ),
        sa.Column(
            "ended_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="The as_of of its end; null while it runs.",
        ),
        sa.Column(
            "verdict",
            sa.Text(),
            nullable=True,
            comment="promote, keep or insufficient_evidence; null while it runs.",
        ),
        sa.Column(
            "reasons",
            postgresql.ARRAY(sa.Text()),
            server_default="{}",
            nullable=False,
            comment="The verdict's reasons.",
        ),
        sa.Column(
            "evidence",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="Figures of each look, by its as_of.",
        ),
        sa.CheckConstraint("share between 0 and 1", name=op.f("ck_experiments_share")),
        sa.CheckConstraint(
            "verdict in ('promote', 'keep', 'insufficient_evidence')", name=op.f("ck_experiments_verdict")
        ),
        sa.CheckConstraint(
            "(ended_at is null) = (verdict is null)", name=op.f("ck_experiments_ended_with_a_verdict")
        ),
        sa.PrimaryKeyConstraint("experiment_id", name=op.f("pk_experiments")),
        schema="loop",
        comment="One row per live comparison of a challenger with the champion, one at a time.",
    )
    op.create_index(
        "uq_experiments_one_runs",
        "experiments",
        ["use_case"],
        unique=True,
        schema="loop",
        postgresql_where=sa.text("ended_at is null"),
    )
    op.create_table(
        "change_notes",
        sa.Column("release_id", sa.Text(), nullable=False, comment="Row of the ledger."),
        sa.Column("language", sa.Text(), nullable=False, comment="en or sv."),
        sa.Column("words", sa.Text(), nullable=False, comment="What changed, in plain language, for HR."),
        sa.CheckConstraint("language in ('en', 'sv')", name=op.f("ck_change_notes_language")),
        sa.ForeignKeyConstraint(
            ["release_id"], ["loop.releases.release_id"], name=op.f("fk_change_notes_release_id_releases")
        ),
        sa.PrimaryKeyConstraint("release_id", "language", name=op.f("pk_change_notes")),
        schema="loop",
        comment="Append-only: one row per change of what decides and language.",
    )
    for table in APPEND_ONLY:
        op.execute(
            f"create trigger append_only before update or delete or truncate on loop.{table}"
            " for each statement execute function loop.refuse_change()"
        )
    for table, rights in GRANTS.items():
        for role, right in rights.items():
            op.execute(f"grant {right} on loop.{table} to {role}")


def downgrade() -> None:
    for table in ("change_notes", "experiments", "shadow_scores"):
        op.drop_table(table, schema="loop")
    op.drop_column("decisions", "calibration_id", schema="loop")
    op.execute("revoke select on loop.releases from transformer")
    op.drop_constraint("ck_releases_kind", "releases", schema="loop")
    op.create_check_constraint("ck_releases_kind", "releases", f"kind in ({KINDS})", schema="loop")
