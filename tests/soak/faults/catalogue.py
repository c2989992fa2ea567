"""What the estate of this lane is: agents, two purposes (one of which changes again and again), three tools, edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

PURPOSES = ("steady", "steady", "moving")
STEADY = "steady"  # the agent that nobody freezes or revokes
MOST = 1000
BOUNDS = {"read": 3_000, "write": 2_000, "irreversible": 2_000}  # ms: how old what an edge knows may be
_EDGE = """
[edges.{name}]
url = "{url}"
owner = "olga"
stale_after = "2s"
stale = {{ read = "3s" }}
"""
_PURPOSE = """
owner = "olga"
agents = [{agents}]
max_duration = "15m"
max_calls = {most}
max_sensitivity = "confidential"
[parameters.customer]
pattern = "[a-z]+"
[[grants]]
tool = "look"
resource = "customer/{{customer}}"
[[grants]]
tool = "write"
resource = "customer/{{customer}}"
[[grants]]
tool = "pay"
resource = "customer/{{customer}}"
[[credentials]]
name = "db"
issuer = "shop"
ttl = "5m"
[[credentials.grants.tables]]
name = "public.invoices"
privileges = ["select"]
"""
_TOOL = """
effect = "{effect}"
resource = "customer/{{customer}}"
output_trust = "trusted"
[arguments.customer]
type = "text"
[arguments.ref]
type = "text"
"""
_POLICY = """
@id("within") permit (principal, action, resource);
@id("hold-irreversible") @approvers("finance") @says("{tool} cannot be undone")
forbid (principal, action in Remit::Action::"call", resource)
when { resource.effect == "irreversible" } unless { context.approved };
"""


def files(agents: Sequence[str], revision: int, edges: Mapping[str, str]) -> dict[str, str]:
    """The catalogue; no two revisions have the same `moving`: one that came back would be in force again for old tasks."""
    named = ", ".join(f'"{name}"' for name in agents)
    placed = "".join(_EDGE.format(name=name, url=url) for name, url in edges.items())
    return {
        "remit.toml": '[people.frank]\ngroups = ["finance"]\n[people.olga]\n'
        f'[issuers.shop]\nkind = "postgres"\ndsn_env = "SHOP_DSN"\n{placed}',
        **{f"agents/{name}.toml": 'owner = "olga"\n[[attestations]]\nmethod = "join_token"\n' for name in agents},
        "purposes/steady.toml": _PURPOSE.format(agents=named, most=MOST),
        "purposes/moving.toml": _PURPOSE.format(agents=named, most=MOST - 1 - revision),
        "tools/look.toml": _TOOL.format(effect="read"),
        "tools/write.toml": _TOOL.format(effect="write"),
        "tools/pay.toml": _TOOL.format(effect="irreversible"),
        "policies/default.cedar": _POLICY,
    }
