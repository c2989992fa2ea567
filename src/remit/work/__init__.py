"""Reconcilers: they take no arguments, look at what is due, and move it one step; crashing anywhere is fine."""
