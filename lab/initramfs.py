"""Build the guest's initramfs from Debian's cloud kernel, busybox and fio, and keep it under .cache/lab."""

import hashlib
import lzma
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from elftools.elf.elffile import ELFFile

from lab import cpio, slim
from vio.errors import HostError

REPOSITORY = Path(__file__).resolve().parent.parent
CACHE = REPOSITORY / ".cache" / "lab"
UNPACKED = CACHE / "debian"
"""Where tools/setup.sh unpacks packages that need not, or should not, be installed on the host."""

DRIVERS = ("virtio_pci", "virtio_blk", "sd_mod", "virtio_scsi")
_TOOLS = ("fio", "blkdiscard", "fallocate")
_FIO_LIBRARIES = ("libc.", "libm.", "libaio.", "libz.", "libnuma.")
_TOOL_FOLDERS = ("usr/bin", "usr/sbin", "bin", "sbin")
_SOURCES = ("initramfs.py", "cpio.py", "slim.py", "init.sh")


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel image and the directory of its modules."""

    version: str
    image: Path
    modules: Path

    @property
    def is_cloud(self) -> bool:
        """Tell whether it is the one for virtual machines, which has few drivers."""
        return self.version.endswith("-cloud-amd64")


def find_kernel() -> Kernel:
    """Find the newest Debian cloud kernel, installed or unpacked by tools/setup.sh."""
    return _newest([one for one in _all_kernels() if one.is_cloud], "cloud kernel for the lab guest")


def find_host_kernel() -> Kernel:
    """Find the newest Debian kernel with all drivers; modprobe can work with its modules."""
    found = [one for one in _all_kernels() if not one.is_cloud and (one.modules / "modules.dep").exists()]
    return _newest(found, "kernel for the lab host")


def _newest(kernels: list[Kernel], what: str) -> Kernel:
    if not kernels:
        raise HostError(f"no Debian {what}", "run: make setup")
    return max(kernels, key=lambda kernel: _version_key(kernel.version))


def build(kernel: Kernel) -> Path:
    """Give the initramfs for `kernel`, from the cache when nothing that goes into it has changed."""
    busybox = find_busybox()
    tools = [_find_tool(name) for name in _TOOLS]
    modules = load_order(kernel, DRIVERS)
    key = _digest([busybox, *tools, *modules, *(Path(__file__).parent / name for name in _SOURCES)])
    path = CACHE / f"initramfs-{kernel.version}-{key}.cpio"
    if not path.exists():
        _write_whole(path, cpio.archive(_entries(busybox, tools, modules)))
    return path


def _all_kernels() -> Iterator[Kernel]:
    for root in (Path("/"), UNPACKED):
        yield from _kernels(root)


def _kernels(root: Path) -> Iterator[Kernel]:
    for image in (root / "boot").glob("vmlinuz-*-amd64"):
        version = image.name.removeprefix("vmlinuz-")
        for modules in (root / "lib/modules" / version, root / "usr/lib/modules" / version):
            if (modules / "kernel").is_dir():
                yield Kernel(version, image, modules)
                break


def _version_key(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def find_busybox() -> Path:
    """Find a busybox without shared libraries."""
    for root in (UNPACKED, Path("/")):
        for folder in _TOOL_FOLDERS:
            path = root / folder / "busybox"
            if path.is_file() and _is_static(path):
                return path
    raise HostError("no static busybox for the lab guest", "run: make setup")


def _find_tool(name: str) -> Path:
    for folder in _TOOL_FOLDERS:
        path = Path("/", folder, name)
        if path.is_file():
            return path
    raise HostError(f"no {name} for the lab guest", "run: make setup")


def _is_static(program: Path) -> bool:
    elf = ELFFile(BytesIO(program.read_bytes()))
    return all(segment["p_type"] != "PT_INTERP" for segment in elf.iter_segments())


def load_order(kernel: Kernel, drivers: Iterable[str]) -> list[Path]:
    """List the modules to load, each after those that it needs; drivers built into the kernel have none."""
    order: list[Path] = []
    for name in drivers:
        _add_module(kernel, name, order)
    return order


def _add_module(kernel: Kernel, name: str, order: list[Path]) -> None:
    path = next((kernel.modules / "kernel").rglob(f"{name}.ko*"), None)
    if path is None or path in order:
        return
    needed = re.search(rb"\0depends=([^\0]*)\0", _module(path))
    for other in needed[1].decode().split(",") if needed else ():
        if other:
            _add_module(kernel, other, order)
    order.append(path)


def _module(path: Path) -> bytes:
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == ".xz" else content


def _entries(busybox: Path, tools: list[Path], modules: list[Path]) -> Iterator[cpio.Entry]:
    init = Path(__file__).with_name("init.sh").read_bytes()
    yield cpio.file_entry("/init", init, executable=True)
    yield cpio.file_entry("/bin/busybox", busybox.read_bytes(), executable=True)
    yield from (cpio.Entry(f"/{name}", 0o040755) for name in ("dev", "proc", "sys", "tmp"))
    yield from module_entries(modules)
    yield from _tool_entries(tools)


def module_entries(modules: list[Path]) -> Iterator[cpio.Entry]:
    """Give the members of an archive that has `modules`, and their order, under /modules."""
    names = [path.name.removesuffix(".xz") for path in modules]
    yield cpio.file_entry("/modules/order", "".join(f"{name}\n" for name in names).encode())
    for name, path in zip(names, modules, strict=True):
        yield cpio.file_entry(f"/modules/{name}", _module(path))


def _tool_entries(tools: list[Path]) -> Iterator[cpio.Entry]:
    libraries: set[Path] = set()
    with tempfile.TemporaryDirectory() as folder:
        for tool in tools:
            program = _slim_fio(tool, Path(folder)) if tool.name == "fio" else tool
            libraries |= _libraries(program)
            yield cpio.file_entry(f"/usr/bin/{tool.name}", program.read_bytes(), executable=True)
    for library in sorted(libraries):
        yield cpio.file_entry(str(library), library.read_bytes(), executable=True)


def _slim_fio(fio: Path, folder: Path) -> Path:
    """Give a lean copy of fio, or fio itself where such a copy does not run."""
    copy = folder / "fio"
    copy.write_bytes(slim.without_libraries(fio.read_bytes(), _FIO_LIBRARIES))
    copy.chmod(0o755)
    job = ("--name=check", "--ioengine=libaio", "--rw=randrw", "--size=64k", f"--filename={folder}/data")
    ran = subprocess.run([str(copy), *job], capture_output=True, check=False, timeout=30, cwd=folder)
    return copy if ran.returncode == 0 else fio


def _libraries(program: Path) -> set[Path]:
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=True, timeout=30).stdout
    return {Path(path) for path in re.findall(r"(/\S+) \(0x", listing)}


def _digest(sources: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in sources:
        digest.update(str(path).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _write_whole(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    Path(file.name).replace(path)
