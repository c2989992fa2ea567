"""The `[http]` table, origins, templates, and proposals from an OpenAPI document."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.domain.errors import BadCatalogue, BadField
from remit.formats import http_origin, http_tool
from remit.formats.catalogue import parse
from remit.formats.http_path import Template, parts_of
from remit.formats.http_request import Received, Routes, outgoing
from remit.formats.openapi_import import propose

TOOL = """
effect = "write"
[arguments.customer]
type = "text"
[arguments.dry]
type = "boolean"
required = false
[arguments.amount]
type = "integer"
"""
HTTP = """
[http]
origin = "https://api.example"
method = "POST"
path = "/v1/customers/{customer}/refunds"
query = ["dry"]
body = "json"
"""


def read(http: str = HTTP, tool: str = TOOL, **others: str):
    files = {"tools/refund.toml": tool + http, **{f"tools/{n}.toml": text for n, text in others.items()}}
    return parse(files).tools["refund"]


def test_an_http_tool_is_pinned_to_its_request():
    one, other = read(), read(HTTP.replace("refunds", "payouts"))
    assert one.http.origin == "https://api.example" and one.pin.startswith("sha256:") and one.pin != other.pin
    assert one.pin == read(HTTP.replace("https://api.example", "HTTPS://API.Example:443")).pin


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"https://api.example"', '"https://api.example/v1"', "without path"),
        ('"https://api.example"', '"https://user@api.example"', "'origin'"),
        ('"https://api.example"', '"https://api.example."', "plain name"),
        ('"https://api.example"', '"https://аpi.example"', "xn--"),
        ('"https://api.example"', '"https://api%2eexample"', "plain name"),
        ('"https://api.example"', '"https://0x7f.1"', "plain name|address"),
        ('"https://api.example"', '"https://127.1"', "address"),
        ('"https://api.example"', '"https://[::ffff:1.2.3.4]"', "IPv6"),
        ('"https://api.example"', '"https://api.example:0443"', "port"),
        ('"https://api.example"', '"https://api.example:99999"', "port"),
        ('"https://api.example"', '"http://api.example"', "must be https"),
        ('"https://api.example"', '"http://127.0.0.1:80"', "must be https"),
        ('"https://api.example"', '"ftp://api.example"', "must be https"),
        ('"POST"', '"POTS"', "did you mean 'POST'"),
        ('"POST"', '"GET"', "GET has no body"),
        ('body = "json"', "", "there is no 'body'"),
        ('body = "json"', 'body = "xml"', "cannot be 'xml'"),
        ("{customer}", "{custom}", "not a required argument"),
        ("{customer}", "{dry}", "not a required argument"),
        ("{customer}", "x{customer}", "is not a segment"),
        ("{customer}", "{customer...}", "must be the last"),
        ("/v1/", "/v1//", "is not a segment"),
        ("/v1/", "/../", "is not a segment"),
        ("/v1/", "/%76/", "is not a segment"),
        ("/v1/", "/v1?x=/", "is not a segment"),
        ('query = ["dry"]', 'query = ["dri"]', "must be an argument"),
        ('query = ["dry"]', 'query = ["dry", "customer"]', "taken from one place"),
        ('body = "json"', 'body = "json"\nheaders = ["Host"]', "cannot be passed on"),
        ('body = "json"', 'body = "json"\nheaders = ["X-HTTP-Method-Override"]', "cannot be passed on"),
        ('body = "json"', 'body = "json"\nheaders = ["Authorization"]', "cannot be passed on|no further"),
        ('body = "json"', 'body = "json"\nheaders = ["a: b"]', "cannot be passed on"),
        ('body = "json"', 'body = "json"\nheaders = ["X-Key"]\nheader = "x-key"', "cannot be passed on"),
        ('body = "json"', 'body = "json"\nheader = "Cookie"', "cannot"),
        ('body = "json"', 'body = "json"\nheader = "Host"', "cannot"),
        ('body = "json"', 'body = "json"\nscheme = "a b"', "one word"),
        ('body = "json"', 'body = "json"\nfollow = true', "unknown key"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(before, after, said):
    with pytest.raises(BadCatalogue, match=said) as bad:
        read(HTTP.replace(before, after))
    assert bad.value.file == "tools/refund.toml" and bad.value.line > 10


def test_an_http_tool_is_no_mcp_tool_too():
    with pytest.raises(BadCatalogue, match="not both"):
        read(HTTP, 'server = "x"\n' + TOOL)


PLAIN = 'effect = "read"\n{arguments}[http]\norigin = "{origin}"\nmethod = "{method}"\npath = "{path}"\n{more}'


def plain(path: str, origin: str = "https://api.example", method: str = "GET", more: str = "") -> str:
    names = Template.parse(path).holes
    arguments = "".join(f'[arguments.{n}]\ntype = "text"\n' for n in names)
    return PLAIN.format(arguments=arguments, origin=origin, method=method, path=path, more=more)


@pytest.mark.parametrize(
    ("one", "other", "fits"),
    [
        ("/a/{x}", "/a/me", True),
        ("/a/{x}", "/a/{y}", False),
        ("/a/{x}", "/A/{y}", False),
        ("/a/{x}", "/b/{y}", True),
        ("/a/{x}/c", "/{y}/b/c", False),
        ("/a/{x...}", "/a/{y}", True),
        ("/a/{x...}", "/a/{y}/b", True),
        ("/a/{x...}", "/{y}/b", False),
        ("/a/{x...}", "/a/{y...}", False),
        ("/{x...}", "/a/{y...}", True),
        ("/a/", "/a", True),
        ("/a/{x}", "/a/", True),
        ("/a", "/a", False),
    ],
)
def test_two_tools_never_mean_one_request(one, other, fits):
    files = {"tools/one.toml": plain(one), "tools/other.toml": plain(other)}
    if fits:
        assert len(parse(files).tools) == 2
        return
    with pytest.raises(BadCatalogue, match="can mean the same request"):
        parse(files)
    apart = {**files, "tools/other.toml": plain(other, method="DELETE")}
    assert len(parse(apart).tools) == 2


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (plain("/b", "http://localhost:8080", more="allow_private_network = true\n"), "one scheme"),
        (plain("/b", "https://localhost:8080"), "allow_private_network differs"),
    ],
)
def test_one_host_and_port_has_one_meaning(other, said):
    here = plain("/a", "https://localhost:8080", more="allow_private_network = true\n")
    with pytest.raises(BadCatalogue, match=said):
        parse({"tools/one.toml": here, "tools/other.toml": other})


SEGMENT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(st.lists(SEGMENT, min_size=1, max_size=4))
def test_a_path_that_is_written_is_read_as_the_same_values(parts):
    """Or neither: nothing passes in one direction alone."""
    template = Template.parse("/x/{a}/{rest...}") if len(parts) > 1 else Template.parse("/x/{a}")
    values = {"a": parts[0]} | ({"rest": "/".join(parts[1:])} if len(parts) > 1 else {})
    try:
        path = template.filled(values)
    except BadField:
        return
    assert template.values(parts_of(path)) == values


@given(st.lists(st.sampled_from(["a", "A", "b", "{x}", "{y}", "{r...}"]), min_size=1, max_size=3),
       st.lists(st.sampled_from(["a", "A", "b", "{x}", "{y}", "{r...}"]), min_size=1, max_size=3),
       st.lists(st.sampled_from(["a", "A", "b", "c"]), min_size=1, max_size=4))  # fmt: skip
def test_overlap_and_within_are_what_they_say(one, other, path):
    try:
        mine, theirs = Template.parse("/" + "/".join(one)), Template.parse("/" + "/".join(other))
    except BadField:
        return
    by_mine, by_theirs = (t.values(path, loosely=True) is not None for t in (mine, theirs))
    assert not (by_mine and by_theirs) or mine.overlaps(theirs)
    assert mine.overlaps(theirs) == theirs.overlaps(mine)
    assert not (mine.within(theirs) and by_mine) or by_theirs


@given(
    st.dictionaries(st.sampled_from(["t", "n", "l"]), st.text(max_size=10), min_size=0), st.integers(-(10**15), 10**15)
)
def test_what_is_sent_says_what_was_decided_on(texts, number):
    schema = {"properties": {"t": {"type": "string"}, "n": {"type": "integer"}, "l": {"type": "array", "items": {}}}}
    tool = parse({"tools/t.toml": f"effect = \"write\"\nschema = '''{json.dumps(schema)}'''\n[http]\n"
                  'origin = "https://a.example"\nmethod = "POST"\npath = "/p"\nquery = ["t", "n", "l"]\n'}).tools["t"]  # fmt: skip
    routes = Routes([("t", tool.http, tool.pin, tool.schema)])
    arguments = {"n": number, **({"t": texts["t"]} if "t" in texts else {})}
    if texts.get("l"):
        arguments["l"] = [texts["l"], "x"]
    at = Received("POST", "https://a.example", "/p", "", "", b"")
    meant = routes.meant(at)
    sent = outgoing(meant, arguments)
    path, _, query = sent.target.partition("?")
    again = Received("POST", "https://a.example", path, query, "", b"")
    try:
        found = routes.meant(again).arguments(again)
    except BadField:
        assert "\x00" in repr(texts) or "\\x00" in repr(texts)
        return
    assert found == arguments


def test_an_origin_has_one_spelling():
    for text in ("https://a.example", "https://A.EXAMPLE:443", "https://a.example:8443", "https://[2001:db8::1]:1"):
        assert http_origin.parse(str(http_origin.parse(text))) == http_origin.parse(text)
    assert not http_origin.parse("https://127.0.0.1.example").is_loopback
    assert http_origin.parse("http://[::1]:80").is_loopback


DOCUMENT = {
    "openapi": "3.0.3",
    "paths": {
        "/customers/{customer-id}/refunds": {
            "parameters": [{"name": "customer-id", "in": "path", "required": True, "schema": {"type": "string"}}],
            "post": {
                "operationId": "createRefund",
                "summary": "Refund\x00 a customer",
                "x-effect": "read",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refund"}}},
                },
            },
            "get": {"parameters": [
                {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 100}},
                {"name": "above", "in": "query", "schema": {"type": "number", "minimum": 0}},
                {"name": "tag", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
            ]},
        },
        "/items/{id}": {"delete": {"operationId": "readItem", "parameters": [
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]}},
        "/items/{id}:cancel": {"post": {"parameters": [{"name": "id", "in": "path", "schema": {}}]}},
        "/upload": {"post": {"requestBody": {"content": {"multipart/form-data": {"schema": {}}}}}},
        "/keyed": {"get": {"parameters": [{"name": "X-Tenant", "in": "header", "required": True, "schema": {}}]}},
        "/round": {"post": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Round"}}}}}},
        "/away": {"post": {"requestBody": {"$ref": "https://evil.example/x.json"}}},
        "/same/{a}": {"get": {"operationId": "a", "parameters": [{"name": "a", "in": "path", "schema": {"type": "string"}}]}},
        "/same/{b}": {"get": {"operationId": "b", "parameters": [{"name": "b", "in": "path", "schema": {"type": "string"}}]}},
    },
    "components": {"schemas": {
        "Refund": {"type": "object", "required": ["amount"], "properties": {
            "amount": {"type": "string", "pattern": "(?=lookahead)"}, "note": {"type": "string", "nullable": True},
            "fee": {"type": "number", "minimum": 0, "exclusiveMinimum": True}}},
        "Round": {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Round"}}},
    }},
}  # fmt: skip


def test_an_openapi_document_becomes_proposals_that_lower_nothing():
    found = {
        each.operation: each
        for each in propose(json.dumps(DOCUMENT), "https://api.example/v1", prefix="shop", credential="api")
    }
    left = {operation: each.why for operation, each in found.items() if not each.text}
    assert set(left) == {
        "POST /items/{id}:cancel",
        "POST /upload",
        "GET /keyed",
        "POST /round",
        "POST /away",
        "GET /same/{b}",
    }, left
    tools = parse({f"tools/{each.name}.toml": each.text for each in found.values() if each.text}).tools
    refund = tools["shop.create_refund"]
    assert (refund.effect.word, refund.egress, refund.output_trust.word) == ("write", True, "untrusted")
    assert refund.http.path == "/v1/customers/{customer_id}/refunds" and refund.http.credential == "api"
    assert (
        refund.matters == ("customer_id", "amount", "fee")
        and refund.schema["properties"]["fee"]["exclusiveMinimum"] == 0
    )
    assert refund.title == "Refund  a customer" and refund.schema["required"] == ["customer_id", "amount"]
    assert tools["shop.read_item"].effect.word == "irreversible"
    listed = tools["shop.get_customers_customer_id_refunds"]
    assert listed.effect.word == "read" and listed.http.query == ("limit", "above", "tag")
    assert listed.schema["properties"]["above"]["type"] == "string"
    ours = propose(json.dumps(DOCUMENT), "https://api.example", ours=True)
    assert not any("egress = true" in each.text for each in ours)


@pytest.mark.parametrize(
    "source",
    ["", "[]", "{}", '{"swagger": "2.0"}', "a: &a [*a]", "[" * 100_000, "a: !!python/object:os.system x", "\x00"],
)
def test_what_is_no_openapi_document_is_refused(source):
    with pytest.raises(BadField):
        propose(source, "https://api.example")


def test_import_writes_new_files_and_never_over_old_ones(tmp_path):
    import subprocess

    from tests.server import REMIT

    api, into = tmp_path / "api.json", tmp_path / "catalogue"
    api.write_text(json.dumps(DOCUMENT))
    command = [REMIT, "tool", "import", "--openapi", str(api), "--origin", "https://api.example", "--into", str(into)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "post_upload: skipped its body" in done.stdout, done.stdout
    mine = into / "tools" / "read_item.toml"
    mine.write_text("# mine\n")
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "read_item.toml: kept" in again.stdout and mine.read_text() == "# mine\n"
    shown = subprocess.run([*command[:-2], "--json"], capture_output=True, text=True, check=False)
    assert {"tool", "file", "toml", "state", "why"} <= set(json.loads(shown.stdout.splitlines()[0]))


def test_methods_are_the_ones_an_effect_is_known_for():
    assert set(http_tool.METHODS) == {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
