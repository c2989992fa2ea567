"""Every rule a scan can report: data. The id is for ever; pages and SARIF are made from this table."""

from __future__ import annotations

from collections.abc import Mapping

from remit.domain.discovery import Rule, Severity

_C, _H, _M, _L, _N = Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.LOW, Severity.NOTE

RULES: Mapping[str, Rule] = {
    rule.id: rule
    for rule in (
        Rule(
            "secret-in-agent-config",
            _H,
            "A secret stands in an agent's configuration",
            "Take it back where it was issued, and have a gateway inject a credential of one task instead.",
            "ASI03",
        ),
        Rule(
            "value-in-agent-config",
            _N,
            "A value stands in an agent's configuration where a reference could",
            "If it is not secret, leave it; otherwise write ${NAME} and take the value back.",
            "NHI2:2025",
        ),
        Rule(
            "secret-in-file",
            _H,
            "A secret stands in a file",
            "Take it back where it was issued: whoever can read the file has it. Then remove it, and its history.",
            "NHI2:2025",
        ),
        Rule(
            "private-key-in-file",
            _C,
            "A private key stands in a file",
            "Replace the key pair, and let nobody trust the old one.",
            "NHI2:2025",
        ),
        Rule(
            "secret-in-history",
            _H,
            "A secret stands in the git history",
            "Take it back where it was issued: a clone has it, whatever the newest commit says.",
            "NHI2:2025",
        ),
        Rule(
            "secret-in-arguments",
            _H,
            "A running process has a secret in its arguments",
            "Every user of the machine can read it. Pass a file or a socket instead, and replace the secret.",
            "NHI2:2025",
        ),
        Rule(
            "server-unpinned",
            _M,
            "An MCP server is fetched anew at each start, whatever its newest version is",
            "Write the version you have reviewed: name@1.2.3, name==1.2.3, or an image's digest.",
            "ASI04",
        ),
        Rule(
            "server-runs-what-it-fetches",
            _C,
            "An MCP server's command runs what it fetches",
            "Install it first, look at it, and start what is there.",
            "ASI05",
        ),
        Rule(
            "server-in-the-clear",
            _H,
            "An MCP server is asked over plain HTTP",
            "Use https://, or bind it to loopback.",
            "ASI07",
        ),
        Rule(
            "server-sees-everything",
            _M,
            "A file server is given a whole home or disk",
            "Name the folders that the task needs.",
            "ASI02",
        ),
        Rule(
            "tools-approved-for-ever",
            _H,
            "Tools run without anybody being asked",
            "List the few that only read, and let a policy hold the rest.",
            "ASI02",
        ),
        Rule(
            "servers-trusted-unseen",
            _H,
            "Whatever server a repository names is started",
            "Turn it off: a cloned repository would choose what runs here.",
            "ASI04",
        ),
        Rule(
            "lethal-trifecta",
            _H,
            "An agent has private data, what strangers write, and a way out together",
            "Take one of the three away, or put a gateway in between that labels what was read.",
            "ASI01",
        ),
        Rule(
            "hook-fails-open",
            _M,
            "A hook that fails lets the call happen",
            'Add "onFailure": "block" to the hook.',
            "ASI02",
        ),
        Rule(
            "agent-key-in-code",
            _C,
            "An agent's code has a key in it",
            "Take it back where it was issued, and read it from the environment of one task.",
            "NHI2:2025",
        ),
        Rule(
            "agent-runs-code",
            _M,
            "An agent may run code or a shell",
            "Put it in a sandbox, and let a policy decide each call.",
            "ASI05",
        ),
        Rule(
            "pipeline-obeys-strangers",
            _C,
            "A pipeline gives an agent secrets or write access, and runs on what anybody may write",
            "Run it on a label that a maintainer sets, without secrets, read-only.",
            "ASI01",
        ),
        Rule(
            "pipeline-holds-cloud-keys",
            _M,
            "A pipeline holds long-lived cloud keys",
            "Federate: the cloud accepts the pipeline's own OIDC token, and there is no key.",
            "NHI7:2025",
        ),
        Rule(
            "pipeline-may-write-everything",
            _M,
            "A pipeline's token may write everything",
            "Say `permissions:` with what the job needs.",
            "NHI5:2025",
        ),
        Rule(
            "action-unpinned",
            _L,
            "A pipeline runs an action at a name that can move",
            "Pin it to a commit.",
            "ASI04",
        ),
        Rule(
            "workload-with-power",
            _H,
            "A workload can take over its host or its cluster",
            "Drop privileged, host namespaces, the container engine's socket and host paths.",
            "NHI6:2025",
        ),
        Rule(
            "role-allows-escalation",
            _H,
            "A role can read secrets, run in other pods, or give itself more",
            "Name the resources and verbs that are needed; never *, escalate, bind, impersonate or pods/exec.",
            "NHI5:2025",
        ),
        Rule(
            "default-identity-mounted",
            _L,
            "A workload has its namespace's default identity in a file",
            "Set automountServiceAccountToken: false, or give it an account of its own.",
            "NHI9:2025",
        ),
        Rule(
            "role-trusts-everybody",
            _M,
            "A cloud role can be assumed by a whole account, or by anybody",
            "Name who may assume it in its trust policy.",
            "NHI5:2025",
        ),
        Rule(
            "nobody-answers",
            _L,
            "Nobody is named who answers for an agent",
            "Name an owner in CODEOWNERS, then in agents/NAME.toml.",
            "NHI1:2025",
        ),
    )
}
