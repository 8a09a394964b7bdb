# Private, and typed where it is used: see __init__.pyi and aio.pyi.
from typing import Any

def __getattr__(name: str) -> Any: ...
