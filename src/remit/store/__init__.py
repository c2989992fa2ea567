"""Rows and events, kept: memory, SQLite and PostgreSQL behind one port and one conformance suite."""
