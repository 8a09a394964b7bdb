"""The exceptions: one class for each thing that a caller may want to do about a failure."""

from __future__ import annotations

from typing import Literal

ErrorKind = Literal[
    "invalid",
    "not-found",
    "already-exists",
    "locked",
    "integrity",
    "archived",
    "permission",
    "no-space",
    "unavailable",
    "database",
    "refused",
    "busy",
    "io",
    "other",
]


class ErpgoDrError(Exception):
    """Any failure of the library. Its text has the causes too."""

    kind: ErrorKind
    """What the failure means for the caller."""

    retryable: bool
    """Whether the same call may succeed later without anything being changed by hand."""

    causes: tuple[str, ...]
    """What led to it, the nearest cause first."""

    def __init__(
        self,
        message: str,
        *,
        kind: ErrorKind = "other",
        retryable: bool = False,
        causes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retryable = retryable
        self.causes = causes

    def __str__(self) -> str:
        return ": ".join((str(self.args[0]), *self.causes))


class InvalidError(ErpgoDrError, ValueError):
    """An option, a setting or an argument is wrong. Nothing was done."""


class NotFoundError(ErpgoDrError, LookupError):
    """What was asked for is not there."""


class AlreadyExistsError(ErpgoDrError):
    """What was to be made is there already."""


class LockedError(ErpgoDrError):
    """A key, passphrase or identity is missing or wrong."""


class IntegrityError(ErpgoDrError):
    """Stored data is damaged, or somebody altered it."""


class ArchivedError(ErpgoDrError):
    """Stored data must be thawed before it can be read."""


class PermissionDeniedError(ErpgoDrError):
    """Credentials or permissions do not allow it."""


class NoSpaceError(ErpgoDrError):
    """A disk or a storage place is full."""


class UnavailableError(ErpgoDrError):
    """A server or a storage place cannot be reached; trying again may help."""


class DatabaseError(ErpgoDrError):
    """PostgreSQL or one of its programs said no."""


class RefusedError(ErpgoDrError):
    """A guard stopped what would have destroyed data."""


class BusyError(ErpgoDrError):
    """Another process is at it."""


class InputOutputError(ErpgoDrError):
    """The operating system failed a read or write outside of the repository."""
