"""Functions of the running kernel: which can be probed, and how; read when first asked for."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from vio.recorder.btf import Btf, BtfError, BtfFunction, read_btf
from vio.recorder.fentry import why_no_fentry
from vio.recorder.procfs import HostRoots

_TRIED = "vfs_open"  # in every kernel, and never busy
_NEAR = 4
_MOST_ARGUMENTS = 6  # those in registers; the rest are on the stack


@dataclass
class KernelFunctions:
    """What the kernel offers; the loaders are called once, when something is asked.

    `traceable` gives the functions that its tracers may attach to, with their modules ("" for the kernel itself);
    `symbols` all names with their addresses (0: hidden, or several). `file_systems` and `modules` are those that are
    there now.
    """

    has_kprobes: bool = False
    load_btf: Callable[[str], Btf | None] = field(default=lambda _: None, repr=False)
    load_traceable: Callable[[], Mapping[str, str]] = field(default=dict, repr=False)
    load_symbols: Callable[[], Mapping[str, int]] = field(default=dict, repr=False)
    try_fentry: Callable[[int], str] = field(default=lambda _: "it was not tried", repr=False)
    modules: frozenset[str] = frozenset()

    @cached_property
    def traceable(self) -> Mapping[str, str]:
        """Functions that may be traced, with their modules."""
        return self.load_traceable()

    @cached_property
    def symbols(self) -> Mapping[str, int]:
        """All names of functions, with their addresses."""
        return self.load_symbols()

    @cached_property
    def no_fentry(self) -> str:
        """Say why fentry does not work here at all; "" if it does."""
        btf = self.load_btf("")
        tried = btf.find(_TRIED) if btf else None
        return self.try_fentry(tried.type_id) if tried else "it has no BTF"

    def find_btf(self, name: str, module: str = "") -> tuple[str, BtfFunction] | None:
        """Find a function in the types of vmlinux, of a module, or of the module that has it; with that module."""
        for place in dict.fromkeys((module, self.traceable.get(name, ""))):
            btf = self.load_btf(place)
            found = btf.find(name) if btf else None
            if found:
                return place, found
        return None

    def why_not_fentry(self, name: str, module: str = "") -> str:
        """Say why no fentry program can be put on a function; "" if one can."""
        if why := self._why_absent(name, module):
            return why
        if self.no_fentry:
            return f"fentry does not work here: {self.no_fentry}"
        found = self.find_btf(name, module)
        if found is None:
            return f"the kernel's types (BTF) do not have {name}"
        if len(found[1].arguments) > _MOST_ARGUMENTS:
            return f"{name} has more than {_MOST_ARGUMENTS} arguments, which fentry does not take"
        return "" if name in self.traceable or not self.traceable else f"{name} cannot be traced"

    def why_not_kprobe(self, name: str, module: str = "") -> str:
        """Say why no kprobe can be put on a function; "" if one can."""
        if why := self._why_absent(name, module):
            return why
        if not self.has_kprobes:
            return "this kernel has no kprobes"
        return "" if name in self.traceable or not self.traceable else f"{name} cannot be traced"

    def _why_absent(self, name: str, module: str) -> str:
        if module and module not in self.modules:
            return f"module {module} is not loaded"
        if name in self.symbols or not self.symbols:
            return ""
        kept = sorted(one for one in self.symbols if one.startswith(f"{name}."))
        if kept:
            return f"the compiler has changed {name} to {kept[0]}"
        return f"the kernel has no function {name} (or it is inlined)"

    def near(self, name: str) -> list[str]:
        """Return names of functions that are much like this one."""
        begins = [one for one in self.symbols if one.startswith(name)]
        return sorted(begins, key=len)[:_NEAR] or difflib.get_close_matches(name, self.symbols, _NEAR, 0.75)


def read_kernel_functions(roots: HostRoots, tracefs: Path | None, has_kprobes: bool) -> KernelFunctions:
    """Return the functions of this host's kernel; nothing is read yet but the names of its modules."""
    directory = roots.sys / "kernel" / "btf"

    def load_btf(module: str) -> Btf | None:
        base = directory / "vmlinux"
        try:
            return read_btf(directory / module, base) if module else read_btf(base)
        except BtfError:
            return None

    return KernelFunctions(
        has_kprobes=has_kprobes,
        load_btf=load_btf,
        load_traceable=lambda: _traceable(tracefs),
        load_symbols=lambda: _symbols(roots.proc / "kallsyms"),
        try_fentry=why_no_fentry,
        modules=frozenset(_names(roots.sys / "module")) | _file_systems(roots.proc / "filesystems"),
    )


def _traceable(tracefs: Path | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in _lines(tracefs / "available_filter_functions") if tracefs else []:
        name, _, module = line.partition(" ")
        found[name] = module.strip("[]")
    return found


def _symbols(place: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in _lines(place):
        words = line.split()
        if len(words) > 2 and words[1] in "tTwW":
            found[words[2]] = 0 if words[2] in found else int(words[0], 16)
    return found


def _file_systems(place: Path) -> frozenset[str]:
    return frozenset(line.split()[-1] for line in _lines(place) if line.split())


def _names(place: Path) -> list[str]:
    try:
        return [one.name for one in place.iterdir()]
    except OSError:
        return []


def _lines(place: Path) -> list[str]:
    try:
        return place.read_text(errors="replace").splitlines()
    except OSError:
        return []
