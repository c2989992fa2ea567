"""SSH and X.509 certificates of tasks, at a real sshd, ssh-keygen and openssl; and lists that lose nothing."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from dataclasses import replace

import pytest
from cryptography import x509 as crypto_x509

from remit.domain.caller import CallerKind
from remit.domain.errors import BadField, BadToken, IssuerUnavailable, NotRecallable, WrongState
from remit.domain.keys import Rotation
from remit.domain.lease import Lease, LeaseState
from remit.formats import openssh_krl, revocable
from remit.formats.client_certificate import listed
from remit.verbs.rotate import replace_now, rotate
from remit.work.rotate_keys import rotate_keys
from tests.issuers.rigs import lease
from tests.issuers.rigs import ssh as ssh_rig
from tests.issuers.rigs import x509 as x509_rig
from tests.world import world


@pytest.fixture
def host(sshd):
    """(sshd, an issuer whose list it looks at)."""
    made = asyncio.run(ssh_rig.rig(Given(sshd))).issuer
    return sshd, made


class Given:
    def __init__(self, sshd):
        self.sshd = sshd

    def getfixturevalue(self, name):
        return self.sshd


def minted(made, grants=ssh_rig.READ, handle="remit_a1", **more):
    return asyncio.run(made.mint(lease(handle, grants, **more)))


def test_only_what_the_purpose_says_is_run(host):
    server, made = host
    done = ssh_rig.login(server, minted(made), command="cat /etc/shadow")
    assert done.stdout == "it is me\n"
    free = minted(made, {"principals": ["deploy"]}, "remit_free")
    assert "tty" not in ssh_rig.login(server, free, command="tty").stdout.replace("not a tty", "")
    for grants in (
        {"principals": ["eve"]},
        {"principals": ["deployer"]},
        {**ssh_rig.READ, "source_address": "10.9.9.0/24"},
    ):
        refused = ssh_rig.login(server, minted(made, grants, "remit_other"))
        assert refused.returncode == 255 and "Permission denied" in refused.stderr


def test_a_revoked_certificate_is_refused_by_sshd_and_by_ssh_keygen(host, tmp_path):
    server, made = host
    first = lease("remit_one", ssh_rig.READ)
    one, other = asyncio.run(made.mint(first)), minted(made, handle="remit_two")
    assert ssh_rig.login(server, one).returncode == 0
    asyncio.run(made.kill(first))
    assert ssh_rig.login(server, one).returncode == 255 and ssh_rig.login(server, other).returncode == 0
    for name, credential in (("one", one), ("other", other)):
        (tmp_path / name).write_text(credential.parts["certificate"])
    asked = ["ssh-keygen", "-Q", "-f", str(server.folder / "krl"), str(tmp_path / "one"), str(tmp_path / "other")]
    told = subprocess.run(asked, capture_output=True, text=True)
    assert "one" in told.stdout and "REVOKED" in told.stdout.split("\n")[0] and "ok" in told.stdout.split("\n")[1]
    shown = subprocess.run(["ssh-keygen", "-L", "-f", str(tmp_path / "one")], capture_output=True, text=True).stdout
    assert "remit_one" in shown and "force-command echo it is me" in shown and "Extensions: (none)" in shown


def test_a_list_that_was_cut_off_is_not_begun_anew(host):
    server, made = host
    krl = server.folder / "krl"
    whole = krl.read_bytes()
    krl.write_bytes(whole[:-3])
    try:
        with pytest.raises(IssuerUnavailable) as refused:
            asyncio.run(made.kill(lease("remit_cut", ssh_rig.READ)))
        assert "Restore" in refused.value.next_step
    finally:
        krl.write_bytes(whole)


def test_kills_at_once_of_two_replicas_lose_nothing(tmp_path):
    async def main():
        path = str(tmp_path / "krl")
        one, other = await ssh_rig.issuer(path), await ssh_rig.issuer(path)
        ended = [lease(f"remit_{i}", ssh_rig.READ) for i in range(60)]
        await asyncio.gather(*((one, other)[i % 2].kill(of) for i, of in enumerate(ended)))
        found = openssh_krl.parse((tmp_path / "krl").read_bytes())
        wanted = {revocable.serial(of.handle, of.expires_at, size=8) for of in ended}
        assert all(wanted <= set(serials) for serials in found.serials.values()) and found.version > 0
        past = lease("remit_past", ssh_rig.READ, seconds=-7300)
        await one.kill(past)  # it has been over for long: there is nothing to list
        assert revocable.serial(past.handle, past.expires_at, size=8) not in wanted

    asyncio.run(main())


def test_without_a_file_nothing_is_confirmed_and_what_is_ending_is_published(tmp_path):
    async def main():
        for rig, document in ((ssh_rig, "krl"), (x509_rig, "crl.pem")):
            w = await world(now=int(time.time() * 1000))
            made = await rig.issuer(w=w)
            of = lease("remit_open", {"principals": ["a"]} if rig is ssh_rig else {})
            with pytest.raises(NotRecallable) as lives_on:
                await made.kill(of)
            assert of.expires_at <= lives_on.value.until <= of.expires_at + 60_000
            from dataclasses import replace

            from remit.domain import events
            from remit.domain.change import Change

            row = replace(of, issuer=made._name, state=LeaseState.ENDING, version=0)
            await w.store.commit(Change(events.LeaseEnding(row.id, "t", "x"), w.call()).put(row, was=None))
            assert await w.store.get(Lease, row.id)
            _, body = await made.published(document)
            if rig is ssh_rig:
                serials = [s for found in openssh_krl.parse(body).serials.values() for s in found]
                assert serials == [revocable.serial(of.handle, of.expires_at, size=8)]
            else:
                assert listed(body)[1] == [revocable.serial(of.handle, of.expires_at, size=16)]
            assert await made.published("nothing") is None
            over = lease("remit_over", of.grants, seconds=-120)
            await made.kill(over)  # dead by itself

    asyncio.run(main())


def test_openssl_agrees(tmp_path):
    async def main():
        made = await x509_rig.issuer(str(tmp_path / "crl.pem"))
        await made.kill(lease("remit_first"))
        (tmp_path / "ca.pem").write_bytes((await made.published("ca.pem"))[1])
        of = lease("remit_tls", {"common_name": "bot", "dns": ["bot.example"], "uris": ["urn:task:1"]})
        (tmp_path / "c.pem").write_text((await made.mint(of)).parts["certificate"])

        def verified(purpose="sslclient"):
            words = [
                "openssl",
                "verify",
                "-CAfile",
                "ca.pem",
                "-CRLfile",
                "crl.pem",
                "-crl_check",
                "-purpose",
                purpose,
                "c.pem",
            ]
            return subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)

        assert verified().returncode == 0 and verified("sslserver").returncode != 0
        await made.kill(of)
        assert "revoked" in verified().stderr
        certificate = crypto_x509.load_pem_x509_certificate((tmp_path / "c.pem").read_bytes())
        assert certificate.not_valid_after_utc.timestamp() <= of.expires_at / 1000
        with pytest.raises(BadToken):
            listed(b"-----BEGIN X509 CRL-----\n")

    asyncio.run(main())


def test_what_is_late_or_lacks_a_parameter_is_not_signed(tmp_path):
    async def main():
        for rig, hole in (
            (ssh_rig, {"principals": ["{who}"]}),
            (x509_rig, {"common_name": "{who}"}),
            (x509_rig, {"dns": ["{h}"]}),
        ):
            made = await rig.issuer()
            made.checked(hole)
            with pytest.raises(BadField):
                await made.mint(lease("remit_hole", hole))
            for late in ({"window": 0}, {"seconds": 0}):
                with pytest.raises(WrongState):
                    await made.mint(lease("remit_late", {"principals": ["a"]} if rig is ssh_rig else {}, **late))

    asyncio.run(main())


def test_a_list_that_cannot_be_written_confirms_nothing(tmp_path):
    async def main():
        folder = tmp_path / "gone"
        folder.mkdir()
        made = await ssh_rig.issuer(str(folder / "krl"))
        shutil.rmtree(folder)
        with pytest.raises(IssuerUnavailable, match="cannot be written"):
            await made.kill(lease("remit_x", ssh_rig.READ))

    asyncio.run(main())


def test_serials_say_when_they_may_be_forgotten():
    now = 1_800_000_000_000
    ends = [now - 3_700_000, now - 3_000_000, now, now + 1]
    for size in (8, 16):
        serials = [revocable.serial(f"h{end}", end, size=size) for end in ends]
        assert revocable.remembered([*serials, serials[-1]], now, size=size) == sorted(serials[1:])
        assert all(serial.bit_length() <= 8 * size for serial in serials)
    assert revocable.serial("a", now, size=8) != revocable.serial("b", now, size=8)


def test_a_list_of_somebody_else_is_not_read():
    for data in (b"", b"x" * 100, b"\0" * 100):
        with pytest.raises(BadToken):
            openssh_krl.parse(data)
    krl = openssh_krl.Krl(7, 8, {b"key": [1, 2**64 - 1]})
    written = openssh_krl.encode(krl)
    assert openssh_krl.parse(written) == krl
    for cut in range(len(written)):
        with pytest.raises(BadToken):
            openssh_krl.parse(written[:cut])


def named(made):
    """The serials in its file."""
    data = made._list.path.read_bytes()
    if data.startswith(b"-----"):
        return [entry.serial_number for entry in crypto_x509.load_pem_x509_crl(data)]
    return [serial for serials in openssh_krl.parse(data).serials.values() for serial in serials]


@pytest.mark.parametrize("rig", [ssh_rig, x509_rig])
def test_many_kills_at_once_are_few_files_and_each_is_in_them_or_told(rig, run, tmp_path):
    async def main():
        path = tmp_path / "lists" / "list"
        path.parent.mkdir()
        made = await rig.issuer(str(path))
        ended = [lease(f"remit_{number}", seconds=600) for number in range(64)]
        written, rewrite = [], made._list._rewrite
        made._list._rewrite = lambda serials, read, write: (written.append(len(serials)), rewrite(serials, read, write))
        await asyncio.gather(*map(made.kill, ended))
        assert sum(written) == 64 and len(written) <= 3
        assert set(named(made)) == {made._list.serial(one) for one in ended}
        shutil.rmtree(path.parent)
        told = await asyncio.gather(*map(made.kill, ended), return_exceptions=True)
        assert all(isinstance(one, IssuerUnavailable) for one in told)
        path.parent.mkdir()
        given_up = asyncio.create_task(made.kill(ended[0]))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(*map(made.kill, ended[1:]))
        assert len(named(made)) >= 63

    run(main())


def test_while_an_authority_is_replaced_certificates_of_both_live_and_die(tmp_path):
    """A real TLS server, which reads `ca.pem` when it has time and the list for every connection."""
    times = Rotation(after=10**12, overlap=60_000, retention=600_000)

    async def main():
        w = await world(now=int(time.time() * 1000))
        w.env = replace(w.env, rotation=times)
        made = await x509_rig.issuer(str(tmp_path / "crl.pem"), w)
        operator = w.call(CallerKind.OPERATOR, "op")

        async def fetched():
            (tmp_path / "ca.pem").write_bytes((await made.published("ca.pem"))[1])

        async def answers(minted):
            try:
                return await asyncio.to_thread(server.ask, minted) == "bot"
            except OSError:
                return False

        before, before_too, after, last = (lease(f"remit_{i}") for i in range(4))
        old, old_too = await made.mint(before), await made.mint(before_too)  # the first mint makes the list
        await fetched()
        server = x509_rig.TlsServer(tmp_path, tmp_path / "ca.pem", tmp_path / "crl.pem")
        try:
            assert await answers(old)
            await rotate(w.env, operator, "x509")
            await fetched()
            assert await answers(old)
            w.clock.advance(times.overlap)
            await rotate_keys(w.env, w.clock.now)
            new = await made.mint(after)
            assert new.parts["ca"] != old.parts["ca"]
            assert await answers(new) and await answers(old)
            await made.kill(before)
            assert not await answers(old) and await answers(old_too) and await answers(new)
            await made.kill(after)
            assert not await answers(new) and await answers(old_too)
            await replace_now(w.env, operator, "x509", "leaked")
            await fetched()
            fresh = await made.mint(last)
            assert await answers(fresh) and not await answers(old_too) and not await answers(new)
        finally:
            server.stop()

    asyncio.run(main())


def test_a_list_is_there_before_it_is_needed_and_never_over(tmp_path):
    """sshd refuses every key while its list is not there; a TLS server refuses everybody once the list is over."""

    async def main():
        hosts = await ssh_rig.issuer(str(tmp_path / "krl"))
        await hosts.mint(lease("remit_first", ssh_rig.READ))
        assert openssh_krl.parse((tmp_path / "krl").read_bytes()).version > 0
        made = await x509_rig.issuer(str(tmp_path / "crl.pem"))
        now = int(time.time() * 1000)
        for days in (0, 8, 20):
            at = now + days * 86_400_000
            made._tools = replace(made._tools, clock=lambda at=at: at)
            made._list._clock = made._tools.clock
            of = lease(f"remit_{days}")
            await made.mint(replace(of, mint_until=at + 30_000, expires_at=at + 60_000))
            crl = crypto_x509.load_pem_x509_crl((tmp_path / "crl.pem").read_bytes())
            assert crl.next_update_utc.timestamp() * 1000 - at >= 3 * 86_400_000

    asyncio.run(main())
