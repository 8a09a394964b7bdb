"""Makes functions that wait, and functions that can be awaited, of the native module's operations."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from . import _erpgo_dr as native

# The native methods whose result is the repository itself.
CONSTRUCTORS = ("init", "open")
METHODS = (
    "add_slot",
    "backup",
    "backup_cluster",
    "receive_cluster",
    "begin_epoch",
    "begin_run_epoch",
    "bisect",
    "check_figures",
    "collect_evidence",
    "compare_cluster",
    "drills",
    "drills_due",
    "epochs",
    "evidence",
    "export_evidence",
    "forecast",
    "history",
    "hold",
    "import_file",
    "list",
    "note_evidence",
    "observe",
    "prune",
    "record_drill",
    "release",
    "remove_slot",
    "repair",
    "restore",
    "restore_cluster",
    "restore_file",
    "restore_test",
    "resume_run",
    "rotate_slot",
    "run_drill",
    "run_journal",
    "run_report",
    "run_runbook",
    "runs",
    "show",
    "status",
    "summary",
    "thaw",
    "undo_run",
    "unlock",
    "verify",
    "verify_evidence",
    "wal_check",
    "wal_fetch",
    "wal_list",
    "wal_prune",
    "wal_push",
    "wal_stream",
)
FUNCTIONS = (
    "check_integrity",
    "decrypt",
    "encrypt",
    "ha_cluster",
    "ha_failover",
    "ha_pause",
    "ha_reinitialize",
    "ha_switchover",
    "openssl_decrypt_unauthenticated",
    "openssl_encrypt_unauthenticated",
    "unwrap_key",
    "verify_exported_evidence",
    "wrap_key",
)

Runner = Callable[[Callable[[], Any], Callable[[Any], Any]], Any]


def run(prepare: Callable[[], Any], finish: Callable[[Any], Any]) -> Any:
    """Runs an operation on this thread, which runs its callbacks meanwhile."""
    return finish(prepare().wait())


async def run_async(prepare: Callable[[], Any], finish: Callable[[Any], Any]) -> Any:
    """Runs an operation in the event loop. Cancelled, it stops the operation and waits until it has cleaned up."""
    operation = prepare()
    future: Awaitable[Any] = operation.start()
    try:
        return finish(await asyncio.shield(future))
    except asyncio.CancelledError:
        operation.stop()
        # Its result no longer matters, and neither does its error.
        await asyncio.gather(future, return_exceptions=True)
        raise


def fill(cls: type, module: str, runner: Runner) -> None:
    """Gives a class of repositories its methods."""
    for name in CONSTRUCTORS:
        setattr(cls, name, classmethod(_wrap(getattr(native.Repository, name), module, runner, constructs=True)))
    for name in METHODS:
        setattr(cls, name, _wrap(getattr(native.Repository, name), module, runner, method=True))
    for name in (*CONSTRUCTORS, *METHODS):
        function = inspect.getattr_static(cls, name)
        getattr(function, "__func__", function).__qualname__ = f"{cls.__name__}.{name}"


def function(name: str, module: str, runner: Runner) -> Callable[..., Any]:
    """Makes a function of the package."""
    return _wrap(getattr(native, name), module, runner)


def _wrap(
    operation: Callable[..., Any], module: str, runner: Runner, *, method: bool = False, constructs: bool = False
) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        first, *rest = arguments if method or constructs else (None, *arguments)
        target = (first._native, *rest) if method else rest
        finish = functools.partial(_construct, first) if constructs else _same
        return runner(functools.partial(operation, *target, **options), finish)

    async def call_async(*arguments: Any, **options: Any) -> Any:
        return await call(*arguments, **options)

    wrapper: Callable[..., Any] = call_async if inspect.iscoroutinefunction(runner) else call
    wrapper.__name__ = wrapper.__qualname__ = operation.__name__
    wrapper.__doc__ = operation.__doc__
    wrapper.__module__ = module
    signature = _signature(operation, "self" if method else "cls" if constructs else None)
    wrapper.__signature__ = signature  # type: ignore[attr-defined]
    return wrapper


def _signature(operation: Callable[..., Any], first: str | None) -> inspect.Signature:
    parameters = [p for p in inspect.signature(operation).parameters.values() if p.name != "self"]
    if first is not None:
        parameters.insert(0, inspect.Parameter(first, inspect.Parameter.POSITIONAL_OR_KEYWORD))
    return inspect.Signature(parameters)


def _construct(cls: Any, value: Any) -> Any:
    return cls._of(value)


def _same(value: Any) -> Any:
    return value
