"""Adapters: the guard's contract in the words of each framework, one module each, imported when asked for.

Each gives the framework's own pause to a held call, and denies on every error. They run in the agent's process, so the
grade they earn is *hook*: advisory against a process that was taken over. What cannot be gone around is the gateway,
and credentials that exist only for the task.
"""
