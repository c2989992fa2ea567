"""What is true: values, laws and state machines.

Standard library only. No clock, no I/O, no JSON: time is an argument, and bytes are
somebody else's business (`remit.formats`).

Instants are `int`: milliseconds since the Unix epoch, UTC.
"""
