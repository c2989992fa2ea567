"""Enforcement points: in the path between an agent and what it acts on."""
