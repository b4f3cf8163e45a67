"""The whole loop on the practice company, through real DAG runs: ``make demo``."""
