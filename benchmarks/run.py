"""`make bench [ONLY=prefix]`: every benchmark whose names begin with the prefix, as JSON lines on standard output.

One line a result: name, subject, n, p50_us, p99_us, per_s, value, unit, note. A peer that is not installed gives one
line that says how to get it. Figures on a shared machine are noisy: compare ratios within one run.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from remit.issuers import KINDS

HERE = Path(__file__).parent
# file → the names it can produce
FILES = {
    "decision_inproc.py": ("decision.inproc",),
    "over_http.py": ("decision.http", "decision.cpu", "token.issue"),
    "delegation.py": ("chain.verify", "revoke.tree"),
    "replicas.py": (
        "decision.http",
        "log.sequenced",
        "restart.ready",
        "revoke.refused",
        "scale.decision",
        "store.size",
    ),
    "redecide.py": ("redecide.tasks", "redecide.unconcerned"),
    "log_append.py": ("log.append",),
    "log_search.py": ("log.search",),
    "incident.py": ("incident.story", "incident.export"),
    "console_pages.py": ("console.page",),
    "evidence.py": ("evidence.report", "evidence.verify"),
    "reviews.py": ("review.open", "review.shown"),
    "origins.py": ("origin.observe", "origin.decide", "memory.tasks"),
    "injection/replay.py": ("injection.inert", "injection.unattended", "injection.utility", "injection.holds_per_task"),
    "estate/costs.py": ("estate.cost",),
    "svid.py": ("svid.issue", "svid.fetch"),
    "credentials.py": tuple(name for kind in KINDS for name in (f"{kind}.mint", f"{kind}.kill", f"revoke.{kind}")),
    "gateway_call.py": ("gateway.call",),
    "egress_call.py": ("egress.call",),
    "estate.py": ("decision.edge", "revoke.edge", "revoke.push"),
    "estate_push.py": ("estate.push", "estate.beat", "estate.report"),
    "signals.py": ("signal.push", "status.list"),
    "out.py": ("out.deliver", "out.lag", "out.cost"),
    "scan.py": ("scan.leaky_repo",),
    "leaks.py": ("scan.transcript", "leak.report", "leak.mint"),
    "blast.py": ("blast.iam_vulnerable", "blast.reach", "blast.cuts", "blast.nodes"),
}


def main() -> int:
    """Run what matches; a benchmark that fails fails the run."""
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = [file for file, names in FILES.items() if any(n.startswith(only) or only.startswith(n) for n in names)]
    if not chosen:
        known = ", ".join(name for names in FILES.values() for name in names)
        print(f"nothing begins with {only!r}; there are: {known}", file=sys.stderr)
        return 2
    codes = [
        subprocess.run([sys.executable, str(HERE / file), only], check=False, cwd=HERE.parent).returncode
        for file in chosen
    ]
    return max(codes)


sys.exit(main())
