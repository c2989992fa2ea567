"""Alembic migrations: what was, frozen."""
