"""One IO's timeline: its spans as a tree, its own time by stage, and its time stamp at every point."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from vio.layer import Phase, Stage
from vio.printable import printable
from vio.reporter.grid import Grid, Style, wrapped
from vio.reporter.latertext import later_lines
from vio.reporter.recorded import Recorded
from vio.reporter.result import IoRow, number_in
from vio.reporter.spans import Span
from vio.reporter.units import MICROSECOND, bytes_text, time_text
from vio.reporter.waittext import StageWaits, outside_lines, words_of
from vio.schema import LACKS, OPS, STAMPS, time_column

_DEPTHS = {stage: number for number, stage in enumerate(Stage)}
_FAR = 1 << 63
_NO_WAITS: StageWaits = {}


@dataclass(slots=True)
class Node:
    """A span and what it led to, in order of time."""

    span: Span
    children: list["Node"] = field(default_factory=list)


def build_tree(spans: Sequence[Span]) -> list[Node]:
    """Nest spans: each below the lowest span above it that was at work when it began.

    Of several such spans of one stage, the one whose addresses hold the child's, then the latest begun. A span that
    began when nothing above it was at work hangs below the latest begun before it.
    """
    outer = [span for span in spans if not span.part]
    ordered = sorted(outer, key=lambda span: (_DEPTHS[span.stage], span.begin_ns, span.end_ns or _FAR))
    nodes: list[Node] = []
    roots: list[Node] = []
    for span in ordered:
        above = [node for node in nodes if _DEPTHS[node.span.stage] < _DEPTHS[span.stage]]
        parent = max(above, key=lambda node: _fitness(node.span, span), default=None)
        node = Node(span)
        (parent.children if parent else roots).append(node)
        nodes.append(node)
    nodes += _add_parts(nodes, [span for span in spans if span.part])
    for node in nodes:
        node.children.sort(key=lambda child: child.span.begin_ns)
    return roots


def _add_parts(nodes: list[Node], parts: list[Span]) -> list[Node]:
    """Hang each part below the part, else the span of its layer, that holds its begin and began last."""
    added: list[Node] = []
    for span in sorted(parts, key=lambda span: (span.begin_ns, -(span.end_ns or _FAR))):
        around = [node for node in nodes if node.span.stage is span.stage]
        inside = [node for node in added if node.span.stage is span.stage and _is_at_work(node.span, span.begin_ns)]
        inside = [node for node in inside if node.span.end_ns is not None and node.span.end_ns >= (span.end_ns or 0)]
        working = [node for node in around if _is_at_work(node.span, span.begin_ns)] or around or nodes
        node = Node(span)
        above = inside[-1:] or [max(working, key=lambda one: one.span.begin_ns)] if inside or working else []
        for parent in above:
            parent.children.append(node)
        added.append(node)
    return added


def _is_at_work(span: Span, time_ns: int) -> bool:
    return span.begin_ns <= time_ns <= (span.end_ns if span.end_ns is not None else _FAR)


def _fitness(parent: Span, child: Span) -> tuple[bool, bool, int, bool, int]:
    is_begun = parent.begin_ns <= child.begin_ns
    is_at_work = is_begun and child.begin_ns <= (parent.end_ns if parent.end_ns is not None else _FAR)
    return is_at_work, is_begun, _DEPTHS[parent.stage], _holds(parent, child), parent.begin_ns


def _holds(parent: Span, child: Span) -> bool:
    if parent.space != child.space or parent.offset is None or child.offset is None:
        return False
    return parent.offset <= child.offset < parent.offset + max(parent.bytes or 0, 1)


def render_timeline(
    row: IoRow,
    spans: Sequence[Span],
    recorded: Recorded,
    later: Sequence[IoRow] = (),
    waits: StageWaits = _NO_WAITS,
    *,
    is_terminal: bool = False,
) -> str:
    """Write one IO's timeline, times in us from its begin; `later` are its rows of schema.WRITEBACKS."""
    style = Style(is_terminal)
    lines = [
        *_head_lines(row, recorded, style),
        "",
        *_tree_lines(row, build_tree(spans), waits, style),
        *later_lines(row, later, recorded, style),
        "",
        *_stamp_lines(row, style),
    ]
    return "\n".join(lines) + "\n"


def _head_lines(row: IoRow, recorded: Recorded, style: Style) -> Iterator[str]:
    latency = "no end seen" if row["latency_ns"] is None else f"latency {time_text(number_in(row, 'latency_ns'))}"
    disk = printable(recorded.disk_name(number_in(row, "disk")))
    where = f"{bytes_text(number_in(row, 'bytes'))} at {number_in(row, 'offset'):#x} of {disk}"
    op = OPS[number_in(row, "op")]
    yield style.heading(f"IO {row['io']}: {op} {where}, {latency}")
    yield f"begun {recorded.second(number_in(row, 'begin_ns')):.6f} s after the start, by thread {row['tid']}"
    lacks = [what for bit, what in LACKS.items() if number_in(row, "lack") & bit]
    if lacks:
        yield from wrapped(f"not whole: it lacks {', '.join(lacks)}")
    if row["is_ambiguous"]:
        yield "ambiguous: some of the work below could be another IO's"
    yield from outside_lines(row)
    carrier = row["merged_into"]
    if carrier is not None and carrier >= 0:
        yield f"merged by QEMU: IO {carrier} carries it through the lower layers"


def _tree_lines(row: IoRow, roots: list[Node], waits: StageWaits, style: Style) -> list[str]:
    grid = Grid(("time (us)", "begin", "end", "lasts", "own", "where"), frozenset({0, 5}))
    shown: set[Stage] = set()
    for node, prefix in _walk(roots):
        span = node.span
        if span.part:
            grid.add(f"{prefix}{printable(span.part)}", *_span_cells(row, span), _time_text(span.own_ns), "")
            continue
        is_first = span.stage not in shown
        own = _own_ns(row, span.stage) if is_first else None
        shown.add(span.stage)
        waited = words_of(waits.get(span.stage, {})) if is_first else ""
        where = "; ".join(filter(None, (_where(span), waited)))
        grid.add(f"{prefix}{span.stage}", *_span_cells(row, span), _time_text(own), where)
    unattributed = row["unattributed_ns"]
    if unattributed:
        grid.add("unattributed", "", "", "", _time_text(unattributed), "")
    lines = grid.lines(style)
    if len(shown) < sum(not node.span.part for node, _ in _walk(roots)):
        lines.append("own: of all spans of a layer together, at the first of them")
    if waits:
        lines.append("of a layer's own time: its thread waits for a CPU, is stopped, or is still to wake up")
    return lines


def _walk(nodes: list[Node], indent: str = "", *, is_root: bool = True) -> Iterator[tuple[Node, str]]:
    for number, node in enumerate(nodes):
        is_last = number == len(nodes) - 1
        yield node, "" if is_root else f"{indent}{'`- ' if is_last else '|- '}"
        below = "" if is_root else f"{indent}{'   ' if is_last else '|  '}"
        yield from _walk(node.children, below, is_root=False)


def _own_ns(row: IoRow, stage: Stage) -> int | None:
    times = [row[time_column(stage, phase)] for phase in Phase]
    return None if all(time is None for time in times) else sum(time or 0 for time in times)


def _span_cells(row: IoRow, span: Span) -> tuple[str, str, str]:
    io_begin = number_in(row, "begin_ns")
    begin = MICROSECOND.text(span.begin_ns - io_begin)
    if span.end_ns is None:
        return begin, "not seen", "-"
    return begin, MICROSECOND.text(span.end_ns - io_begin), MICROSECOND.text(span.end_ns - span.begin_ns)


def _time_text(time_ns: int | None) -> str:
    return "" if time_ns is None else MICROSECOND.text(time_ns)


def _where(span: Span) -> str:
    if span.offset is None:
        return ""
    length = f" + {bytes_text(span.bytes)}" if span.bytes else ""
    return f"{printable(span.space)} {span.offset:#x}{length}"


def _stamp_lines(row: IoRow, style: Style) -> list[str]:
    """List the points that it passed, in order of time."""
    grid = Grid(("point", "at (us)", "after (us)", "meaning"), frozenset({0, 3}))
    begin_ns = number_in(row, "begin_ns")
    passed = [(number_in(row, f"t_{name}_ns"), name, meaning) for name, meaning in STAMPS if row[f"t_{name}_ns"]]
    last_ns = begin_ns
    for time_ns, name, meaning in sorted(passed, key=lambda stamp: stamp[0]):
        grid.add(name, MICROSECOND.text(time_ns - begin_ns), MICROSECOND.text(time_ns - last_ns), _short(meaning))
        last_ns = time_ns
    return grid.lines(style)


def _short(meaning: str) -> str:
    first = meaning.partition(" (")[0].partition(", or")[0]
    return first if len(first) <= 64 else f"{first[:61]}..."
