"""What `vio doctor` shows: the host, the QEMU, each point, what a recording would lack; as text."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from vio.layer import Layer
from vio.printable import printable
from vio.recorder.disks import Disk
from vio.recorder.doctor import Diagnosis, PointCheck, dotted, lack_sentence
from vio.recorder.host import HostFeatures, Trial
from vio.recorder.subject import Subject

_GOOD, _POOR, _BAD = "green", "yellow", "red"


def diagnosis_text(diagnosis: Diagnosis) -> RenderableType:
    """Draw the diagnosis for a terminal; what comes from outside is shown as it is, never obeyed."""
    parts: list[RenderableType] = [_heading("Host"), _host_table(diagnosis), Text()]
    parts += [_heading("QEMU"), _subject_table(diagnosis.subject), Text()]
    outer = tuple(point for point in diagnosis.points if not point.is_inner)
    wanted = [point for point in outer if point.is_wanted]
    found = sum(point.is_attachable for point in wanted)
    parts += [_heading(f"Points: {found} of {len(wanted)} can be attached"), _points_table(outer)]
    parts += [*_costs(outer), *_inner(diagnosis.points), Text()]
    lacking = list(_lacking(diagnosis))
    if lacking:
        parts += [_heading("What a recording would lack"), *lacking, Text()]
    return Group(*parts, _verdict(diagnosis))


def _heading(text: str) -> Text:
    return Text(text, style="bold")


def _host_table(diagnosis: Diagnosis) -> Table:
    table = _pairs()
    for name, shown, style in _host_rows(diagnosis):
        table.add_row(Text(f"  {name}"), Text(printable(shown), style=style))
    return table


def _pairs() -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _host_rows(diagnosis: Diagnosis) -> Iterator[tuple[str, str, str]]:
    host = diagnosis.host
    cpus = f"{host.cpu_count} CPU{'s' if host.cpu_count != 1 else ''}"
    yield "kernel", f"{host.kernel_release} {host.machine}, {cpus}, clock {host.clock_source or '?'}", ""
    yield (
        "root",
        *_yes_no(host.is_root, no="no" + (f" ({', '.join(sorted(host.capabilities))})" * bool(host.capabilities))),
    )
    if host.bpftrace:
        yield "bpftrace", f"{dotted(host.bpftrace.version) or 'unknown version'} ({host.bpftrace.path})", _GOOD
    else:
        yield "bpftrace", "absent", _BAD
    yield "BPF", *_trial(diagnosis.trials.bpf, "a program was loaded and run")
    yield "records", *_trial(diagnosis.trials.maps, "left in bpftrace's maps, and taken out", _POOR)
    if host.tracefs:
        yield "tracefs", f"{host.tracefs}, {len(host.tracepoints)} tracepoints", _GOOD
    else:
        yield "tracefs", "not mounted, or not readable", _BAD
    yield "BTF", *_yes_no(host.has_btf, no_style=_POOR)
    nops = ", nops of 5 bytes are fast" if host.has_fast_nops else ""
    yield "uprobes", *_yes_no(host.has_uprobes, yes=f"yes{nops}")
    yield "kernel functions", *_functions(host, diagnosis.trials.fentry)
    yield "lockdown", host.lockdown, _POOR if host.lockdown in {"integrity", "confidentiality"} else ""


def _functions(host: HostFeatures, fentry: Trial | None) -> tuple[str, str]:
    has_fentry = fentry is not None and fentry.is_ok
    ways = ["fentry"] * has_fentry + ["kprobes"] * host.has_kprobes
    if ways:
        return " and ".join(ways), _GOOD
    tried = f"fentry: {fentry.why}" if fentry else "fentry was not tried"
    return f"neither kprobes nor fentry ({tried})", _POOR


def _yes_no(is_there: bool, yes: str = "yes", no: str = "no", no_style: str = _BAD) -> tuple[str, str]:
    return (yes, _GOOD) if is_there else (no, no_style)


def _trial(trial: Trial | None, good: str, bad_style: str = _BAD) -> tuple[str, str]:
    if not trial:
        return "not tried", _POOR
    return (good, _GOOD) if trial.is_ok else (trial.why, bad_style)


def _subject_table(subject: Subject | None) -> Table:
    table = _pairs()
    if not subject:
        table.add_row(Text("  none"), Text("none runs and none is installed", style=_BAD))
        return table
    table.add_row(Text("  binary"), Text(printable(subject.path)))
    table.add_row(Text("  version"), Text(printable(subject.version) or "?"))
    table.add_row(Text("  process"), Text(_process(subject)))
    if subject.why:
        table.add_row(Text("  functions"), Text(printable(subject.why), style=_BAD))
    for disk in subject.disks:
        table.add_row(Text("  disk"), Text(printable(_disk(disk))))
    for note in subject.notes:
        table.add_row(Text("  note"), Text(printable(note)))
    return table


def _disk(disk: Disk) -> str:
    return f"{disk.name} on {disk.model or 'no device'}, seen by QEMU in {' and '.join(disk.seen_layers) or 'no layer'}"


def _process(subject: Subject) -> str:
    if subject.pid is not None:
        return f"{printable(subject.name)} (pid {subject.pid})"
    return "not running" if subject.is_chosen else "none runs: the installed binary was read"


def _points_table(points: tuple[PointCheck, ...]) -> Table:
    """Draw the points by layer, top to bottom; an absent one is in the last section with its reason."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("  point", no_wrap=True)
    table.add_column("by", no_wrap=True)
    table.add_column("function or event", overflow="fold")
    table.add_column("ns a hit", justify="right", no_wrap=True)
    shown: Layer | None = None
    for point in sorted(points, key=lambda point: point.layer.depth):
        if point.layer is not shown:
            shown = point.layer
            table.add_row(Text(f"  {shown}", style="bold"))
        provider, _, place = point.attach.partition(":")
        state, style = _state(point)
        cells = (f"    {point.name}", provider, place.removeprefix("QEMU:"), state)
        table.add_row(*(Text(printable(cell), style=style) for cell in cells))
    return table


def _state(point: PointCheck) -> tuple[str, str]:
    if not point.is_wanted:
        return "no device", "dim"
    if not point.is_attachable:
        return "absent", _POOR
    return ("-" if point.cost_ns is None else str(point.cost_ns)), _POOR if point.is_dear else ""


def _costs(points: tuple[PointCheck, ...]) -> Iterator[Text]:
    yield Text("  ns a hit: an estimate of what the probe alone takes from the VM; -: not measured alone")
    for point in points:
        if point.is_dear:
            yield Text(printable(f"  dear here: {point.name}, {point.cost_ns} ns: {point.why}"), style=_POOR)


def _inner(points: tuple[PointCheck, ...]) -> Iterator[Text]:
    """Say how far each layer can be opened here."""
    inner = [point for point in points if point.is_inner and point.is_wanted]
    for layer in dict.fromkeys(point.layer for point in inner):
        mine = [point for point in inner if point.layer is layer]
        found = sum(point.is_attachable for point in mine)
        why = next((point.why for point in mine if not point.is_attachable), "")
        text = f"  inside {layer}, with --open {layer}: {found} of {len(mine)} points" + f" ({why})" * bool(why)
        yield Text(printable(text), style=_GOOD if found == len(mine) else _POOR)


def _lacking(diagnosis: Diagnosis) -> Iterator[Text]:
    for lack in diagnosis.lacks:
        yield Text(printable(f"  {lack_sentence(lack)}"), style=_BAD if lack.is_fatal else _POOR)
    alike: dict[tuple[str, str, str, str], list[str]] = {}
    for point in diagnosis.absent:
        alike.setdefault((point.layer, point.without, point.why, point.todo), []).append(point.name)
    for (layer, without, why, todo), names in alike.items():
        what = f"point{'s' * (len(names) > 1)} {', '.join(names)}"
        yield Text(printable(f"  {layer} {what}: {without} ({why}); {todo}"), style=_POOR)


def _verdict(diagnosis: Diagnosis) -> Text:
    if not diagnosis.can_record:
        count = len(diagnosis.fatal)
        return Text(f"vio cannot record here: {count} thing{'s' * (count != 1)} above in the way", style=f"bold {_BAD}")
    subject = diagnosis.subject
    what = f"--pid {subject.pid}" if subject and subject.pid else "--vm NAME"
    return Text(f"vio can record here: vio record {what} -o NAME.vio", style=f"bold {_GOOD}")
