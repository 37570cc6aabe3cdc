"""The small views, whose rows come from the report's figures and the manifest: their columns, and a source's rows."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from vio.printable import printable
from vio.reporter.sql.source import Source

Row = tuple[object, ...]
_QUANTILES = ("mean_ns", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns")
_JOIN = ("evidence", "parents", "joined", "joined_share", "checked", "disagree", "disagree_share")

LAYERS = {
    "layer": "VARCHAR",
    "stage": "VARCHAR",
    "phase": "VARCHAR",
    "time_share": "DOUBLE",
    "count": "BIGINT",
    "mean_ns": "DOUBLE",
    **dict.fromkeys(_QUANTILES[1:], "BIGINT"),
}
LINKS = {
    "source": "VARCHAR",
    "target": "VARCHAR",
    "evidence": "VARCHAR",
    "parents": "BIGINT",
    "joined": "BIGINT",
    "joined_share": "DOUBLE",
    "checked": "BIGINT",
    "disagree": "BIGINT",
    "disagree_share": "DOUBLE",
}
LOSSES = {
    "kind": "VARCHAR",
    "place": "VARCHAR",
    "records": "BIGINT",
    "from_ns": "BIGINT",
    "to_ns": "BIGINT",
    "from_s": "DOUBLE",
    "to_s": "DOUBLE",
}
RECORDINGS = {
    "path": "VARCHAR",
    "vm": "VARCHAR",
    "host": "VARCHAR",
    "kernel": "VARCHAR",
    "started": "TIMESTAMP",
    "start_ns": "BIGINT",
    "duration_s": "DOUBLE",
    "state": "VARCHAR",
}


def layers_rows(source: Source) -> list[Row]:
    """Return the report's times by stage and phase, and what no layer claims: the shares add up to 1."""
    figures = source.figures()
    rows: list[Row] = [
        (one["layer"], one["stage"], one["phase"], one["time_share"], one["count"], *_values(one, _QUANTILES))
        for one in _objects(figures, "layers")
    ]
    rest = figures["unattributed"]
    if not isinstance(rest, dict):
        raise TypeError("unattributed")
    last = ("unattributed", None, None, figures["unattributed_share"], rest["count"], *_values(rest, _QUANTILES))
    return [*rows, last]


def links_rows(source: Source) -> list[Row]:
    """Return the join's evidence, by pair of layers."""
    return [(one["from"], one["to"], *_values(one, _JOIN)) for one in _objects(source.figures(), "join")]


def losses_rows(source: Source) -> list[Row]:
    """Return what was lost; a number of records that is not known is null."""
    start_ns = source.manifest.clock.start.boottime_ns
    return [
        (
            printable(one.kind),
            printable(one.where),
            one.records if one.records >= 0 else None,
            one.from_ns,
            one.to_ns,
            (one.from_ns - start_ns) / 1e9,
            (one.to_ns - start_ns) / 1e9,
        )
        for one in source.losses()
    ]


def recordings_rows(source: Source) -> list[Row]:
    """Return what the manifest says; the duration is null where the recorder was killed."""
    manifest = source.manifest
    start, stop = manifest.clock.start, manifest.clock.stop
    target, host = manifest.target, manifest.host
    return [
        (
            printable(str(source.path)),
            printable(target.name or target.exe),
            printable(host.name),
            printable(host.kernel),
            datetime.fromtimestamp(start.wall_ns / 1e9, tz=UTC).replace(tzinfo=None),
            start.boottime_ns,
            (stop.boottime_ns - start.boottime_ns) / 1e9 if stop else None,
            manifest.state.value,
        )
    ]


SMALL: dict[str, tuple[dict[str, str], Callable[[Source], Sequence[Row]]]] = {
    "layers": (LAYERS, layers_rows),
    "links": (LINKS, links_rows),
    "losses": (LOSSES, losses_rows),
    "recordings": (RECORDINGS, recordings_rows),
}


def _objects(figures: dict[str, object], name: str) -> list[dict[str, object]]:
    found = figures[name]
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise TypeError(name)
    return found


def _values(row: dict[str, object], names: Sequence[str]) -> list[object]:
    return [row[name] for name in names]
