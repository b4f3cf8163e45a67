"""hrloop closes the loop on HR AI: decisions meet their outcomes, and the model improves by them.

The engine is a library. It never imports Airflow; the files in ``dags/`` call it.
"""
