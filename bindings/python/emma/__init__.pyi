from types import TracebackType
from typing import Iterable, List, NamedTuple, Optional, Type, Union

__all__ = [
    "Block", "Domain", "Measurement", "Stats", "doctor", "format_size", "install", "is_installed", "limit",
    "measure", "owns", "parse_size", "serve_numpy", "stats", "trim", "walk",
]

class Stats(NamedTuple):
    limit: Optional[int]
    soft_limit: Optional[int]
    spare: int
    reserve: int
    footprint: int
    peak_footprint: int
    metadata: int
    retained: int
    live_bytes: int
    live_blocks: int
    large_bytes: int
    large_blocks: int
    moved_bytes: int
    returned_bytes: int
    refused_count: int
    reentered_count: int

class Block(NamedTuple):
    address: int
    bytes: int

class Domain(NamedTuple):
    wanted: bool
    serves: bool
    older_freed: int
    older_resized: int

class Measurement:
    bytes: Optional[int]
    blocks: Optional[int]
    peak: Optional[int]
    def __enter__(self) -> Measurement: ...
    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None: ...

__version__: str
limit: Optional[Union[int, str]]

def doctor() -> str: ...
def format_size(size: Optional[int]) -> str: ...
def install(domains: Union[str, Iterable[str]] = ...) -> bool: ...
def is_installed() -> bool: ...
def measure() -> Measurement: ...
def owns(obj: object) -> bool: ...
def parse_size(size: Union[int, str]) -> int: ...
def serve_numpy() -> None: ...
def stats() -> Stats: ...
def trim() -> int: ...
def walk() -> List[Block]: ...
