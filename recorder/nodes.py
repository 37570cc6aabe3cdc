"""QEMU's graph of block nodes, as far as its options tell it: from a disk down to its file. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from vio.recorder.optstring import Options, get_flag, get_number, get_options, get_text, parse_json

LOCAL_PROTOCOLS = frozenset({"file", "host_device", "host_cdrom"})
_NETWORK_WORDS = "nbd rbd iscsi iser ssh http https ftp ftps gluster nfs sheepdog vxhs curl"
_NETWORK = frozenset(_NETWORK_WORDS.split())
_FILTER_WORDS = """
    blkdebug blklogwrites blkreplay compress copy-before-write copy-on-read preallocate
    snapshot-access throttle
"""
_FILTERS = frozenset(_FILTER_WORDS.split())
_SEVERAL_FILES = frozenset({"quorum", "replication", "blkverify"})
_DEVICE_PROTOCOLS = {
    "nvme": "QEMU drives the NVMe controller itself through VFIO: the host's file systems and block layer take no part",
    "virtio-blk-vhost-user": "another process does the IO (vhost-user)",
    "virtio-blk-vhost-vdpa": "a vDPA device does the IO",
    "virtio-blk-vfio-pci": "QEMU drives the device itself through VFIO",
    "nvme-io_uring": "QEMU passes NVMe commands through: no file system takes part",
    "null-co": "there is no file: null-co only pretends to do IO",
    "null-aio": "there is no file: null-aio only pretends to do IO",
    "vvfat": "the disk is made up from a directory (vvfat): there is no image file",
}
_SCHEME = re.compile(r"([A-Za-z0-9_+.-]+):")
_MAX_DEPTH = 64


@dataclass(slots=True)
class ImageChain:
    """The nodes from a disk's top down to its file, flattened; "" or None where nothing is said.

    `backing` and `data_file` are other files of the image where the options name them; one without a file name is none.
    """

    format: str = ""
    protocol: str = ""
    filename: str = ""
    node_names: list[str] = field(default_factory=list)
    filters: list[str] = field(default_factory=list)
    is_direct: bool | None = None
    is_no_flush: bool | None = None
    is_writeback: bool | None = None
    aio: str = ""
    is_read_only: bool | None = None
    raw_offset_bytes: int = 0
    why_not: str = ""
    backing: "ImageChain | None" = None
    data_file: "ImageChain | None" = None


def index_nodes(blockdevs: Iterable[Options]) -> dict[str, Options]:
    """Return every named node of `-blockdev` options, inline children included, by node name."""
    named: dict[str, Options] = {}
    pending = [(options, 0) for options in blockdevs]
    while pending:
        options, depth = pending.pop()
        if name := get_text(options, "node-name"):
            named.setdefault(name, options)
        if depth < _MAX_DEPTH:
            pending += [(inner, depth + 1) for inner in options.values() if isinstance(inner, dict)]
    return named


def child_names(options: Options) -> set[str]:
    """Return the names of all nodes that are children of this one, by reference or inline."""
    names: set[str] = set()
    pending = [(options, 0)]
    while pending:
        node, depth = pending.pop()
        for key, held in node.items():
            if isinstance(held, str) and key in {"file", "backing", "data-file", "image", "target"}:
                names.add(held)
            elif isinstance(held, list):
                names |= {child for child in held if isinstance(child, str)}
            elif isinstance(held, dict) and depth < _MAX_DEPTH:
                names.add(get_text(held, "node-name"))
                pending.append((held, depth + 1))
    return names - {""}


def resolve(options: Options, nodes: Mapping[str, Options], depth: int = 0) -> ImageChain:
    """Follow a `-blockdev`-like node to its file; `depth` is of the chain of backing files above it."""
    chain = ImageChain()
    held: object = options
    for _ in range(_MAX_DEPTH):
        if isinstance(held, str):
            held = nodes.get(held) or {"driver": "", "filename": held}
        if not isinstance(held, dict):
            break
        if depth < _MAX_DEPTH:
            _take_other_files(chain, held, nodes, depth + 1)
        held = _take_node(chain, held)
        if held is None:
            break
    else:
        chain.why_not = "its block nodes refer to each other in a circle"
    _judge(chain)
    return chain


def resolve_drive(drive: Options, nodes: Mapping[str, Options]) -> ImageChain:
    """Follow a `-drive` (QEMU's older option: `file` is a file name, `cache` a mode) to its file."""
    top = {key: value for key, value in drive.items() if key not in {"if", "id", "index", "media", "cache"}}
    top["driver"] = get_text(drive, "format") or get_text(drive, "driver")
    top["cache"] = get_options(drive, "cache") | _cache_mode(get_text(drive, "cache"))
    file = drive.get("file")
    if isinstance(file, str):
        top["file"] = {"": file}
    elif file is None and "filename" in drive:
        top["file"] = {"": get_text(drive, "filename")}
    chain = resolve(top, nodes)
    chain.aio = chain.aio or get_text(drive, "aio")
    return chain


def _cache_mode(mode: str) -> Options:
    """Return the flags of a `cache=` mode (block.c, bdrv_parse_cache_mode)."""
    modes: dict[str, Options] = {
        "none": {"direct": True, "no-flush": False, "writeback": True},
        "off": {"direct": True, "no-flush": False, "writeback": True},
        "directsync": {"direct": True, "no-flush": False, "writeback": False},
        "writeback": {"direct": False, "no-flush": False, "writeback": True},
        "writethrough": {"direct": False, "no-flush": False, "writeback": False},
        "unsafe": {"direct": False, "no-flush": True, "writeback": True},
    }
    return modes.get(mode, {})


def _take_other_files(chain: ImageChain, node: Options, nodes: Mapping[str, Options], depth: int) -> None:
    """Take the files that a format's node names beside its own."""
    for key, attribute in (("backing", "backing"), ("data-file", "data_file")):
        if key in node and getattr(chain, attribute) is None:
            child = node[key]
            held = nodes.get(child) if isinstance(child, str) else child
            below = depth if key == "backing" else _MAX_DEPTH  # a data file has no other files
            setattr(chain, attribute, resolve(held, nodes, below) if isinstance(held, dict) else ImageChain())


def _take_node(chain: ImageChain, node: Options) -> object:
    """Take from one node what it says; return its child, None at the end of the chain."""
    filename = get_text(node, "filename") or get_text(node, "")
    if filename.startswith("json:"):
        return parse_json(filename.removeprefix("json:"))
    driver = get_text(node, "driver")
    _take_settings(chain, node)
    if "file" not in node and "image" not in node:
        _take_protocol(chain, driver, filename, node)
        return None
    if driver in _SEVERAL_FILES:
        chain.why_not = f"its data lies in several files at once ({driver})"
        return None
    if driver in _FILTERS:
        chain.filters.append(driver)
    elif not chain.format:
        chain.format = driver
    return node.get("file", node.get("image"))


def _take_settings(chain: ImageChain, node: Options) -> None:
    if name := get_text(node, "node-name"):
        chain.node_names.append(name)
    cache = get_options(node, "cache")
    for key, attribute in (
        ("direct", "is_direct"),
        ("no-flush", "is_no_flush"),
        ("writeback", "is_writeback"),
    ):
        if (flag := get_flag(cache, key)) is not None:
            setattr(chain, attribute, flag)
    chain.aio = get_text(node, "aio") or chain.aio
    for key in ("read-only", "readonly"):
        if chain.is_read_only is None:
            chain.is_read_only = get_flag(node, key)
    if get_text(node, "driver") == "raw":
        chain.raw_offset_bytes += get_number(node, "offset") or 0


def _take_protocol(chain: ImageChain, driver: str, filename: str, node: Options) -> None:
    scheme, path = split_protocol(filename)
    chain.protocol = driver or scheme
    if driver in _SEVERAL_FILES:
        chain.why_not = f"its data lies in several files at once ({driver})"
    if chain.protocol in LOCAL_PROTOCOLS:
        chain.filename = path if scheme in LOCAL_PROTOCOLS else filename
        return
    chain.filename = filename or _remote_name(node)


def split_protocol(filename: str) -> tuple[str, str]:
    """Split a file name as QEMU does: a colon before the first slash ends a protocol's name."""
    match = _SCHEME.match(filename)
    if not match or "/" in filename[: match.end()]:
        return "file", filename
    scheme = match.group(1).removesuffix("+tcp").removesuffix("+unix")
    if scheme in LOCAL_PROTOCOLS:
        return scheme, filename[match.end() :]
    return {"fat": "vvfat"}.get(scheme, scheme), filename


def _remote_name(node: Options) -> str:
    server = get_options(node, "server")
    place = [get_text(server, "host"), get_text(server, "port"), get_text(server, "path")]
    what = [get_text(node, key) for key in ("path", "device", "socket", "export", "pool", "image", "portal", "target")]
    return " ".join(part for part in place + what if part)


def _judge(chain: ImageChain) -> None:
    if chain.why_not or chain.protocol in LOCAL_PROTOCOLS:
        return
    if chain.protocol in _DEVICE_PROTOCOLS:
        chain.why_not = _DEVICE_PROTOCOLS[chain.protocol]
    elif chain.protocol in _NETWORK:
        chain.why_not = (
            f"its storage is behind a network ({chain.protocol}): what happens below QEMU is not on this host"
        )
    elif chain.protocol:
        chain.why_not = f"vio does not know the protocol {chain.protocol}"
