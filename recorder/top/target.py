"""Who is watched."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Watched:
    """The process that is watched; `title` is its name and id, safe to show; `notes` say what will not be seen."""

    title: str
    name: str
    pid: int
    notes: tuple[str, ...] = ()
