"""The tables of the schema ``loop``: what the engine itself remembers.

Migrations in ``migrations/`` create them; a test holds both equal. Times are ``timestamptz`` in UTC.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    schema="loop",
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    },
)
Moment = DateTime(timezone=True)
NOW = text("now()")  # operational stamps only: no step of the engine reads them

batches = Table(
    "batches",
    metadata,
    Column(
        "batch_id", Text, primary_key=True, comment="First 16 hex digits of SHA-256 over table and content."
    ),
    Column("system", Text, nullable=False, comment="Source system, such as ats."),
    Column("table_name", Text, nullable=False, comment="Table of the source contract, such as applications."),
    Column("file_name", Text, nullable=False, comment="File (or pull) that the batch came in."),
    Column("content_sha256", Text, nullable=False, comment="SHA-256 of the content: a batch is taken once."),
    Column("arrived_at", Moment, nullable=False, comment="When the batch arrived."),
    Column("status", Text, nullable=False, comment="loaded, passed, failed, superseded or refused."),
    Column("rows_in", BigInteger, nullable=False, server_default="0", comment="Data rows delivered."),
    Column(
        "rows_quarantined", BigInteger, nullable=False, server_default="0", comment="Rows held in quarantine."
    ),
    Column(
        "rows_passed", BigInteger, nullable=False, server_default="0", comment="Rows not held in quarantine."
    ),
    Column("reason", Text, comment="Why it was refused or failed, in words."),
    Column(
        "extra_columns",
        ARRAY(Text),
        nullable=False,
        server_default="{}",
        comment="Columns that are not in the contract: kept beside the row, never used.",
    ),
    Column("gated_as_of", Moment, comment="The as_of at which the gate judged it."),
    Column(
        "loaded_at", Moment, nullable=False, server_default=NOW, comment="Operational: when it was loaded."
    ),
    CheckConstraint("status in ('loaded', 'passed', 'failed', 'superseded', 'refused')", name="status"),
    CheckConstraint("rows_in = rows_passed + rows_quarantined", name="no_row_lost"),
    Index(None, "system", "table_name", "status"),
    comment="One row per batch of source rows: what came in and what became of it.",
)

gate_results = Table(
    "gate_results",
    metadata,
    Column("gate_result_id", Text, primary_key=True, comment="Deterministic: a hash of what was checked."),
    Column(
        "as_of",
        Moment,
        nullable=False,
        comment="When the batch arrived; for a check of the table, the as_of.",
    ),
    Column("system", Text, nullable=False, comment="Source system."),
    Column("table_name", Text, nullable=False, comment="Table of the source contract."),
    Column(
        "batch_id", Text, ForeignKey(batches.c.batch_id), comment="Null for a check of the table as a whole."
    ),
    Column("check_name", Text, nullable=False, comment="Name of the check, such as completeness."),
    Column("field", Text, comment="Field that was checked."),
    Column("group_column", Text, comment="Column that the group is of; null for the whole batch."),
    Column("group_value", Text, comment="The group; for a passed check the one nearest to failing."),
    Column("observed", Double, comment="What was found, in the unit of the threshold."),
    Column("threshold", Double, comment="What was asked for."),
    Column("rows", BigInteger, comment="Rows that the check looked at."),
    Column("passed", Boolean, nullable=False, comment="Whether the check passed."),
    Column("detail", Text, comment="The finding in words."),
    Index(None, "system", "table_name", "batch_id"),
    comment="One row per check of the gate.",
)

steps = Table(
    "steps",
    metadata,
    Column("step", Text, comment="Step of the loop, such as ingest."),
    Column("use_case", Text, comment="Use case, or * for a step that serves all of them."),
    Column("as_of", Moment, comment="The as_of that the step was run for."),
    Column("state", Text, nullable=False, comment="running, done or failed."),
    Column("summary", JSONB, nullable=False, server_default="{}", comment="What the step did, in figures."),
    Column(
        "started_at",
        Moment,
        nullable=False,
        server_default=NOW,
        comment="Operational: start of the last run.",
    ),
    Column("finished_at", Moment, comment="Operational: end of the last run."),
    PrimaryKeyConstraint("step", "use_case", "as_of"),
    CheckConstraint("state in ('running', 'done', 'failed')", name="state"),
    comment="The ledger of done as_ofs: one row per step, use case and as_of.",
)

releases = Table(
    "releases",
    metadata,
    Column(
        "release_id", Text, primary_key=True, comment="Deterministic: a hash of what was decided upon what."
    ),
    Column(
        "sequence", BigInteger, Identity(always=True), nullable=False, unique=True, comment="Order of entry."
    ),
    Column("use_case", Text, nullable=False, comment="Use case."),
    Column("as_of", Moment, nullable=False, comment="The as_of of the verdict."),
    Column("kind", Text, nullable=False, comment="What happened to the champion."),
    Column("version", Integer, comment="Model version that the row is about."),
    Column("previous_version", Integer, comment="Champion before the row."),
    Column("run_id", Text, comment="MLflow run of the version."),
    Column("verdict", Text, nullable=False, comment="promote, keep, roll_back or insufficient_evidence."),
    Column(
        "reasons",
        ARRAY(Text),
        nullable=False,
        server_default="{}",
        comment="The verdict's reasons, in words.",
    ),
    Column("evidence", JSONB, nullable=False, server_default="{}", comment="The figures behind the verdict."),
    Column("approved_by", Text, comment="Who approved or rejected."),
    Column("approved_at", Moment, comment="When it was approved or rejected."),
    Column("approval_reason", Text, comment="The reason given."),
    Column(
        "recorded_at",
        Moment,
        nullable=False,
        server_default=NOW,
        comment="Operational: when it was recorded.",
    ),
    CheckConstraint(
        "kind in ('first', 'promote', 'roll_back', 'keep', 'reject', 'time_out', 'calibrate',"
        " 'insufficient_evidence')",
        name="kind",
    ),
    CheckConstraint("verdict in ('promote', 'keep', 'roll_back', 'insufficient_evidence')", name="verdict"),
    Index(None, "use_case", "sequence"),
    comment="Append-only: one row per verdict on a champion, with its evidence.",
)

decisions = Table(
    "decisions",
    metadata,
    Column(
        "decision_id",
        Text,
        primary_key=True,
        comment="First 32 hex digits of SHA-256 over use case and case.",
    ),
    Column("use_case", Text, nullable=False, comment="Use case."),
    Column("case_key", Text, nullable=False, comment="What was decided upon, such as the application."),
    Column("subject_key", Text, nullable=False, comment="Pseudonym of the person."),
    Column("group_key", Text, nullable=False, comment="Group that the case was ranked in."),
    Column("as_of", Moment, nullable=False, comment="The as_of of the decision."),
    Column("model_version", Integer, nullable=False, comment="Version that decided."),
    Column("arm", Text, nullable=False, server_default="champion", comment="champion or challenger."),
    Column("score", Double, nullable=False, comment="The model's uncalibrated probability."),
    Column("probability", Double, nullable=False, comment="Calibrated probability of the outcome."),
    Column("confidence", Double, nullable=False, comment="Calibrated probability that the action is right."),
    Column("rank", Integer, nullable=False, comment="Rank in the group, 1 for the highest score."),
    Column("group_size", Integer, nullable=False, comment="Cases ranked together."),
    Column("recommended_action", Text, nullable=False, comment="What the loop recommends."),
    Column("route", Text, nullable=False, comment="automatic, or review by a person."),
    Column(
        "route_reasons", ARRAY(Text), nullable=False, server_default="{}", comment="Why a person reviews it."
    ),
    Column("exploration", Boolean, nullable=False, comment="Whether the action was drawn at random."),
    Column(
        "selection_propensity",
        Double,
        nullable=False,
        comment="Probability with which the policy selects it.",
    ),
    Column(
        "calibration_id",
        Text,
        ForeignKey(releases.c.release_id),
        comment="Row of the ledger whose calibrator was live; null: the version's own.",
    ),
    Column("reasons", JSONB, comment="Top features with their contributions; null where none was asked for."),
    Column("features", JSONB, nullable=False, comment="The features as they were scored."),
    UniqueConstraint("use_case", "case_key"),
    CheckConstraint("route in ('automatic', 'review')", name="route"),
    CheckConstraint("probability between 0 and 1", name="probability"),
    CheckConstraint("confidence between 0 and 1", name="confidence"),
    CheckConstraint("selection_propensity between 0 and 1", name="selection_propensity"),
    Index(None, "use_case", "as_of"),
    comment="Append-only: one row per AI-assisted decision, and never two for a case.",
)

reviews = Table(
    "reviews",
    metadata,
    Column(
        "review_id", Text, primary_key=True, comment="Deterministic: a hash of decision, reviewer and time."
    ),
    Column("decision_id", Text, ForeignKey(decisions.c.decision_id), nullable=False, comment="The decision."),
    Column("reviewer", Text, nullable=False, comment="Who reviewed it."),
    Column("verdict", Text, nullable=False, comment="agree or overrule."),
    Column("action", Text, nullable=False, comment="What is to be done."),
    Column("reason_code", Text, nullable=False, comment="A reason code of the use case's declaration."),
    Column("words", Text, nullable=False, comment="The reason in the reviewer's words."),
    Column("reviewed_at", Moment, nullable=False, comment="When it was reviewed."),
    UniqueConstraint("decision_id", "reviewer", "reviewed_at"),
    CheckConstraint("verdict in ('agree', 'overrule')", name="verdict"),
    Index(None, "decision_id"),
    comment="Append-only: one row per verdict of a person on a decision.",
)

shadow_scores = Table(
    "shadow_scores",
    metadata,
    Column("decision_id", Text, ForeignKey(decisions.c.decision_id), comment="The decision."),
    Column("model_version", Integer, comment="Version that scored it and did not decide."),
    Column("as_of", Moment, nullable=False, comment="The as_of of the decision."),
    Column("score", Double, nullable=False, comment="The version's uncalibrated probability."),
    Column("probability", Double, nullable=False, comment="The version's calibrated probability."),
    PrimaryKeyConstraint("decision_id", "model_version"),
    CheckConstraint("probability between 0 and 1", name="probability"),
    comment="Append-only: one row per decision and version that scored it without deciding.",
)

experiments = Table(
    "experiments",
    metadata,
    Column(
        "experiment_id", Text, primary_key=True, comment="Deterministic: a hash of use case, start, versions."
    ),
    Column("use_case", Text, nullable=False, comment="Use case."),
    Column("champion", Integer, nullable=False, comment="Version in charge at the start."),
    Column("challenger", Integer, nullable=False, comment="Version that is tried against it."),
    Column("share", Double, nullable=False, comment="Share of the groups that the challenger decides."),
    Column("looks", ARRAY(Integer), nullable=False, comment="Days at which a verdict may fall, set before."),
    Column("started_at", Moment, nullable=False, comment="The as_of of its start."),
    Column("ended_at", Moment, comment="The as_of of its end; null while it runs."),
    Column("verdict", Text, comment="promote, keep or insufficient_evidence; null while it runs."),
    Column("reasons", ARRAY(Text), nullable=False, server_default="{}", comment="The verdict's reasons."),
    Column(
        "evidence", JSONB, nullable=False, server_default="{}", comment="Figures of each look, by its as_of."
    ),
    CheckConstraint("share between 0 and 1", name="share"),
    CheckConstraint("verdict in ('promote', 'keep', 'insufficient_evidence')", name="verdict"),
    CheckConstraint("(ended_at is null) = (verdict is null)", name="ended_with_a_verdict"),
    Index("uq_experiments_one_runs", "use_case", unique=True, postgresql_where=text("ended_at is null")),
    comment="One row per live comparison of a challenger with the champion, one at a time.",
)

change_notes = Table(
    "change_notes",
    metadata,
    Column("release_id", Text, ForeignKey(releases.c.release_id), comment="Row of the ledger."),
    Column("language", Text, comment="en or sv."),
    Column("words", Text, nullable=False, comment="What changed, in plain language, for HR."),
    PrimaryKeyConstraint("release_id", "language"),
    CheckConstraint("language in ('en', 'sv')", name="language"),
    comment="Append-only: one row per change of what decides and language.",
)

APPEND_ONLY = (releases, decisions, reviews, shadow_scores, change_notes)
