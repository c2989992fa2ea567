"""An edge's `Signer` and `Sealer`: its own keys for its own log, the centre's for what the centre signed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from remit.domain.errors import StoreUnavailable
from remit.ports import Sealer, Signature, Signer

_OBSERVED = b"observations:"


class EdgeSigner:
    """Signs with its own keys alone. `token` keys are those of the centre, and nothing is signed with them here."""

    def __init__(self, own: Signer) -> None:
        self._own = own
        self._followed: Sequence[Mapping[str, str]] = ()

    def follow(self, keys: Sequence[Mapping[str, str]]) -> None:
        """These verify the centre's tokens from now on."""
        if list(keys) != list(self._followed):
            self._followed = tuple(keys)

    def signing(self, use: str) -> str:
        """See `ports.Signer`."""
        return self._own.signing(use)

    def sign(self, use: str, data: bytes, kid: str) -> Signature:
        """See `ports.Signer`."""
        return self._own.sign(use, data, kid)

    def public(self, use: str) -> Sequence[Mapping[str, str]]:
        """See `ports.Signer`."""
        return self._followed if use == "token" else self._own.public(use)

    async def refresh(self, *, knows: str = "") -> None:
        """See `ports.Signer`. The centre's keys come with what is followed, and from nowhere else."""
        if not knows:
            await self._own.refresh()


class EdgeSealer:
    """Derives what digests a task's observations from that task's own key, and from no root."""

    def __init__(self, own: Sealer) -> None:
        self._own = own
        self._memories: dict[bytes, bytes] = {}

    @property
    def replacing(self) -> bool:
        """See `ports.Sealer`."""
        return self._own.replacing

    def remember(self, task: str, memory: bytes) -> None:
        """This task is held."""
        self._memories[_OBSERVED + task.encode()] = memory

    def forget(self, task: str) -> None:
        """It is not held any more."""
        self._memories.pop(_OBSERVED + task.encode(), None)

    def seal(self, plaintext: bytes, context: bytes) -> str:
        """See `ports.Sealer`."""
        return self._own.seal(plaintext, context)

    def unseal(self, envelope: str, context: bytes) -> bytes:
        """See `ports.Sealer`."""
        return self._own.unseal(envelope, context)

    def derive(self, context: bytes) -> bytes:
        """See `ports.Sealer`."""
        if not context.startswith(_OBSERVED):
            return self._own.derive(context)
        memory = self._memories.get(context)
        if memory is None:
            raise StoreUnavailable("The task's key is not here.", inside=context.decode("utf-8", "replace"))
        return memory

    def rewrap(self, envelope: str) -> str:
        """See `ports.Sealer`."""
        return self._own.rewrap(envelope)
