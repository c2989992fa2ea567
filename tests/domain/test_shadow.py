"""What was seen and nobody registered: bounded and plain, whatever it is called; and what the catalogue knows is none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from remit.domain.shadow import LONGEST, Shadow, ShadowKind, Sighting, counted, unregistered
from remit.formats.catalogue import parse
from tests.server import CATALOGUE

TEXT = st.text(st.characters(), max_size=2 * LONGEST)
SIGHTINGS = st.builds(Sighting, st.sampled_from(ShadowKind), TEXT, TEXT, TEXT)


@given(st.lists(st.tuples(SIGHTINGS, st.integers(1, 9)), max_size=8))
def test_each_is_counted_once_and_nothing_in_it_acts(seen):
    found = counted(seen, 7)
    assert len({one.id for one in found}) == len(found) == len({one.id for one, _ in seen})
    assert sum(one.count for one in found) == sum(times for _, times in seen)
    for one in found:
        for text in (one.name, one.source, one.reporter):
            assert text.isprintable() and len(text) <= LONGEST
            text.encode("utf-8")  # no surrogate is left


@given(SIGHTINGS, TEXT)
def test_it_is_the_same_whoever_says_so(one, other):
    assert Sighting(one.kind, one.name, one.source, other).id == one.id
    assert Sighting(one.kind, one.source + "!", one.name).id != one.id


def test_what_is_registered_is_no_shadow():
    catalogue = parse({**CATALOGUE, "remit.toml": CATALOGUE["remit.toml"] + '[trust_domains."other.example"]\nbundle_url = "https://other.example/b"\nprofile = "https_web"\n[federations.ci]\nissuer = "https://ci.example"\naudience = "https://remit.example"\n',
                       "agents/far.toml": 'owner = "olga"\n[[attestations]]\nmethod = "spiffe"\nspiffe_id = "spiffe://other.example/far"\n',
                       "agents/ci.toml": 'owner = "olga"\n[[attestations]]\nmethod = "oidc"\nfederation = "ci"\n[attestations.claims]\nsub = "job-1"\n'})  # fmt: skip
    for kind, name, source, known in (
        (ShadowKind.CLIENT, "bot", "", True), (ShadowKind.CLIENT, "list", "", False), (ShadowKind.TOOL, "list", "", True),
        (ShadowKind.TOOL, "bot", "", False), (ShadowKind.WORKLOAD, "spiffe://other.example/far", "other.example", True),
        (ShadowKind.WORKLOAD, "spiffe://other.example/near", "other.example", False), (ShadowKind.SUBJECT, "bot", "ci", False),
        (ShadowKind.SUBJECT, "job-1", "ci", True), (ShadowKind.SUBJECT, "job-1", "elsewhere", False), (ShadowKind.CALLER, "bot", "", False),
        (ShadowKind.CLIENT, "", "", True),
    ):  # fmt: skip
        one = Shadow("x", kind, name, source, source, 0, 0, 1)
        assert (unregistered([one], catalogue) == []) is known, (kind, name)
