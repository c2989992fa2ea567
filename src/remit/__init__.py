"""Remit: access for AI agents, by the task, not by the role."""

__version__ = "0.1.0"
