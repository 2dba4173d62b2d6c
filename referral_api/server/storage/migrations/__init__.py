"""One file per change of the schema, additive only, the same on SQLite and PostgreSQL.

Must never: import `tables.py` in a step (a step is history), change or drop a column, or loosen an append-only trigger.
"""
