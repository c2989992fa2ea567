"""The same verbs and reconcilers under a simulator: one thread, one seed, and everything that can go wrong.

`python -m tests.simulation` explores, `python -m tests.simulation SEED --trace` replays one schedule exactly.
"""
