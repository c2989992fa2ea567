"""What goes wrong between at a NATS: killers at once, pushes of others, restarts, servers that stand still, wrong keys."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import ssl
import time

import nkeys
import pytest

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import IssuerUnavailable, NotRecallable, WrongState
from remit.formats.nats_jwt import MARK
from remit.issuers import Tools, build

from .certificates import certificate
from .nats_house import Key, claims_of, connect, house, signed
from .rigs import lease
from .rigs.nats import WORK, issuer, works


@contextlib.asynccontextmanager
async def makers(house, count, **how):
    """Issuers of as many processes."""
    found = [issuer(house, **how) for _ in range(count)]
    try:
        yield found
    finally:
        for made in found:
            await made.close()


async def stored(house, server=0):
    """The account's claims as a server has them, and its JWT."""
    boss = await connect(house, house.root(), server)
    found = await boss.subscribe("found")
    await boss.publish(f"$SYS.REQ.ACCOUNT.{house.account.public}.CLAIMS.LOOKUP", reply="found")
    text = (await found.next_msg(5)).data.decode()
    await boss.close()
    return claims_of(text)["nats"], text


async def pushed(house, text, server=0):
    """As an operator's own tool would."""
    boss = await connect(house, house.root(), server)
    answer = await boss.request("$SYS.REQ.CLAIMS.UPDATE", text.encode(), timeout=5)
    assert json.loads(answer.data)["data"]["code"] == 200
    await boss.close()


async def until(check, seconds=6):
    end = time.monotonic() + seconds
    while not await check():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


def all_dead(house, minted):
    async def check():
        return not any([await works(house, one) for one in minted])

    return check


def test_many_killers_at_once_lose_nothing_and_touch_nothing_else():
    with house() as there:
        foreign = Key("U").public

        async def main():
            await pushed(there, there.account_claims(revocations={foreign: 1, "*": 5}, info_url="https://kept"))
            async with makers(there, 4) as made:
                leases = [lease(f"remit_k{n}", WORK) for n in range(80)]
                minted = [await made[0].mint(one) for one in leases]
                await asyncio.gather(*(made[n % 4].kill(one) for n, one in enumerate(leases)))
                assert not any([await works(there, one) for one in minted])
                said, text = await stored(there)
                ours = {one.reference: MARK + -(-leases[0].expires_at // 1000) for one in minted}
                assert set(said["revocations"]) == {foreign, "*", *ours}
                assert said["revocations"][foreign] == 1 and said["revocations"]["*"] == 5
                first = claims_of(there.account_claims(info_url="https://kept"))["nats"]
                assert {**said, "revocations": 0} == {**first, "revocations": 0}
                assert claims_of(text)["iss"] == there.operator_signing.public

        asyncio.run(main())


def test_what_somebody_overwrites_is_back_at_once(nats_house):
    """A stale copy, pushed by an operator's tool or by a process of ours that had read before."""

    async def main():
        async with makers(nats_house, 1) as (made,):
            _, stale = await stored(nats_house)
            wanted = [lease(f"remit_over{n}", WORK) for n in range(3)]
            minted = [await made.mint(one) for one in wanted]
            for one in wanted:
                await made.kill(one)
            await pushed(nats_house, stale)
            await until(all_dead(nats_house, minted), 10)
            said, _ = await stored(nats_house)
            assert {one.reference for one in minted} <= set(said["revocations"])

    asyncio.run(main())


def test_without_the_watch_a_stale_push_would_revive(nats_house):
    """The control: this is what the watch is for."""

    async def main():
        async with makers(nats_house, 1) as (made,):
            made._revocations._pushed = made._revocations._there._pushed = lambda _: None
            _, stale = await stored(nats_house)
            minted = await made.mint(lease("remit_control", WORK))
            await made.kill(lease("remit_control", WORK))
            assert not await works(nats_house, minted)
            await pushed(nats_house, stale)
            await asyncio.sleep(1)
            assert await works(nats_house, minted)
            await made.kill(lease("remit_control", WORK))
            assert not await works(nats_house, minted)

    asyncio.run(main())


def test_whoever_overwrote_a_kill_puts_it_right_when_the_killer_is_gone(nats_house):
    async def main():
        async with makers(nats_house, 2) as (first, second):
            wanted, other = lease("remit_fst", WORK), lease("remit_snd", WORK)
            minted = await first.mint(wanted)
            await second.mint(other)
            there, read, go = second._revocations._there, asyncio.Event(), asyncio.Event()
            push = there.push

            async def late(servers, text):
                read.set()
                await go.wait()
                there.push = push
                await push(servers, text)

            there.push = late
            killing = asyncio.create_task(second.kill(other))
            await read.wait()  # it has read, and will write without the first
            await first.kill(wanted)
            assert not await works(nats_house, minted)
            await first.close()
            go.set()
            await killing
            assert not await works(nats_house, minted)
            said, _ = await stored(nats_house)
            assert minted.reference in said["revocations"]

    asyncio.run(main())


def test_a_restart_keeps_what_was_revoked():
    with house() as there:

        async def main():
            async with makers(there, 1) as (made,):
                killed, living = lease("remit_gone", WORK), lease("remit_lives", WORK)
                gone, lives = await made.mint(killed), await made.mint(living)
                await made.kill(killed)
                there.servers[0].stop()
                with pytest.raises(IssuerUnavailable) as refused:
                    await made.kill(killed)
                assert not set(refused.value.inside) - set(
                    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789"
                )
                there.servers[0].start()
                assert not await works(there, gone) and await works(there, lives)
                await made.kill(living)
                assert not await works(there, lives)

        asyncio.run(main())


def test_what_was_overwritten_while_nobody_listened_is_back_when_somebody_does():
    with house() as there:

        async def main():
            async with makers(there, 1) as (made,):
                minted = await made.mint(lease("remit_deaf", WORK))
                await made.kill(lease("remit_deaf", WORK))
                folder = there.servers[0].folder / "jwt"
                there.servers[0].stop()
                for file in folder.rglob(f"{there.account.public}.jwt"):
                    file.write_text(there.account_jwt)
                there.servers[0].start()
                await until(all_dead(there, [minted]), 8)

        asyncio.run(main())


def test_a_kill_that_waits_for_one_server_of_a_cluster_is_not_confirmed():
    with house(2) as there:

        async def main():
            await until(joined(there))
            async with makers(there, 1) as (made,):
                wanted = lease("remit_two", WORK)
                minted = await made.mint(wanted)
                clients = [await connect(there, minted.parts["creds"], number) for number in (0, 1)]
                there.servers[1].process.send_signal(signal.SIGSTOP)
                try:
                    with pytest.raises(IssuerUnavailable):
                        await made.kill(wanted)
                finally:
                    there.servers[1].process.send_signal(signal.SIGCONT)
                await made.kill(wanted)
                await asyncio.sleep(0.1)
                assert not any(client.is_connected for client in clients)
                for number in (0, 1):
                    assert not await works(there, minted, number)
                there.servers[1].process.terminate()  # it says good-bye, so nobody waits for it
                there.servers[1].process.wait()

                async def one_left():
                    with contextlib.suppress(IssuerUnavailable):
                        await made.kill(lease("remit_left", WORK))
                        return True

                await until(one_left, 15)
                there.servers[1].start()
                await until(joined(there))
                for number in (0, 1):
                    await until(all_dead_at(there, minted, number))

        asyncio.run(main())


def all_dead_at(there, minted, number):
    async def check():
        return not await works(there, minted, number)

    return check


def joined(there):
    async def check():
        with contextlib.suppress(Exception):
            boss = await connect(there, there.root())
            answer = json.loads((await boss.request("$SYS.REQ.SERVER.PING.STATSZ", b"", timeout=5)).data)
            await boss.close()
            return answer["statsz"]["active_servers"] == len(there.servers)

    return check


def test_a_server_that_stands_still_is_unavailable_in_bounded_time():
    with house() as there:

        async def main():
            async with makers(there, 1) as (made,):
                wanted = lease("remit_warm", WORK)
                minted = await made.mint(wanted)
                await made.kill(lease("remit_other", WORK))
                there.servers[0].process.send_signal(signal.SIGSTOP)
                begun = time.monotonic()
                try:
                    with pytest.raises(IssuerUnavailable):
                        await made.kill(wanted)
                    with pytest.raises(IssuerUnavailable):
                        await issuer(there).kill(wanted)
                    assert time.monotonic() - begun < 22
                finally:
                    there.servers[0].process.send_signal(signal.SIGCONT)
                await made.kill(wanted)
                assert not await works(there, minted)

        asyncio.run(main())


def test_what_is_over_is_forgotten_and_what_others_revoked_is_not():
    with house() as there:
        foreign = Key("U").public

        async def main():
            now = [int(time.time() * 1000)]
            async with makers(there, 1, clock=lambda: now[0]) as (made,):
                await pushed(there, there.account_claims(revocations={foreign: 1}))
                for n in range(5):
                    await made.kill(lease(f"remit_old{n}", WORK))
                now[0] += 60_000 + 500_000  # over, but a clock may be behind
                later = lease("remit_new", WORK, seconds=1200.0)
                await made.kill(later)
                assert len((await stored(there))[0]["revocations"]) == 7
                now[0] += 200_000
                await made.kill(lease("remit_newer", WORK, seconds=1200.0))
                said, _ = await stored(there)
                assert len(said["revocations"]) == 3 and said["revocations"][foreign] == 1
                await pushed(there, there.account_claims())  # an old copy: only what may still be shown comes back

                async def back():
                    return len((await stored(there))[0].get("revocations", {})) == 2

                await until(back)
                now[0] += 10**7
                assert await made.kill(lease("remit_never", WORK)) is None  # over: nobody is asked

        asyncio.run(main())


def test_without_a_way_to_revoke_it_dies_by_itself(nats_house):
    async def main():
        now = [int(time.time() * 1000)]
        few = {key: value for key, value in nats_house.settings().items() if not key.startswith(("operator", "system"))}
        made = build(
            IssuerConfig("bus", "nats", few), Tools(None, None, None, "", nats_house.environ(), lambda: now[0])
        )
        wanted = lease("remit_alone", WORK)
        assert await works(nats_house, await made.mint(wanted))
        with pytest.raises(NotRecallable) as lives_on:
            await made.kill(wanted)
        assert lives_on.value.until == wanted.expires_at + 60_000
        now[0] = lives_on.value.until
        await made.kill(wanted)
        await made.close()

    asyncio.run(main())


def test_a_replaced_signing_key_leaves_what_was_minted_killable():
    with house() as there:

        async def main():
            async with makers(there, 1) as (made,):
                wanted = lease("remit_turned", WORK)
                minted = await made.mint(wanted)
                async with makers(there, 1, environ={"SIGNING": Key("A").seed}) as (turned,):
                    await turned.kill(wanted.known_as(minted.reference))
                async with makers(there, 1, environ={"SIGNING": ""}) as (without,):
                    await without.kill(wanted.known_as(minted.reference))
                    with pytest.raises(IssuerUnavailable):
                        await without.mint(wanted)
                assert not await works(there, minted)

        asyncio.run(main())


@pytest.mark.parametrize(
    "which", ["not trusted by the server", "not in operator_keys", "an account's", "no seed", "empty"]
)
def test_an_operators_key_that_is_wrong_changes_nothing(nats_house, which):
    """A server stores what it will not go by: the whole account would be refused at its next start."""
    key = Key("O")
    seed = {"an account's": nats_house.signing.seed, "no seed": "SOcanary", "empty": ""}.get(which, key.seed)
    keys = [nats_house.operator.public, nats_house.operator_signing.public]
    keys += [key.public] if which == "not trusted by the server" else []

    async def main():
        before = await stored(nats_house)
        async with makers(nats_house, 1, environ={"OPERATOR": seed}, operator_keys=keys) as (made,):
            minted = await made.mint(lease("remit_wrong", WORK))
            with pytest.raises(IssuerUnavailable) as refused:
                await made.kill(lease("remit_wrong", WORK))
            assert not seed or seed not in f"{refused.value} {refused.value.inside} {refused.value.next_step}"
            assert await stored(nats_house) == before and await works(nats_house, minted)

    asyncio.run(main())


@pytest.mark.parametrize("which", ["of another account", "no creds", "expired", "empty", "blind"])
def test_system_credentials_that_are_wrong_are_unavailable(nats_house, which):
    system, key = nats_house.system, Key("U")
    blind = nats_house.user(system, "blind", ["$SYS.REQ.SERVER.PING.STATSZ"], ["_INBOX_remit.>"])
    over = signed(system, key.public, "over", {"type": "user", "pub": {}, "sub": {}}, exp=1)
    creds = {
        "of another account": nats_house.everything(),
        "no creds": "canary",
        "expired": blind.replace(blind.splitlines()[1], over),
        "empty": "",
        "blind": blind,
    }[which]

    async def main():
        async with makers(nats_house, 1, environ={"SYSTEM": creds}) as (made,):
            async with asyncio.timeout(15):
                with pytest.raises(IssuerUnavailable) as refused:
                    await made.kill(lease("remit_lost", WORK))
            shown = f"{refused.value} {refused.value.inside} {refused.value.next_step}"
            assert not any(line and line in shown for line in creds.splitlines())

    asyncio.run(main())


def test_an_account_that_somebody_in_the_system_account_made_up_is_never_signed(nats_house):
    async def main():
        rogue, forger = await connect(nats_house, nats_house.root()), Key("O")
        forged = nats_house.account_claims(
            by=forger, default_permissions={"pub": {"allow": [">"]}}, description="forged"
        )

        async def lie(message):
            await rogue.publish(message.reply, forged.encode())

        await rogue.subscribe("$SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP", cb=lie)
        await rogue.flush()
        async with makers(nats_house, 1) as (made,):
            for n in range(10):
                with contextlib.suppress(IssuerUnavailable):
                    await made.kill(lease(f"remit_lie{n}", WORK))
        await rogue.close()
        assert (await stored(nats_house))[0]["description"] == "kept"

    asyncio.run(main())


def test_a_list_that_does_not_fit_is_said():
    with house(more="max_payload: 6000") as there:

        async def main():
            async with makers(there, 1) as (made,):
                with pytest.raises(IssuerUnavailable, match="too long"):
                    for n in range(100):
                        await made.kill(lease(f"remit_long{n}", WORK))
                assert n > 10

        asyncio.run(main())


def test_a_kill_that_is_cancelled_leaves_the_account_whole(nats_house):
    async def main():
        async with makers(nats_house, 1) as (made,):
            for turn in range(12):
                wanted = lease(f"remit_cut{turn}", WORK)
                minted = await made.mint(wanted)
                killing = asyncio.create_task(made.kill(wanted))
                await asyncio.sleep(turn * 0.0005)
                killing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await killing
                await made.kill(wanted)
                assert not await works(nats_house, minted)
            assert (await stored(nats_house))[0]["description"] == "kept"

    asyncio.run(main())


@pytest.mark.parametrize("seed", ["", "canary", "SUcanary", "operator", "identity", "user"])
def test_a_signing_key_that_cannot_be_used_is_not_repeated(nats_house, seed, run):
    of = {"operator": nats_house.operator_signing, "identity": nats_house.account, "user": Key("U")}
    text = of[seed].seed if seed in of else seed

    async def main():
        async with makers(nats_house, 1, environ={"SIGNING": text}) as (made,):
            for act in (made.mint, made.kill):
                with pytest.raises(IssuerUnavailable) as refused:
                    await act(lease("remit_x", WORK))
                assert not text or text not in f"{refused.value} {refused.value.inside} {refused.value.next_step}"

    run(main())


def test_seeds_and_credentials_may_be_in_files_that_change(nats_house, tmp_path):
    async def main():
        few = {key: value for key, value in nats_house.settings().items() if not key.endswith("_env")}
        names = {"SIGNING": "signing_seed", "OPERATOR": "operator_seed", "SYSTEM": "system_creds"}
        few |= {f"{name}_file": str(tmp_path / name) for name in names.values()}
        made = build(IssuerConfig("bus", "nats", few), Tools(None, None, None, "", {}))
        with pytest.raises(IssuerUnavailable, match="signing_seed") as refused:
            await made.mint(lease("remit_file", WORK))
        assert str(tmp_path) in refused.value.next_step
        for variable, name in names.items():
            (tmp_path / name).write_text(nats_house.environ()[variable] + "\n")
        minted = await made.mint(lease("remit_file", WORK))
        await made.kill(lease("remit_file", WORK))
        assert not await works(nats_house, minted)
        (tmp_path / "system_creds").write_text(nats_house.remits())
        await made.close()
        await made.kill(lease("remit_file2", WORK))
        await made.close()

    asyncio.run(main())


def test_over_tls_the_server_is_verified(tmp_path):
    cert, key = certificate(tmp_path)
    with house(more=f"tls {{ cert_file: '{cert}', key_file: '{key}' }}") as there:
        url = f"tls://127.0.0.1:{there.servers[0].port}"

        async def main():
            async with makers(there, 1, url=url) as (trusting_nobody,):
                with pytest.raises(IssuerUnavailable):
                    await trusting_nobody.kill(lease("remit_tls", WORK))
            async with makers(there, 1, url=url, ca_file=str(cert)) as (made,):
                wanted = lease("remit_tls", WORK)
                minted = await made.mint(wanted)
                assert minted.parts["url"] == url
                tls = ssl.create_default_context(cafile=str(cert))
                client = await connect(there, minted.parts["creds"], tls=tls)
                await client.close()
                await made.kill(wanted)
                with pytest.raises(Exception, match=r"(?i)authorization"):
                    await connect(there, minted.parts["creds"], tls=tls)
            async with makers(there, 1, url=url, ca_file="/nonexistent") as (made,):
                with pytest.raises(IssuerUnavailable):
                    await made.kill(lease("remit_tls", WORK))

        asyncio.run(main())


def test_a_mint_in_another_process_after_the_kill_is_dead_on_arrival(nats_house):
    async def main():
        async with makers(nats_house, 2) as (first, second):
            wanted = lease("remit_apart", WORK)
            await first.kill(wanted)
            late = await second.mint(wanted)
            assert not await works(nats_house, late)
            with pytest.raises(WrongState):
                await second.mint(lease("remit_apart", WORK, window=-1))

    asyncio.run(main())


def test_what_it_minted_is_what_the_reference_implementation_reads(nats_house, run):
    async def main():
        made = issuer(nats_house)
        minted = await made.mint(lease("remit_ref", WORK))
        lines = minted.parts["creds"].splitlines()
        seed = next(line for line in lines if line.startswith("SU"))
        pair = nkeys.from_seed(bytearray(seed.encode()))
        claims = claims_of(lines[1])
        assert pair.public_key.decode() == claims["sub"] == minted.reference
        assert claims["iss"] == nats_house.signing.public and claims["name"] == "remit_ref"
        again = await issuer(nats_house).mint(lease("remit_ref", WORK))
        assert again.reference == minted.reference
        assert (await made.mint(lease("remit_ref2", WORK))).reference != minted.reference

    run(main())


def test_one_whose_sessions_do_not_end_holds_up_nobody_else(nats_house):
    async def main():
        async with makers(nats_house, 1) as (made,):
            wanted = [lease(f"remit_poison{n}", WORK) for n in range(6)]
            minted = [await made.mint(one) for one in wanted]
            there = made._revocations._there
            really = there.connections

            async def clinging(servers, user):
                return 1 if user == minted[0].reference else await really(servers, user)

            there.connections = clinging
            done = await asyncio.gather(made.kill(wanted[0]), *map(made.kill, wanted), return_exceptions=True)
            assert [type(one) for one in done] == [IssuerUnavailable] * 2 + [type(None)] * 5
            there.connections = really
            await made.kill(wanted[0])
            assert not made._revocations._waiting and not any([await works(nats_house, one) for one in minted])

    asyncio.run(main())
