"""Work one step ahead: the next item is made in a thread of its own while the last is still being used.

That saves time because most of the work is done outside the interpreter's lock: Parquet, NumPy, the compiled loops.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")


def ahead(items: Iterable[_T]) -> Iterator[_T]:
    """Yield the items, each made before it is asked for; what making one raises is raised here.

    One that is not taken any more is made all the same, and then no further.
    """
    source, done = iter(items), object()
    with ThreadPoolExecutor(1, "ahead") as maker:
        coming = maker.submit(next, source, done)
        while (item := coming.result()) is not done:
            coming = maker.submit(next, source, done)
            yield item  # type: ignore[misc]
