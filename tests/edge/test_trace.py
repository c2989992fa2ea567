"""A call that an edge passes on to the centre stays part of the agent's trace."""

from __future__ import annotations

import json
from dataclasses import replace

from remit.domain.decision import Access
from tests.edge.test_journeys import tellable

TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_the_trace_goes_with_a_call_that_the_centre_answers(centre):
    async def test(both):
        passes = tellable(both)
        task = await both.task()
        needs_a_person = Access(task.id, "pay", {"customer": "acme", "invoice": 1, "amount": "5"}, "")
        held = await both.edge.decided(replace(both.caller(task), trace=TRACE), needs_a_person)
        assert held["decision"] == "hold"
        passes.cancel()
        await both.log_caught_up()
        size, _ = await both.centre.log.head()
        told = [e for e in map(json.loads, await both.centre.log.entries(0, size)) if e["trace"] == TRACE]
        assert [(e["type"], e["by"]) for e in told] == [("AccessDecided", "edge:east")]

    centre.run(test)
