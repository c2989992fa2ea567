"""A report is what the log says, and whoever alters one, or a server that lies in one, is found out."""

from __future__ import annotations

import asyncio
import copy
import json

import pytest

from remit.domain.caller import CallerKind
from remit.domain.errors import ProofInvalid, Unavailable
from remit.formats import oscal, tlog
from remit.govern.evidence import page, proof
from remit.govern.evidence.report import COVERED, Asked
from remit.govern.evidence.verify import recounted, verify
from remit.work.sequence import sequence

from .evidence_world import LOG, good, one_of, put, settled

ALL = ("csf", "ai-rmf", "asi", "nhi", "maestro")


def key_of(w):
    return tlog.note_key(LOG, w.env.signer.public("log")[0])


async def sequencing(w):
    while True:
        await sequence(w.store, w.env.signer, LOG)
        await asyncio.sleep(0.005)


async def beside(w, work):
    """What needs a sequencer."""
    turning = asyncio.create_task(sequencing(w))
    try:
        return await work
    finally:
        turning.cancel()


@pytest.fixture(scope="module")
def made():
    """A world with acts in it, a report of it with its proof, and its log as an auditor exports it."""

    async def main():
        w = await good()
        for word in ("decided permit",) * 6 + ("decided hold", "refused out_of_scope", "is Froze", "is LeaseMinted"):
            w.clock.now += 1000
            await put(w, one_of(word))
        await settled(w)
        found = await beside(w, proof.proved(w.env, w.store, LOG, w.call(CallerKind.AUDITOR, "anna"), Asked(ALL, 0)))
        size, note = await w.store.head()
        return w, found, (await w.store.entries(0, size), note)

    return asyncio.run(main())


@pytest.fixture
def w(made):
    return made[0]


@pytest.fixture
def file(made):
    return copy.deepcopy(made[1])


def lie(w, file, change):
    """A server that signs for whatever it likes."""
    report = copy.deepcopy(file["report"])
    change(report)

    async def main():
        w.clock.now = report["made_at"]
        return await beside(w, proof.sealed(w.env, w.store, LOG, w.call(CallerKind.AUDITOR, "anna"), report))

    return asyncio.run(main())


def checked(w, file):
    return verify(json.dumps(file).encode(), key_of(w))


def test_a_report_is_verified_by_the_file_and_the_key_alone(w, file):
    found = checked(w, file)
    assert found.given_to == "auditor:anna" and found.made_at == w.clock.now and found.same_release
    mechanisms = file["report"]["mechanisms"]
    assert (mechanisms["decisions"]["acted"], mechanisms["holds"]["acted"], mechanisms["freeze"]["acted"]) == (9, 1, 1)
    assert mechanisms["delegation"]["acted"] == 0 and mechanisms["delegation"]["last"] == -1
    assert "delegation" in file["report"]["summary"]["never_acted"]
    leaf = json.loads(file["report"]["events"][str(mechanisms["freeze"]["last"])])
    assert leaf["type"] == "Froze" and mechanisms["freeze"]["last_at"] == leaf["at"]


def test_the_same_with_the_log_counts_again(w, made, file):
    entries, note = made[2]
    recounted(checked(w, file), entries, tlog.parse_checkpoint(note, [key_of(w)], origin=LOG))


def drop(report):
    report["events"].pop(str(report["mechanisms"]["freeze"]["last"]))


def act(report, name, n=0):
    return report["mechanisms"][name]["acts"][n]


ALTERED = {
    "an event dropped": lambda f: drop(f["report"]),
    "a proof dropped": lambda f: f["proof"]["paths"].popitem(),
    "two proofs swapped": lambda f: swap(f["proof"]["paths"]),
    "two events swapped": lambda f: swap(f["report"]["events"]),
    "an event's byte": lambda f: edit_event(f["report"]),
    "a count raised": lambda f: act(f["report"], "decisions").update(count=600),
    "a date moved": lambda f: f["report"].update(made_at=f["report"]["made_at"] + 86_400_000),
    "a last act moved": lambda f: f["report"]["mechanisms"]["freeze"].update(last_at=1),
    "a state": lambda f: f["report"]["mechanisms"]["freeze"].update(state="off"),
    "what was seen": lambda f: f["report"]["mechanisms"]["freeze"].update(says="nothing was ever frozen"),
    "what is overdue": lambda f: f["report"]["mechanisms"]["freeze"].update(overdue=["x"]),
    "a status": lambda f: f["report"]["frameworks"][0]["controls"][0].update(status=COVERED),
    "a control left out": lambda f: f["report"]["frameworks"][0]["controls"].pop(),
    "a framework left out": lambda f: f["report"]["frameworks"].pop(),
    "a field more": lambda f: f["report"].update(more=1),
    "a proof more": lambda f: f["proof"]["paths"].update({"0": []}),
    "another event as its own": lambda f: f["proof"].update(
        place=int(next(iter(f["report"]["events"]))), event=next(iter(f["report"]["events"].values()))
    ),
    "no report": lambda f: f.update(report={}),
    "another kind": lambda f: f["report"].update(type="remit.evidence.v0"),
    "another log's name": lambda f: f["report"].update(log="other/log"),
    "a broken proof": lambda f: f["proof"]["paths"].update({str(f["proof"]["place"]): ["%"]}),
}


def swap(pairs):
    (a, one), (b, other) = list(pairs.items())[:2]
    pairs[a], pairs[b] = other, one


def edit_event(report):
    place, event = next(iter(report["events"].items()))
    report["events"][place] = event.replace('"v":1', '"v":2')


@pytest.mark.parametrize("name", ALTERED)
def test_whatever_is_altered_is_found(w, file, name):
    checked(w, file)  # the control
    ALTERED[name](file)
    with pytest.raises(ProofInvalid):
        checked(w, file)


LIES = {
    "fewer than shown": (lambda r: act(r, "decisions").update(count=1), "1 of 'decided permit' are claimed, and 3 shown"),
    "more than there can be": (lambda r: act(r, "freeze").update(count=9), "9 of 'is Froze' are claimed, and 1 shown"),
    "another event": (lambda r: act(r, "freeze").update(newest=act(r, "holds")["newest"]), "is not one of 'is Froze'"),
    "out of order": (lambda r: act(r, "decisions")["newest"].reverse(), "out of order"),
    "beyond what was counted": (lambda r: r["counted"].update(end=3), "beyond what was counted"),
    "how often": (lambda r: r["mechanisms"]["freeze"].update(acted=7), "does not follow from its events"),
    "when": (lambda r: r["mechanisms"]["freeze"].update(last_at=7), "does not follow from its events"),
    "no state": (lambda r: r["mechanisms"]["freeze"].update(state="fine"), "is no state"),
    "a status": (lambda r: r["frameworks"][0]["controls"][0].update(status=COVERED), "its status does not follow"),
    "the summary": (lambda r: r["summary"]["off"].append("x"), "the summary does not follow"),
    "a mechanism left out": (
        lambda r: r["frameworks"][2]["controls"][0]["by"].append("luck"),
        "enforced by something that the report says nothing of",
    ),
    "a control that asks for less": (lambda r: less(r), "are not those of remit"),
    "counted by something else": (lambda r: act(r, "tasks", 1).update(word="is Nothing"), "not counted by what remit"),
    "what will be": (lambda r: r["counted"].update(end=10**6), "events that were not there"),
    "a path": (lambda r: renamed(r, "../csf"), "are not those of remit"),
}  # fmt: skip


def renamed(report, name):
    report["summary"]["controls"][name] = report["summary"]["controls"].pop(report["frameworks"][0]["id"])
    report["frameworks"][0]["id"] = name


def less(report):
    from remit.govern.evidence.report import judged, summed

    control = report["frameworks"][2]["controls"][0]
    control["by"] = control["by"][:1]
    control["status"] = judged(control, report["mechanisms"])
    report["summary"] = summed(report["frameworks"], report["mechanisms"])


@pytest.mark.parametrize("name", LIES)
def test_a_server_that_signs_for_what_does_not_follow_is_found_out(w, file, name):
    change, says = LIES[name]
    checked(w, lie(w, file, lambda report: None))  # the control: a report that was signed for again is good
    with pytest.raises(ProofInvalid, match=says.replace("(", "[(]")):
        checked(w, lie(w, file, change))


def test_a_report_that_gives_itself_another_age_is_found_out(w, file):
    async def main():
        later = copy.deepcopy(file["report"])
        later["made_at"] += 86_400_000
        return await beside(w, proof.sealed(w.env, w.store, LOG, w.call(CallerKind.AUDITOR, "anna"), later))

    with pytest.raises(ProofInvalid, match="another time"):
        checked(w, asyncio.run(main()))


def test_a_checkpoint_of_another_log_or_key_and_one_that_is_too_old_prove_nothing(w, file):
    other = tlog.NoteKey(LOG, b"k" * 32)
    with pytest.raises(ProofInvalid, match="no known key signed this"):
        verify(json.dumps(file).encode(), other)
    with pytest.raises(ProofInvalid, match="no known key signed this"):
        verify(json.dumps(file).encode(), tlog.NoteKey("elsewhere", key_of(w).public))

    async def older():
        w = await good()  # the same log, when it was shorter
        return (await w.store.head())[1]

    kept = {name: vars(w.store)[name] for name in vars(w.store)}
    file["proof"]["checkpoint"] = asyncio.run(older())
    vars(w.store).update(kept)
    with pytest.raises(ProofInvalid, match="not in the log like this"):
        checked(w, file)


def test_a_count_that_the_file_cannot_show_is_the_servers_word_and_the_log_tells(w, made, file):
    entries, note = made[2]

    def raised(report):
        act(report, "decisions")["count"] += 600
        report["mechanisms"]["decisions"]["acted"] += 600

    lied = lie(w, file, raised)
    found = checked(w, lied)  # it signed for that; nothing in the file says otherwise

    async def export():
        size, newest = await w.store.head()
        return await w.store.entries(0, size), newest

    now, newest = asyncio.run(export())
    head = tlog.parse_checkpoint(newest, [key_of(w)], origin=LOG)
    with pytest.raises(ProofInvalid, match="607 of 'decided permit' are claimed, and the log has"):
        recounted(found, now, head)
    honest = checked(w, file)
    recounted(honest, now, head)  # the control, with a log that has grown since
    with pytest.raises(ProofInvalid, match="cut short"):
        recounted(honest, now[:-1], head)
    with pytest.raises(ProofInvalid, match="edited"):
        recounted(honest, [b"{}", *now[1:]], head)
    shorter = tlog.parse_checkpoint(note, [key_of(w)], origin=LOG)
    with pytest.raises(ProofInvalid, match="rolled back"):
        recounted(found, entries, shorter)


def test_what_was_counted_begins_where_it_was_asked_to(w, file):
    def later(report):
        report["since"], report["counted"]["start"] = report["made_at"] - 2000, 0

    lied = lie(w, file, later)

    async def export():
        size, newest = await w.store.head()
        return await w.store.entries(0, size), newest

    now, newest = asyncio.run(export())
    with pytest.raises(ProofInvalid, match="does not begin where it says"):
        recounted(checked(w, lied), now, tlog.parse_checkpoint(newest, [key_of(w)], origin=LOG))


def test_a_report_that_nobody_puts_in_the_log_does_not_leave(monkeypatch):
    async def main():
        w = await good()
        monkeypatch.setattr(proof, "SECONDS", 0.05)
        with pytest.raises(Unavailable):
            await proof.proved(w.env, w.store, LOG, w.call(CallerKind.AUDITOR, "anna"), Asked(("asi",), 0))
        await settled(w)
        size, _ = await w.store.head()
        last = json.loads((await w.store.entries(size - 1, size))[0])
        assert last["type"] == "EvidenceReported" and last["data"]["frameworks"] == [
            "asi"
        ]  # it is on record all the same

    asyncio.run(main())


# --- as a page, and as OSCAL ---


def test_a_page_says_what_its_report_says_and_nothing_else(w, file):
    drawn = page.render(file).encode()
    data, around = page.opened(drawn)
    found = verify(data, key_of(w))
    assert page.matches(around, found, data)
    for old, new in (
        (b"Switched off", b"Switched on"),
        (b"</body>", b"<p>Approved</p></body>"),
        (b"Partly", b"Covered"),
    ):
        assert old in drawn
        with pytest.raises(ProofInvalid, match="does not say"):
            page.matches(drawn.replace(old, new, 1), found, data)
    with pytest.raises(ProofInvalid, match="no report in it"):
        page.opened(b"<!doctype html><p>Evidence")


def test_nothing_in_a_page_runs_or_hides(w, file):
    place = next(iter(file["report"]["events"]))
    event = json.loads(file["report"]["events"][place])
    event["by"] = "agent:</script><script>alert(1)</script>\u202e"
    file["report"]["events"][place] = json.dumps(event)
    drawn = page.render(file)
    assert drawn.count("<script") == 1 and "alert(1)</script>" not in drawn and "\\u202e" in drawn
    assert "default-src 'none'" in drawn


def test_oscal_says_the_same(file):
    results = oscal.assessment_results(file)["assessment-results"]["results"]
    assert [len(one["findings"]) for one in results] == [106, 19, 10, 10, 7]
    for one, framework in zip(results, file["report"]["frameworks"], strict=True):
        for finding, control in zip(one["findings"], framework["controls"], strict=True):
            satisfied = finding["target"]["status"]["state"] == "satisfied"
            assert satisfied == (control["status"] == COVERED)
            assert len(finding.get("related-observations", ())) == len(control["by"])
    assert oscal.assessment_results(file) == oscal.assessment_results(copy.deepcopy(file))
