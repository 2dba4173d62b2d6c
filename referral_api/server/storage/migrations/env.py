"""Alembic's entry: runs the steps on the connection that `database.py` hands over, all of them in one transaction.

Must never: connect by itself, read a configuration file, or run offline.
"""

from __future__ import annotations

from alembic import context

from referral_api.server.storage.tables import METADATA

# Both engines can roll back DDL; Alembic believes it of PostgreSQL alone unless it is told.
context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
