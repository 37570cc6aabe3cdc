"""What /proc tells of a process's children."""

from pathlib import Path


def children_of(pid: int) -> list[int]:
    """Return the children that its main thread has started, none of a process that has ended."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
