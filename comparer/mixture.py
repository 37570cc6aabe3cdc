"""Of what a load is made up: shares of operations or sizes, and how far two such mixtures are apart."""

from collections import Counter


def shares(counts: "Counter[str] | Counter[int]") -> dict[object, float]:
    """Return what share each has of all."""
    total = sum(counts.values())
    return {name: count / total for name, count in counts.items()} if total else {}


def distance(one: dict[object, float], other: dict[object, float]) -> float:
    """Return which share would have to be another for both to be alike."""
    return sum(abs(one.get(name, 0.0) - other.get(name, 0.0)) for name in one.keys() | other.keys()) / 2
