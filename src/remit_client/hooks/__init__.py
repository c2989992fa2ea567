"""Hooks of coding agents: events read, answers rendered. Standard library only, since one starts on every call."""
