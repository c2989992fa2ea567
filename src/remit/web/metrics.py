"""What is counted, in Prometheus' text format. Names never carry a task, an agent or a secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from remit import __version__
from remit.domain.lease import Waiting
from remit.govern.estate import EdgeShown

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)

# Read from the store when somebody asks: name, labels, what it says.
_READ: Sequence[tuple[str, tuple[str, ...], str]] = (
    ("remit_tasks_open", (), "Tasks that are open; 100,000 and more are not counted."),
    ("remit_leases_held", ("state", "issuer"), "Credentials that may be in use (reserved, live)."),
    ("remit_approvals_waiting", (), "Approvals that wait for people; 1,000 at most."),
    ("remit_approvals_oldest_seconds", (), "For how long the longest waits."),
    ("remit_log_waiting", (), "Committed events that no checkpoint covers yet; 1,000 at most."),
    ("remit_log_lag_seconds", (), "How old the oldest of them is."),
    ("remit_log_checkpoint_age_seconds", (), "How old the newest event under the newest checkpoint is."),
    ("remit_signing_key_age_seconds", ("use",), "Since when the key that signs now exists."),
    ("remit_root_key_replacing", (), "1 while a previous root key is configured."),
    ("remit_freezes", (), "What is frozen."),
    ("remit_shadows", ("kind",), "What was seen and nobody registered or dismissed."),
    ("remit_out_behind", ("sink",), "Events of the log that a sink has not acknowledged."),
    ("remit_out_lag_seconds", ("sink",), "How old the oldest of them is."),
    ("remit_out_failing_seconds", ("sink",), "For how long a sink has taken nothing that it was sent."),
    ("remit_out_paused", ("sink",), "1 while nothing is sent to a sink."),
    ("remit_witness_behind", ("witness",), "Events of the log that a witness has not cosigned."),
    ("remit_witness_cosigned_seconds", ("witness",), "Since when a witness has cosigned nothing; -1: never has."),
    ("remit_witness_refused", ("witness",), "1 while a witness says that the log is not the one it knows."),
    ("remit_restore_unfinished", (), "1 while issuers are not yet compared after a restore."),
)


class Metrics:
    """One registry a server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.read: dict[str, Gauge] = {}
        self.requests = Counter(
            "remit_requests", "Requests by route and status.", ["route", "status"], registry=self.registry
        )
        self.latency = Histogram(
            "remit_request_seconds", "Time to answer.", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self.decisions = Counter("remit_decisions", "Decisions by outcome.", ["decision"], registry=self.registry)
        self.unauthenticated = Counter(
            "remit_unauthenticated",
            "Callers refused before they were known, by code.",
            ["code"],
            registry=self.registry,
        )
        self.passes = Counter(
            "remit_reconciler_passes",
            "Reconciler passes by name and outcome.",
            ["name", "outcome"],
            registry=self.registry,
        )
        self.kills = Counter("remit_kills", "Credential kills by outcome.", ["outcome"], registry=self.registry)
        self.backlog = Gauge("remit_lease_backlog", "Leases due to end and not ended.", registry=self.registry)
        self.oldest = Gauge(
            "remit_lease_backlog_oldest_seconds",
            "How long the longest overdue lease waits.",
            registry=self.registry,
        )
        self.overdue = Gauge(
            "remit_secrets_overdue", "Secrets whose time to be rotated is over.", registry=self.registry
        )
        self.leases = Gauge(
            "remit_leases",
            "Credentials that are to die and are not confirmed dead, by what they wait for.",
            ["state", "issuer"],
            registry=self.registry,
        )
        self.oldest_kill = Gauge(
            "remit_lease_oldest_kill_seconds",
            "For how long the oldest unconfirmed kill is owed.",
            ["issuer"],
            registry=self.registry,
        )
        self.down = Gauge(
            "remit_issuer_down", "1 while an issuer confirms no kill.", ["issuer"], registry=self.registry
        )
        self.kill_seconds = Histogram(
            "remit_kill_seconds",
            "From the end of a task or lease to the confirmed death of a credential.",
            ["issuer"],
            buckets=(*_SECONDS, 30, 60, 300, 3600),
            registry=self.registry,
        )
        self.edge_seen = Gauge(
            "remit_edge_seen_seconds",
            "How long ago an edge last asked; -1: never.",
            ["edge"],
            registry=self.registry,
        )
        self.edge_lag = Gauge(
            "remit_edge_lag_events", "Events that an edge had not applied.", ["edge"], registry=self.registry
        )
        self.edge_backlog = Gauge(
            "remit_edge_backlog", "Events that an edge had not reported.", ["edge"], registry=self.registry
        )
        self.edge_tasks = Gauge("remit_edge_tasks", "Open tasks at an edge.", ["edge"], registry=self.registry)
        self.edge_warnings = Gauge(
            "remit_edge_warnings", "What `remit estate` warns of.", ["edge"], registry=self.registry
        )
        self.reports_refused = Counter(
            "remit_edge_reports_refused", "Reports that edges may not make.", ["edge"], registry=self.registry
        )
        self.undecided = Gauge(
            "remit_redecision_left",
            "Open tasks that a change may concern and that were not decided again yet, at most.",
            registry=self.registry,
        )
        self.undecided_oldest = Gauge(
            "remit_redecision_oldest_seconds",
            "How long the oldest change has not reached every open task.",
            registry=self.registry,
        )
        self.lost_sightings = Counter(
            "remit_shadows_lost",
            "Sightings that were not kept: more than can wait, or the least seen of a kind that is full.",
            ["why"],
            registry=self.registry,
        )
        self.log_size = Gauge("remit_log_size", "Events under the newest checkpoint.", registry=self.registry)
        self.commits = Counter(
            "remit_commits",
            "Changes by outcome: done, conflict (tried again), unavailable (the store did not confirm).",
            ["outcome"],
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "remit_commit_seconds", "Until a change was durable.", buckets=_SECONDS, registry=self.registry
        )
        self.unavailable = Counter(
            "remit_store_unavailable", "Requests refused because the store did not answer.", registry=self.registry
        )
        self.last_pass = Gauge(
            "remit_reconciler_last_success_timestamp_seconds",
            "When a reconciler last finished a pass.",
            ["name"],
            registry=self.registry,
        )
        for name, labels, told in _READ:
            self.read[name] = Gauge(name, told, labels, registry=self.registry)
        self.rolled_back = Gauge(
            "remit_store_rolled_back", "1 while the log is shorter than this host has seen it.", registry=self.registry
        )
        self.unpublished = Gauge(
            "remit_frames_unpublished", "1 while NATS does not take what edges are told.", registry=self.registry
        )
        build = Gauge("remit_build_info", "1, with the version.", ["version"], registry=self.registry)
        build.labels(__version__).set(1)
        ProcessCollector(registry=self.registry)

    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self.registry)

    def shadows_lost(self, why: str, count: int) -> None:
        """So many sightings were not kept."""
        self.lost_sightings.labels(why).inc(count)

    def passed(self, name: str, *, ok: bool) -> None:
        """A reconciler finished a pass."""
        self.passes.labels(name, "ok" if ok else "failed").inc()
        if ok:
            self.last_pass.labels(name).set_to_current_time()

    def committed(self, outcome: str, seconds: float) -> None:
        """A change was decided by the store, so many seconds after it was asked for."""
        self.commits.labels(outcome).inc()
        if outcome == "done":
            self.commit_seconds.observe(seconds)

    def show(self, name: str, values: Mapping[tuple[str, ...], float]) -> None:
        """What was just read, by label values; what is not named is gone."""
        gauge = self.read[name]
        if () in values:
            gauge.set(values[()])
            return
        gauge.clear()
        for labels, value in values.items():
            gauge.labels(*labels).set(value)

    def dead(self, issuer: str, seconds: float) -> None:
        """A credential of this issuer is confirmed dead, so long after it was to die."""
        self.kill_seconds.labels(issuer).observe(seconds)

    def owed(self, waiting: Sequence[Waiting], oldest: Mapping[str, float]) -> None:
        """What every issuer owes, and for how many seconds; what is not named owes nothing."""
        self.leases.clear()
        self.oldest_kill.clear()
        for one in waiting:
            self.leases.labels(one.waits.value, one.issuer).set(one.count)
        for issuer, seconds in oldest.items():
            self.oldest_kill.labels(issuer).set(seconds)

    def edges(self, found: Sequence[EdgeShown], now: int) -> None:
        """How every edge is."""
        for gauge in (self.edge_seen, self.edge_lag, self.edge_backlog, self.edge_tasks, self.edge_warnings):
            gauge.clear()
        for one in found:
            self.edge_seen.labels(one.name).set((now - one.seen_at) / 1000 if one.seen_at else -1)
            self.edge_lag.labels(one.name).set(one.lag_events)
            self.edge_backlog.labels(one.name).set(one.backlog)
            self.edge_tasks.labels(one.name).set(len(one.tasks))
            self.edge_warnings.labels(one.name).set(len(one.warnings))

    def killed(self, count: int, failed: int) -> None:
        """Credentials whose kill was confirmed, and those whose was not."""
        self.kills.labels("confirmed").inc(count)
        self.kills.labels("failed").inc(failed)
