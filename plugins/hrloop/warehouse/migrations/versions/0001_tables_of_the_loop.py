"""The tables of the schema loop, their append-only rule and who may do what with them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

GRANTS = {  # least privilege: what each step of the loop does, and no more
    "batches": {"loader": "select, insert, update", "transformer": "select", "engine": "select"},
    "gate_results": {"loader": "select, insert, update, delete", "transformer": "select", "engine": "select"},
    "steps": {"loader": "select, insert, update", "engine": "select, insert, update"},
    "releases": {"engine": "select, insert"},
    "decisions": {"engine": "select, insert", "transformer": "select"},
    "reviews": {"engine": "select, insert", "transformer": "select"},
}

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "batches",
        sa.Column(
            "batch_id",
            sa.Text(),
            nullable=False,
            comment="First 16 hex digits of SHA-256 over table and content.",
        ),
        sa.Column("system", sa.Text(), nullable=False, comment="Source system, such as ats."),
        sa.Column(
            "table_name",
            sa.Text(),
            nullable=False,
            comment="Table of the source contract, such as applications.",
        ),
        sa.Column("file_name", sa.Text(), nullable=False, comment="File (or pull) that the batch came in."),
        sa.Column(
            "content_sha256",
            sa.Text(),
            nullable=False,
            comment="SHA-256 of the content: a batch is taken once.",
        ),
        sa.Column(
            "arrived_at", sa.DateTime(timezone=True), nullable=False, comment="When the batch arrived."
        ),
        sa.Column(
            "status", sa.Text(), nullable=False, comment="loaded, passed, failed, superseded or refused."
        ),
        sa.Column(
            "rows_in", sa.BigInteger(), server_default="0", nullable=False, comment="Data rows delivered."
        ),
        sa.Column(
            "rows_quarantined",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="Rows held in quarantine.",
        ),
        sa.Column(
            "rows_passed",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="Rows not held in quarantine.",
        ),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why it was refused or failed, in words."),
        sa.Column(
            "extra_columns",
            sa.ARRAY(sa.Text()),
            server_default="{}",
            nullable=False,
            comment="Columns that are not in the contract: kept beside the row, never used.",
        ),
        sa.Column(
            "gated_as_of",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="The as_of at which the gate judged it.",
        ),
        sa.Column(
            "loaded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="Operational: when it was loaded.",
        ),
        sa.CheckConstraint(
            "status in ('loaded', 'passed', 'failed', 'superseded', 'refused')",
            name=op.f("ck_batches_status"),
        ),
        sa.CheckConstraint("rows_in = rows_passed + rows_quarantined", name=op.f("ck_batches_no_row_lost")),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_batches")),
        schema="loop",
        comment="One row per batch of source rows: what came in and what became of it.",
    )
    op.create_index(
        op.f("ix_batches_system_table_name_status"),
        "batches",
        ["system", "table_name", "status"],
        unique=False,
        schema="loop",
    )
    op.create_table(
        "decisions",
        sa.Column(
            "decision_id",
            sa.Text(),
            nullable=False,
            comment="First 32 hex digits of SHA-256 over use case and case.",
        ),
        sa.Column("use_case", sa.Text(), nullable=False, comment="Use case."),
        sa.Column(
            "case_key", sa.Text(), nullable=False, comment="What was decided upon, such as the application."
        ),
        sa.Column("subject_key", sa.Text(), nullable=False, comment="Pseudonym of the person."),
        sa.Column("group_key", sa.Text(), nullable=False, comment="Group that the case was ranked in."),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False, comment="The as_of of the decision."),
        sa.Column("model_version", sa.Integer(), nullable=False, comment="Version that decided."),
        sa.Column(
            "arm", sa.Text(), server_default="champion", nullable=False, comment="champion or challenger."
        ),
        sa.Column("score", sa.Double(), nullable=False, comment="The model's uncalibrated probability."),
        sa.Column(
            "probability", sa.Double(), nullable=False, comment="Calibrated probability of the outcome."
        ),
        sa.Column(
            "confidence",
            sa.Double(),
            nullable=False,
            comment="Calibrated probability that the action is right.",
        ),
        sa.Column(
            "rank", sa.Integer(), nullable=False, comment="Rank in the group, 1 for the highest score."
        ),
        sa.Column("group_size", sa.Integer(), nullable=False, comment="Cases ranked together."),
        sa.Column("recommended_action", sa.Text(), nullable=False, comment="What the loop recommends."),
        sa.Column("route", sa.Text(), nullable=False, comment="automatic, or review by a person."),
        sa.Column(
            "route_reasons",
            sa.ARRAY(sa.Text()),
            server_default="{}",
            nullable=False,
            comment="Why a person reviews it.",
        ),
        sa.Column(
            "exploration", sa.Boolean(), nullable=False, comment="Whether the action was drawn at random."
        ),
        sa.Column(
            "selection_propensity",
            sa.Double(),
            nullable=False,
            comment="Probability with which the policy selects it.",
        ),
        sa.Column(
            "reasons",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="Top features with their contributions; null where none was asked for.",
        ),
        sa.Column(
            "features",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="The features as they were scored.",
        ),
        sa.CheckConstraint("route in ('automatic', 'review')", name=op.f("ck_decisions_route")),
        sa.CheckConstraint("confidence between 0 and 1", name=op.f("ck_decisions_confidence")),
        sa.CheckConstraint("probability between 0 and 1", name=op.f("ck_decisions_probability")),
        sa.CheckConstraint(
            "selection_propensity between 0 and 1", name=op.f("ck_decisions_selection_propensity")
        ),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_decisions")),
        sa.UniqueConstraint("use_case", "case_key", name=op.f("uq_decisions_use_case_case_key")),
        schema="loop",
        comment="Append-only: one row per AI-assisted decision, and never two for a case.",
    )
    op.create_index(
        op.f("ix_decisions_use_case_as_of"), "decisions", ["use_case", "as_of"], unique=False, schema="loop"
    )
    op.create_table(
        "releases",
        sa.Column(
            "release_id",
            sa.Text(),
            nullable=False,
            comment="Deterministic: a hash of what was decided upon what.",
        ),
        sa.Column(
            "sequence", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Order of entry."
        ),
        sa.Column("use_case", sa.Text(), nullable=False, comment="Use case."),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False, comment="The as_of of the verdict."),
        sa.Column("kind", sa.Text(), nullable=False, comment="What happened to the champion."),
        sa.Column("version", sa.Integer(), nullable=True, comment="Model version that the row is about."),
        sa.Column("previous_version", sa.Integer(), nullable=True, comment="Champion before the row."),
        sa.Column("run_id", sa.Text(), nullable=True, comment="MLflow run of the version."),
        sa.Column(
            "verdict", sa.Text(), nullable=False, comment="promote, keep, roll_back or insufficient_evidence."
        ),
        sa.Column(
            "reasons",
            sa.ARRAY(sa.Text()),
            server_default="{}",
            nullable=False,
            comment="The verdict's reasons, in words.",
        ),
        sa.Column(
            "evidence",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="The figures behind the verdict.",
        ),
        sa.Column("approved_by", sa.Text(), nullable=True, comment="Who approved or rejected."),
        sa.Column(
            "approved_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was approved or rejected.",
        ),
        sa.Column("approval_reason", sa.Text(), nullable=True, comment="The reason given."),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="Operational: when it was recorded.",
        ),
        sa.CheckConstraint(
            "kind in ('first', 'promote', 'roll_back', 'keep', 'reject', 'calibrate',"
            " 'insufficient_evidence')",
            name=op.f("ck_releases_kind"),
        ),
        sa.CheckConstraint(
            "verdict in ('promote', 'keep', 'roll_back', 'insufficient_evidence')",
            name=op.f("ck_releases_verdict"),
        ),
        sa.PrimaryKeyConstraint("release_id", name=op.f("pk_releases")),
        sa.UniqueConstraint("sequence", name=op.f("uq_releases_sequence")),
        schema="loop",
        comment="Append-only: one row per verdict on a champion, with its evidence.",
    )
    op.create_index(
        op.f("ix_releases_use_case_sequence"),
        "releases",
        ["use_case", "sequence"],
        unique=False,
        schema="loop",
    )
    op.create_table(
        "steps",
        sa.Column("step", sa.Text(), nullable=False, comment="Step of the loop, such as ingest."),
        sa.Column(
            "use_case",
            sa.Text(),
            nullable=False,
            comment="Use case, or * for a step that serves all of them.",
        ),
        sa.Column(
            "as_of",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="The as_of that the step was run for.",
        ),
        sa.Column("state", sa.Text(), nullable=False, comment="running, done or failed."),
        sa.Column(
            "summary",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="What the step did, in figures.",
        ),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="Operational: start of the last run.",
        ),
        sa.Column(
            "finished_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Operational: end of the last run.",
        ),
        sa.CheckConstraint("state in ('running', 'done', 'failed')", name=op.f("ck_steps_state")),
        sa.PrimaryKeyConstraint("step", "use_case", "as_of", name=op.f("pk_steps")),
        schema="loop",
        comment="The ledger of done as_ofs: one row per step, use case and as_of.",
    )
    op.create_table(
        "gate_results",
        sa.Column(
            "gate_result_id", sa.Text(), nullable=False, comment="Deterministic: a hash of what was checked."
        ),
        sa.Column(
            "as_of",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the batch arrived; for a check of the table, the as_of.",
        ),
        sa.Column("system", sa.Text(), nullable=False, comment="Source system."),
        sa.Column("table_name", sa.Text(), nullable=False, comment="Table of the source contract."),
        sa.Column("batch_id", sa.Text(), nullable=True, comment="Null for a check of the table as a whole."),
        sa.Column(
            "check_name", sa.Text(), nullable=False, comment="Name of the check, such as completeness."
        ),
        sa.Column("field", sa.Text(), nullable=True, comment="Field that was checked."),
        sa.Column(
            "group_column",
            sa.Text(),
            nullable=True,
            comment="Column that the group is of; null for the whole batch.",
        ),
        sa.Column(
            "group_value",
            sa.Text(),
            nullable=True,
            comment="The group; for a passed check the one nearest to failing.",
        ),
        sa.Column(
            "observed", sa.Double(), nullable=True, comment="What was found, in the unit of the threshold."
        ),
        sa.Column("threshold", sa.Double(), nullable=True, comment="What was asked for."),
        sa.Column("rows", sa.BigInteger(), nullable=True, comment="Rows that the check looked at."),
        sa.Column("passed", sa.Boolean(), nullable=False, comment="Whether the check passed."),
        sa.Column("detail", sa.Text(), nullable=True, comment="The finding in words."),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["loop.batches.batch_id"], name=op.f("fk_gate_results_batch_id_batches")
        ),
        sa.PrimaryKeyConstraint("gate_result_id", name=op.f("pk_gate_results")),
        schema="loop",
        comment="One row per check of the gate.",
    )
    op.create_index(
        op.f("ix_gate_results_system_table_name_batch_id"),
        "gate_results",
        ["system", "table_name", "batch_id"],
        unique=False,
        schema="loop",
    )
    op.create_table(
        "reviews",
        sa.Column(
            "review_id",
            sa.Text(),
            nullable=False,
            comment="Deterministic: a hash of decision, reviewer and time.",
        ),
        sa.Column("decision_id", sa.Text(), nullable=False, comment="The decision."),
        sa.Column("reviewer", sa.Text(), nullable=False, comment="Who reviewed it."),
        sa.Column("verdict", sa.Text(), nullable=False, comment="agree or overrule."),
        sa.Column("action", sa.Text(), nullable=False, comment="What is to be done."),
        sa.Column(
            "reason_code", sa.Text(), nullable=False, comment="A reason code of the use case's declaration."
        ),
        sa.Column("words", sa.Text(), nullable=False, comment="The reason in the reviewer's words."),
        sa.Column("reviewed_at", sa.DateTime(timezone=True), nullable=False, comment="When it was reviewed."),
        sa.CheckConstraint("verdict in ('agree', 'overrule')", name=op.f("ck_reviews_verdict")),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["loop.decisions.decision_id"], name=op.f("fk_reviews_decision_id_decisions")
        ),
        sa.PrimaryKeyConstraint("review_id", name=op.f("pk_reviews")),
        sa.UniqueConstraint(
            "decision_id", "reviewer", "reviewed_at", name=op.f("uq_reviews_decision_id_reviewer_reviewed_at")
        ),
        schema="loop",
        comment="Append-only: one row per verdict of a person on a decision.",
    )
    op.create_index(op.f("ix_reviews_decision_id"), "reviews", ["decision_id"], unique=False, schema="loop")

    op.execute("""
        create function loop.refuse_change() returns trigger language plpgsql as $$
        begin
            raise exception 'loop.% is append-only: rows are neither changed nor deleted', tg_table_name;
        end $$
    """)
    for table in ("releases", "decisions", "reviews"):
        op.execute(
            f"create trigger append_only before update or delete or truncate on loop.{table}"
            " for each statement execute function loop.refuse_change()"
        )
    for table, rights in GRANTS.items():
        for role, right in rights.items():
            op.execute(f"grant {right} on loop.{table} to {role}")


def downgrade() -> None:
    for table in ("reviews", "decisions", "releases", "steps", "gate_results", "batches"):
        op.drop_table(table, schema="loop")
    op.execute("drop function loop.refuse_change()")
