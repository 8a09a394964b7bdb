"""The same names as in `erpgo_dr`, for asyncio: what waits there is awaited here.

A cancelled call stops its work, and ends once that has cleaned up behind it. Progress callbacks are called in the event
loop; `read` and `write` of files are called in a thread, one call at a time.
"""

from ._bind import FUNCTIONS as _FUNCTIONS
from ._bind import fill as _fill
from ._bind import function as _function
from ._bind import run_async as _run


class Repository:
    """A repository of backups. Made by `await Repository.init(...)` or `await Repository.open(...)`."""

    __slots__ = ("_native",)

    def __init__(self) -> None:
        raise TypeError("use Repository.init or Repository.open")

    @classmethod
    def _of(cls, native):
        repository = object.__new__(cls)
        repository._native = native
        return repository

    @property
    def id(self):
        """The repository's own identifier."""
        return self._native.id

    @property
    def location(self):
        """Where the repository lies, for people."""
        return self._native.location

    def __repr__(self):
        return f"<erpgo_dr.aio.Repository {self.location}>"


_fill(Repository, __name__, _run)
for _name in _FUNCTIONS:
    globals()[_name] = _function(_name, __name__, _run)
del _name

__all__ = (*_FUNCTIONS, "Repository")
