"""One taxonomy of skills and job families, with the spellings that exports really use for them.

Keys of the synonym maps are in lower case, and every canonical name maps to itself, so a reader looks up
``lower(trim(value))`` and either finds the canonical name or knows that the value is unmapped. The dbt
seeds ``skill_synonyms.csv`` and ``job_family_synonyms.csv`` hold the same pairs; ``seed_csv`` renders them.
"""

FAMILY_SKILLS: dict[str, tuple[str, ...]] = {
    "engineering": ("python", "java", "javascript", "kubernetes", "git", "system design", "testing"),
    "data": ("sql", "python", "statistics", "machine learning", "data visualisation", "etl", "r"),
    "sales": ("negotiation", "crm", "prospecting", "account management", "presentation", "forecasting"),
    "customer support": (
        "customer service",
        "ticketing",
        "conflict resolution",
        "crm",
        "troubleshooting",
        "written communication",
    ),
    "finance": ("accounting", "excel", "financial modelling", "controlling", "sap", "auditing", "tax"),
    "operations": ("logistics", "procurement", "lean", "sap", "inventory management", "project management"),
    "marketing": (
        "seo",
        "content writing",
        "social media",
        "market research",
        "copywriting",
        "web analytics",
    ),
    "human resources": ("recruiting", "employment law", "payroll", "training design", "mediation", "excel"),
}
"""The skills that each job family asks for."""

GENERAL_SKILLS: tuple[str, ...] = (
    "english",
    "german",
    "teamwork",
    "leadership",
    "time management",
    "powerpoint",
)
"""Skills that anybody may name, whatever the job."""

JOB_FAMILIES: tuple[str, ...] = tuple(FAMILY_SKILLS)

SKILLS: tuple[str, ...] = tuple(
    sorted({skill for skills in FAMILY_SKILLS.values() for skill in skills} | set(GENERAL_SKILLS))
)

_OTHER_SKILL_NAMES: dict[str, tuple[str, ...]] = {
    "accounting": ("bookkeeping",),
    "account management": ("key account management", "kam"),
    "content writing": ("content creation",),
    "crm": ("salesforce", "crm systems", "hubspot"),
    "customer service": ("client service", "customer care"),
    "data visualisation": ("data visualization", "tableau", "power bi", "dataviz"),
    "employment law": ("labour law", "labor law"),
    "english": ("business english", "englisch"),
    "etl": ("data pipelines", "elt"),
    "excel": ("ms excel", "microsoft excel", "ms-excel", "excell"),
    "financial modelling": ("financial modeling",),
    "german": ("deutsch",),
    "git": ("github", "version control"),
    "inventory management": ("stock control",),
    "java": ("java 17", "jdk"),
    "javascript": ("js", "java script", "typescript"),
    "kubernetes": ("k8s", "kubernetes (k8s)"),
    "lean": ("lean management", "kaizen"),
    "machine learning": ("ml", "machine-learning"),
    "powerpoint": ("ms powerpoint", "ppt"),
    "project management": ("pm", "projectmanagement", "project mgmt"),
    "python": ("py3", "python 3", "python3"),
    "r": ("r-lang", "rstats"),
    "recruiting": ("recruitment", "talent acquisition"),
    "sap": ("sap erp", "sap r/3"),
    "seo": ("search engine optimisation", "search engine optimization"),
    "social media": ("social media marketing", "smm"),
    "sql": ("postgresql", "structured query language", "t-sql"),
    "teamwork": ("team player", "team work"),
    "testing": ("test automation", "unit testing"),
    "web analytics": ("google analytics",),
}

SKILL_SYNONYMS: dict[str, str] = {skill: skill for skill in SKILLS} | {
    synonym: skill for skill, synonyms in _OTHER_SKILL_NAMES.items() for synonym in synonyms
}
"""Spelling in lower case → canonical skill."""

UNMAPPED_SKILLS: tuple[str, ...] = ("falconry", "vim golf", "feng shui", "beekeeping")
"""Skills that applicants name and the taxonomy does not know."""

JOB_FAMILY_SYNONYMS: dict[str, str] = {family: family for family in JOB_FAMILIES} | {
    "software engineering": "engineering",
    "eng": "engineering",
    "it": "engineering",
    "data & analytics": "data",
    "analytics": "data",
    "business development": "sales",
    "account executives": "sales",
    "support": "customer support",
    "customer service": "customer support",
    "customer-support": "customer support",
    "accounting & finance": "finance",
    "fin": "finance",
    "ops": "operations",
    "supply chain": "operations",
    "mktg": "marketing",
    "marketing & communications": "marketing",
    "hr": "human resources",
    "people & culture": "human resources",
}
"""Spelling in lower case → canonical job family."""


def seed_csv(synonyms: dict[str, str]) -> str:
    """The map as the text of a dbt seed: header ``synonym,canonical``, sorted, one pair a line."""
    lines = [f"{synonym},{canonical}" for synonym, canonical in sorted(synonyms.items())]
    return "\n".join(["synonym,canonical", *lines]) + "\n"
