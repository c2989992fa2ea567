"""Evidence: per control, what enforces it, whether that is in force now, when it last acted, and the proof.

Nothing here is a checkbox. A control names *mechanisms* (`frameworks/*.toml`), and each mechanism is code: how it is in
force is a look at the rows and the configuration of the running server, when it acted is a count of events in the log
by words that nobody outside can say (`formats.log_words`), and the proof is the newest of those events, each with
its path to a signed checkpoint. What Remit does not cover says so, and why.

    present ──► standing of each mechanism ┐
    log     ──► acts of each mechanism     ├──► report ──► its digest is an event ──► proof ──► one file
    frameworks ────────────────────────────┘
"""
