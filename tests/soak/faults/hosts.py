"""Hosts on one switch: network namespaces, what is cut, lost or slow between them, and certificates for their names.

Only ever used within `lane`'s own network, mount and process namespaces: nothing here touches the machine's network.
Cuts and losses are elements of nftables sets on the switch, one direction each, so that a link can be cut one way.
"""

from __future__ import annotations

import datetime
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NEEDS = {"ip": "iproute2", "tc": "iproute2", "nft": "nftables", "unshare": "util-linux", "setpriv": "util-linux"}
FAKETIME = "/usr/lib/*/faketime/libfaketimeMT.so.1"
LOSS = 30  # percent
SLOW = ("rate", "160kbit", "burst", "3kb", "latency", "4s")
_SWITCH = f"""
table bridge faults {{
  set cut {{ type ipv4_addr . ipv4_addr; }}
  set lossy {{ type ipv4_addr . ipv4_addr; }}
  chain forward {{
    type filter hook forward priority 0;
    ip saddr . ip daddr @cut drop
    ip saddr . ip daddr @lossy numgen random mod 100 < {LOSS} drop
  }}
}}
"""


def missing() -> str:
    """What this machine lacks to run the lane, as the command that installs it; empty: nothing."""
    packages = {package for command, package in NEEDS.items() if shutil.which(command) is None}
    if not faketime():
        packages.add("libfaketime")
    return f"make soak-packages (apt-get install {' '.join(sorted(packages))})" if packages else ""


def faketime() -> str:
    """The library, or nothing."""
    found = sorted(Path("/").glob(FAKETIME.removeprefix("/")))
    return str(found[0]) if found else ""


def run(*command: str, stdin: str = "") -> str:
    """Run one command of the system; what it said is in the error."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Switch:
    """The network: `hosts` by name, each with an address; `gate` is this process's own, which is never cut."""

    gate = "10.77.0.1"

    def __init__(self, names: Sequence[str]) -> None:
        self.address = {name: f"10.77.0.{10 + number}" for number, name in enumerate(names)}
        self._faults: Counter[tuple[str, str]] = Counter()
        Path("/run/netns").mkdir(exist_ok=True)
        run("mount", "-t", "tmpfs", "none", "/run/netns")
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "lan", "type", "bridge")
        run("ip", "link", "set", "lan", "up")
        run("ip", "address", "add", f"{self.gate}/24", "dev", "lan")
        run("nft", "-f", "-", stdin=_SWITCH)
        for name, address in self.address.items():
            run("ip", "netns", "add", name)
            run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "link", "set", name, "master", "lan", "up")
            run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                run("ip", "-n", name, "link", "set", device, "up")

    def names(self, file: Path, known: Mapping[str, Sequence[str]]) -> None:
        """Names that every host knows; one may be that of several hosts, any of which is tried."""
        lines = ["127.0.0.1 localhost", *(f"{self.address[h]} {name}" for name, found in known.items() for h in found)]
        file.write_text("\n".join(lines) + "\n")
        run("mount", "--bind", str(file), "/etc/hosts")

    def cut(self, a: str, b: str, *, one_way: bool = False) -> None:
        """Nothing arrives at `b` from `a`, nor the other way round."""
        self._change("add", "cut", a, b, one_way)

    def lose(self, a: str, b: str) -> None:
        """Some of what is sent between these two is lost."""
        self._change("add", "lossy", a, b, False)

    def heal(self, a: str, b: str, *, one_way: bool = False) -> None:
        """As `cut` found it."""
        self._change("delete", "cut", a, b, one_way)

    def keep(self, a: str, b: str) -> None:
        """As `lose` found it."""
        self._change("delete", "lossy", a, b, False)

    def _change(self, how: str, which: str, a: str, b: str, one_way: bool) -> None:
        for x, y in [(a, b)] if one_way else [(a, b), (b, a)]:
            one = (which, f"{self.address[x]} . {self.address[y]}")
            self._faults[one] += 1 if how == "add" else -1
            if self._faults[one] == (1 if how == "add" else 0):  # several faults may need it
                run("nft", how, "element", "bridge", "faults", which, f"{{ {one[1]} }}")

    def isolate(self, name: str) -> None:
        """Its cable is out; connections that are open do not learn of it."""
        run("ip", "link", "set", name, "down")

    def rejoin(self, name: str) -> None:
        """Its cable is in."""
        run("ip", "link", "set", name, "up")

    def slow(self, name: str) -> None:
        """What is sent to it queues for seconds."""
        run("tc", "qdisc", "add", "dev", name, "root", "tbf", *SLOW)

    def quicken(self, name: str) -> None:
        """As `slow` found it."""
        run("tc", "qdisc", "del", "dev", name, "root")


def small_disk(folder: Path, size: str) -> Path:
    """A file system of that size."""
    folder.mkdir(parents=True)
    run("mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder))
    return folder


def fill(folder: Path) -> None:
    """Not a byte is left on it."""
    with (folder / "ballast").open("wb", buffering=0) as ballast:
        step = 1 << 20
        while step:
            try:
                if ballast.write(b"\0" * step) < step:
                    step //= 2
            except OSError:
                step //= 2


def empty(folder: Path) -> None:
    """As `fill` found it."""
    (folder / "ballast").unlink(missing_ok=True)


def certificates(folder: Path, names: dict[str, str]) -> Path:
    """A throw-away authority, and `NAME.pem` and `NAME.key` for each name at its address; returns the authority's file.

    A value may hold several addresses, separated by spaces.
    """
    now = datetime.datetime.now(datetime.UTC)

    def issued(subject: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Name) -> x509.CertificateBuilder:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
        built = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key.public_key())
        built = built.serial_number(x509.random_serial_number())
        # Clocks are skewed here: a certificate must hold at all of them.
        return built.not_valid_before(now - datetime.timedelta(days=2)).not_valid_after(
            now + datetime.timedelta(days=2)
        )

    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "faults")])
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = issued("faults", ca_key, ca_name).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    folder.mkdir(parents=True, exist_ok=True)
    authority = folder / "ca.pem"
    authority.write_bytes(ca.sign(ca_key, SHA256()).public_bytes(Encoding.PEM))
    for subject, addresses in names.items():
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives: list[x509.GeneralName] = [x509.DNSName(subject)]
        alternatives += [x509.IPAddress(ip_address(one)) for one in addresses.split()]
        leaf = issued(subject, key, ca_name).add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        (folder / f"{subject}.pem").write_bytes(leaf.sign(ca_key, SHA256()).public_bytes(Encoding.PEM))
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{subject}.key").write_bytes(private)
    return authority
