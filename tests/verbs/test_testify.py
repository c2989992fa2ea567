"""A report's digest is in the log before it leaves."""

from __future__ import annotations

from remit.domain.caller import CallerKind
from remit.verbs import testify
from tests.delegating import last
from tests.world import world


def test_a_report_is_in_the_log_before_anybody_has_it(run):
    async def main():
        w = await world()
        await testify.testify(w.env, w.call(CallerKind.AUDITOR, "anna"), "sha256:x", ("nist-csf",), 3, 9)
        said = last(w, "EvidenceReported")
        assert (said["report"], said["frameworks"], said["start"], said["size"]) == ("sha256:x", ["nist-csf"], 3, 9)

    run(main())
