"""Read models over events: what happened, and what it says about what may happen. Nothing is changed here."""
