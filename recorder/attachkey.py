"""What the kernel will say of the program of a way once it is attached: so its misses get their point's name."""

from vio.recorder.aim import Aim
from vio.recorder.host import HostFeatures
from vio.recorder.missed import AttachKey
from vio.recorder.probe import Way


def attach_key(way: Way, aim: Aim, host: HostFeatures) -> AttachKey | None:
    """Return the key of a way's program; None where the kernel has no words for it (USDT)."""
    binary = aim.subject.binary
    match way.provider:
        case "tracepoint":
            return AttachKey(tracepoint=way.symbol)
        case "uprobe" | "uretprobe" if binary and binary.has(way.symbol):
            is_return = way.provider == "uretprobe"
            return AttachKey(file_offset=binary.functions[way.symbol].file_offset, is_return=is_return)
        case "kprobe" | "kretprobe":
            return AttachKey(function=way.symbol, is_return=way.provider == "kretprobe")
        case "fentry" | "fexit":
            found = host.kernel.find_btf(way.symbol, way.module)
            return AttachKey(type_id=found[1].type_id, is_return=way.provider == "fexit") if found else None
        case _:
            return None
