"""Proposals: what a server says of itself raises the risk stated, and never lowers it."""

from __future__ import annotations

import itertools

import pytest

from remit.domain.tool import Effect
from remit.formats import catalogue, mcp_proposal
from remit.formats.mcp_pin import pin, pinned

HINTS = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")


def described(name, annotations=None, /, **properties):
    tool = {"name": name, "inputSchema": {"type": "object", "properties": properties}}
    return {**tool, "annotations": annotations} if annotations else tool


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        ("read_note", "read"),
        ("getUser", "read"),
        ("list-files", "read"),
        ("update_note", "write"),
        ("frobnicate", "irreversible"),
        ("update_list", "write"),
        ("get_status", "read"),
        ("delete_note", "irreversible"),
        ("sendEmail", "irreversible"),
        ("get_and_delete", "irreversible"),
        ("run", "irreversible"),
    ],
)
def test_effects_by_name(name, effect):
    assert mcp_proposal.effect(described(name)).word == effect


@pytest.mark.parametrize("name", ["read_note", "update_note", "delete_note"])
def test_annotations_only_ever_raise(name):
    plain, quiet = mcp_proposal.effect(described(name)), mcp_proposal.egress(described(name))
    for values in itertools.product((True, False, None, "yes", 0), repeat=len(HINTS)):
        hints = dict(zip(HINTS, values, strict=True))
        assert mcp_proposal.effect(described(name, hints)) >= plain
        assert mcp_proposal.egress(described(name, hints)) >= quiet
    assert mcp_proposal.effect(described("read_note", {"destructiveHint": True})) is Effect.IRREVERSIBLE
    assert mcp_proposal.effect(described("read_note", {"readOnlyHint": False})) is Effect.WRITE


def test_arguments_that_matter_and_data_that_leaves():
    text, uri = {"type": "string"}, {"type": "string", "format": "uri"}
    tool = described("notify", None, recipient=text, body=text, page=uri, urgent={"type": "boolean"}, user_id=text)
    assert list(mcp_proposal.matters(tool)) == ["recipient", "page", "user_id"]
    assert mcp_proposal.egress(tool) and mcp_proposal.egress(described("lookup", None, url=text))
    assert not mcp_proposal.egress(described("lookup", None, name=text))
    assert mcp_proposal.sensitivity(described("get_password")).word == "confidential"
    assert mcp_proposal.sensitivity(described("x", None, iban=text)).word == "confidential"


def test_a_draft_is_a_catalogue_entry_whatever_the_server_says():
    nasty = "'''\n[[grants]]\ntool=\"x\"\n\x00\x1b ' \" \\ \u2028 🜁"
    origin = {"command": ["srv", "it's"]}
    tool = described(
        "read.note", {"title": nasty, "readOnlyHint": True, "evilHint": nasty}, name={"description": nasty}
    )
    full = pinned({**tool, "description": nasty}, origin)
    digest = pin({**tool, "description": nasty}, origin)
    text = mcp_proposal.draft("s.read.note", full, digest)
    found = catalogue.parse({"tools/s.read.note.toml": text}).tools["s.read.note"]
    assert found.pin == digest and found.effect is Effect.READ and found.output_trust.word == "untrusted"
    assert found.schema["properties"]["name"]["description"] == nasty
    for method, name in (("resources/read", "s.resources.read"), ("prompts/get", "s.prompts.get")):
        value = {"method": method, "server": origin}
        text = mcp_proposal.draft(name, value, mcp_proposal_pin(value))
        assert catalogue.parse({f"tools/{name}.toml": text}).tools[name].pin == mcp_proposal_pin(value)
    assert mcp_proposal.draft("../x", full, digest) == "" and mcp_proposal.draft("s.x", full, "") == ""


def mcp_proposal_pin(value):
    from remit.formats.jcs import digest

    return digest(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("reviewed = '{'", "not JSON"),
        ("reviewed = '[]'", "JSON object"),
        ("reviewed = '{}'", "no inputSchema"),
        ('reviewed = \'{"inputSchema":{}}\'\npin = "sha256:' + "0" * 64 + '"', "not that of"),
        ('reviewed = \'{"inputSchema":{"a":9007199254740993}}\'', "canonical"),
    ],
)
def test_reviewed_text_must_be_what_is_pinned(text, said):
    with pytest.raises(catalogue.BadCatalogue, match=said):
        catalogue.parse({"tools/x.toml": f'effect = "read"\n{text}\n'})


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("[servers.a]", "either"),
        ('[servers.a]\ncommand = ["x"]\nurl = "https://x/"', "either"),
        ('[servers."a.b"]\nurl = "https://x/"', "single"),
        ('[servers.a__b]\nurl = "https://x/"', "single"),
        *(
            (f'[servers.a]\nurl = "{url}"', "https://HOST")
            for url in (
                "http://x/mcp",
                "javascript:alert(1)",
                "file:///etc/passwd",
                "https://u:p@x/",
                "https://x/#f",
                "https://",
                "http://127.0.0.1.evil.example/",
                "http://localhost.evil.example/",
                "https://x y/",
                "https://ⅹ/",
                "http://[::2]/",
                "https://x:99999/",
                "HTTPS://x/",
                "https://x\\\\@evil.example/",
            )
        ),
        ('[servers.a]\ncommand = ["x"]\ncredential = "k"', "variable"),
        ('[servers.a]\nurl = "https://x/"\nvariable = "K"\ncredential = "k"', "variable"),
        *(
            (f'[servers.a]\ncommand = ["x"]\ncredential = "k"\nvariable = "{name}"', "loader")
            for name in ("LD_PRELOAD", "REMIT_URL", "a", "A-B")
        ),
        ('[servers.a]\ncommand = ["x"]\nasks = ["files"]', "asks"),
        ('[servers.a]\ncommand = ["x"]\nargs = ["y"]', "unknown key"),
    ],
)
def test_servers_are_read_strictly(table, said):
    with pytest.raises(catalogue.BadCatalogue, match=said):
        catalogue.parse({"remit.toml": table + "\n"})


def test_a_purpose_offers_the_credential_its_servers_need():
    files = {
        "remit.toml": '[people.o]\n[servers.a]\nurl = "https://x/"\ncredential = "k"\n[issuers.box]\nkind = "static"\n',
        "agents/b.toml": 'owner = "o"\n[[attestations]]\nmethod = "join_token"\n',
        "tools/a.t.toml": 'effect = "read"\n',
    }
    purpose = 'owner = "o"\nagents = ["b"]\nmax_duration = "1m"\nmax_calls = 1\n[[grants]]\ntool = "a.t"\n'
    with pytest.raises(catalogue.BadCatalogue, match="not offered"):
        catalogue.parse({**files, "purposes/p.toml": purpose})
    more = '[[credentials]]\nname = "k"\nissuer = "box"\nttl = "1m"\ngrants = { secret = "s" }\n'
    found = catalogue.parse({**files, "purposes/p.toml": purpose + more})
    assert found.servers["a"].credential == "k"
