"""What went wrong, for a person at a terminal: what failed, on which node, why, what next. Never a traceback."""

from __future__ import annotations

from dataclasses import dataclass

from console.bootstrap.facts import ProbeFailed
from console.bootstrap.node import BootstrapFailed
from console.capsule.file import CapsuleRefused
from console.carry import CarryRefused
from console.client.clean import clean
from console.client.wire import AgentError
from console.delivery.deploy import DeployFailed
from console.fleet.view import LinkState
from console.fleet.watch import explain
from console.inventory.entry import InventoryRefused
from console.kit.file import KitRefused
from console.kit.manifest import KitMalformed
from console.link.errors import LinkError
from console.link.resolve import ResolveError
from store.builder import BuildRefused
from store.bundle import BundleMalformed
from store.catalog import NodeIdConflict
from store.errors import StoreError
from store.receipt import ReceiptRefused
from store.signers import SignersRefused
from store.signing import SignatureRefused, SigningFailed
from store.sshagent import AgentRefused

OK = 0
FAILED = 1
USAGE = 2
NOT_REACHED = 3

EXPECTED = (
    AgentError,
    LinkError,
    DeployFailed,
    ResolveError,
    BootstrapFailed,
    ProbeFailed,
    BuildRefused,
    CapsuleRefused,
    CarryRefused,
    BundleMalformed,
    InventoryRefused,
    KitMalformed,
    KitRefused,
    NodeIdConflict,
    ReceiptRefused,
    StoreError,
    SignersRefused,
    SignatureRefused,
    SigningFailed,
    AgentRefused,
)


class Failure(Exception):
    """A verb's own no: `code` is the exit code."""

    def __init__(self, message: str, hint: str = "", code: int = FAILED) -> None:
        super().__init__(message)
        self.message, self.hint, self.code = message, hint, code


@dataclass(frozen=True, slots=True)
class Account:
    """One failure, ready to be printed."""

    code: int
    what: str
    hint: str = ""

    def lines(self) -> list[str]:
        return [f"outstation: {clean(self.what)}", *([f"  next: {clean(self.hint)}"] if self.hint else [])]


def account(error: BaseException) -> Account:
    """The account of an expected error."""
    if isinstance(error, Failure):
        return Account(error.code, error.message, error.hint)
    if isinstance(error, AgentError):
        return Account(FAILED, f"{error.node}: refused: {error.error.message} ({error.error.code})", error.error.hint)
    if isinstance(error, LinkError):
        refused = error.state in (LinkState.REFUSED, LinkState.WRONG_PROTOCOL, LinkState.ONE_WAY)
        return Account(FAILED if refused else NOT_REACHED, f"{error.subject}: {explain(error)}", error.hint)
    if isinstance(error, DeployFailed):
        return Account(FAILED, f"{error.node}: {error.step}: {error.message}", error.hint)
    hint = getattr(error, "hint", "")
    text = explain(error)
    return Account(FAILED, text, "" if not isinstance(hint, str) or hint in text else hint)
