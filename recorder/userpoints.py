"""Points that the user names on the command line (`--point`): each becomes what a `.bt` file would say. Pure."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from vio.errors import HostError, UsageError, VioError
from vio.layer import Layer
from vio.recorder.host import HostFeatures
from vio.recorder.probe import Point, Way
from vio.recorder.returns import why_no_return
from vio.recorder.subject import Subject
from vio.recorder.tracefs import tracepoint_fields

_SPEC = re.compile(r"(?:(?P<layer>[a-z-]+)=)?(?P<provider>[a-z]+):(?P<place>[\w.:]+?)(?P<entry>@entry)?")
_HOW = "[LAYER=]kprobe:FUNCTION, fentry:FUNCTION, uprobe:FUNCTION or tracepoint:CATEGORY:NAME"
_PAIRS = (("_enter", "_exit"), ("_begin", "_end"), ("_start", "_end"), ("_start", "_done"))
_FILE_SYSTEMS = frozenset({"ext4", "jbd2", "xfs", "btrfs", "ocfs2"})
_LAYERS = (
    (Layer.VFS, ("vfs_", "ksys_", "__x64_sys_", "do_iter_", "aio_", "io_submit", "io_uring", "io_read", "io_write")),
    (Layer.BLOCK, ("blk_", "__blk", "bio_", "submit_bio", "__submit_bio", "dm_", "rq_qos", "wbt_", "block")),
    (Layer.DEVICE, ("nvme_", "scsi_", "sd_", "virtblk_", "virtio_queue_rq", "ata_", "nvme", "scsi")),
    (Layer.QEMU_DEVICE, ("virtqueue_", "virtio_", "block_acct_", "scsi_req_", "dma_blk")),
    (Layer.QEMU_AIO, ("laio_", "luring_", "thread_pool_", "event_notifier_")),
    (Layer.QEMU_BLOCK, ("bdrv_", "blk_aio", "qcow2_", "throttle_", "qemu_")),
)
_RETURNS = {"uprobe": "uretprobe", "kprobe": "kretprobe", "fentry": "fexit"}
_NOTHING = "emit(0, 0, 0, 0, 0, 0)"
_STACK = 'emit(0, 0, 0, 0, 0, reg("sp"))'


@dataclass(frozen=True, slots=True)
class _Spec:
    text: str
    layer: Layer
    provider: str
    place: str
    is_entry: bool

    @property
    def name(self) -> str:
        # shipped inner points have functions' names
        return f"at_{self.function}"

    @property
    def function(self) -> str:
        return re.sub(r"\W", "_", self.place.rsplit(":", 1)[-1])


def user_points(specs: Sequence[str], host: HostFeatures, subject: Subject, taken: Sequence[Point]) -> list[Point]:
    """Return the points, an entry and its return for each function; `taken` are those that there are already.

    Raises:
        UsageError: it is no function or tracepoint of this host or QEMU, or may not be probed so.
        HostError: this host lacks what it takes.
    """
    names = {point.name for point in taken}
    points: list[Point] = []
    for text in dict.fromkeys(specs):
        spec = _read(text)
        for point in _points(spec, host, subject):
            if point.name in names:
                raise UsageError(f"--point {text}: there is a point {point.name} already", "name it once")
            names.add(point.name)
            points.append(point)
    return points


def _read(text: str) -> _Spec:
    match = _SPEC.fullmatch(text)
    if not match:
        raise UsageError(f"--point {text} cannot be read", _HOW)
    provider, place = match["provider"], match["place"]
    if provider not in {"kprobe", "fentry", "uprobe", "tracepoint"}:
        raise UsageError(f"--point {text}: {provider} is no way to probe", _HOW)
    if place.count(":") not in {"tracepoint": (1,), "uprobe": (0,)}.get(provider, (0, 1)):
        raise UsageError(f"--point {text} cannot be read", _HOW)
    layer = _layer_of(text, match["layer"], provider, place)
    return _Spec(text, layer, provider, place, match["entry"] is not None)


def _layer_of(text: str, named: str | None, provider: str, place: str) -> Layer:
    if named:
        try:
            return Layer(named)
        except ValueError:
            raise UsageError(f"--point {text}: there is no layer {named}", f"one of {', '.join(Layer)}") from None
    first, _, name = place.rpartition(":")
    if first in _FILE_SYSTEMS:
        return Layer.FS
    if first.startswith("syscalls"):
        return Layer.VFS
    layers = [one for one in _LAYERS if (one[0].value.startswith("qemu")) == (provider == "uprobe")]
    for layer, prefixes in layers:
        if (first or name).startswith(prefixes):
            return layer
    return Layer.QEMU_BLOCK if provider == "uprobe" else Layer.FS


def _points(spec: _Spec, host: HostFeatures, subject: Subject) -> list[Point]:
    if spec.provider == "tracepoint":
        return _tracepoints(spec, host)
    if spec.provider == "uprobe":
        _check_user_function(spec, subject)
        place, body = f"QEMU:{spec.place}", _STACK
    else:
        _check_kernel_function(spec, host)
        place, body = spec.place, _NOTHING
    attach, way_back = f"{spec.provider}:{place}", f"{_RETURNS[spec.provider]}:{place}"
    predicate = "pid == PID" if spec.provider == "uprobe" else "ON_TARGET"
    if spec.is_entry:
        return [_point(spec, spec.name, "mark", attach, predicate, body)]
    return [
        _point(spec, spec.name, "begin", attach, predicate, body),
        _point(spec, f"{spec.name}_end", "end", way_back, predicate, _NOTHING),
    ]


def _point(spec: _Spec, name: str, role: str, attach: str, predicate: str, body: str, part: str = "") -> Point:
    what = {"begin": "begins", "end": "returns", "mark": "is passed"}[role]
    fields = "aux=stack" if "reg(" in body else _fields_of(body)
    ways = (Way(attach, predicate, (body,), 0, (0,)),)
    meaning = f"{spec.place} {what}"
    part = part or spec.function
    return Point(name, meaning, spec.layer, role, ways, f"--point {spec.text}", fields, part=part, join="thread")


def _check_kernel_function(spec: _Spec, host: HostFeatures) -> None:
    kernel, name = host.kernel, spec.place.rsplit(":", 1)[-1]
    module = spec.place.rpartition(":")[0]
    other, why = (
        ("fentry", kernel.why_not_kprobe(name, module))
        if spec.provider == "kprobe"
        else ("kprobe", kernel.why_not_fentry(name, module))
    )
    if not why:
        return
    if kernel.symbols and name not in kernel.symbols:
        raise _unknown(spec, name, why, module, host)
    works = not (kernel.why_not_fentry if other == "fentry" else kernel.why_not_kprobe)(name, module)
    hint = f"{other}:{spec.place} works here" if works else "`vio doctor` shows what this kernel offers"
    raise HostError(f"--point {spec.text}: {why}", hint)


def _unknown(spec: _Spec, name: str, why: str, module: str, host: HostFeatures) -> VioError:
    absent = module or next((one for one in _FILE_SYSTEMS if name.startswith(f"{one}_")), "")
    if absent and absent not in host.kernel.modules:
        return HostError(f"--point {spec.text}: module {absent} is not loaded", f"modprobe {absent}")
    near = host.kernel.near(name)
    return UsageError(f"--point {spec.text}: {why}", f"it has {', '.join(near)}" if near else "")


def _check_user_function(spec: _Spec, subject: Subject) -> None:
    functions = subject.binary.functions if subject.binary else {}
    if spec.place not in functions:
        near = difflib.get_close_matches(spec.place, functions, 4, 0.75)
        raise UsageError(
            f"--point {spec.text}: this QEMU exports no function {spec.place}", f"it has {', '.join(near)}" * bool(near)
        )
    if not spec.is_entry and (why := why_no_return(spec.place)):
        raise UsageError(
            f"--point {spec.text}: its return may not be probed: {why}", f"mark its entry: {spec.text}@entry"
        )


def _tracepoints(spec: _Spec, host: HostFeatures) -> list[Point]:
    category, name = spec.place.split(":")
    if spec.place not in host.tracepoints:
        raise _unknown_tracepoint(spec, category, host)
    begin, end = name, _other_half(category, name, host)
    if not end or spec.is_entry:
        return [_tracepoint(spec, host, name, "mark", spec.function)]
    part = begin.removeprefix("sys_enter_")
    for suffix, _ in _PAIRS:
        part = part.removesuffix(suffix)
    return [_tracepoint(spec, host, begin, "begin", part), _tracepoint(spec, host, end, "end", part)]


def _other_half(category: str, name: str, host: HostFeatures) -> str:
    if name.startswith("sys_enter_"):
        return name.replace("sys_enter_", "sys_exit_", 1)
    for first, second in _PAIRS:
        other = f"{name.removesuffix(first)}{second}"
        if name.endswith(first) and f"{category}:{other}" in host.tracepoints:
            return other
    return ""


def _tracepoint(spec: _Spec, host: HostFeatures, name: str, role: str, part: str) -> Point:
    category = spec.place.split(":")[0]
    has = tracepoint_fields(host.tracefs, category, name) if host.tracefs else {}
    predicate, body = "pid == PID", _NOTHING
    if {"dev", "ino"} <= has.keys():
        predicate, body = "ON_FILE(args->dev, args->ino)", "emit(0, args->dev, 0, 0, args->ino, 0)"
    elif "dev" in has:
        predicate = f"{'ON_DEVICE' if category == 'block' else 'ON_FS'}(args->dev)"
        body = "emit(0, args->dev, 0, 0, 0, 0)"
    return _point(spec, f"at_{category}_{name}", role, f"tracepoint:{category}:{name}", predicate, body, part)


def _fields_of(body: str) -> str:
    return " ".join(field for field, text in (("space=dev", "args->dev"), ("key=inode", "args->ino")) if text in body)


def _unknown_tracepoint(spec: _Spec, category: str, host: HostFeatures) -> VioError:
    is_there = any(one.startswith(f"{category}:") for one in host.tracepoints)
    if category in _FILE_SYSTEMS and not is_there and category not in host.kernel.modules:
        return HostError(f"--point {spec.text}: module {category} is not loaded", f"modprobe {category}")
    near = difflib.get_close_matches(spec.place, host.tracepoints, 4, 0.7)
    return UsageError(
        f"--point {spec.text}: this kernel has no such tracepoint", f"it has {', '.join(near)}" * bool(near)
    )
