"""Read models over events: what happened, counted. The broker runs without them."""
