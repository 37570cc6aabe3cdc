"""Whose a process is: the container, service or virtual machine that its control group is named after."""

import re
from pathlib import Path

_ID = re.compile(r"(?:^|[-/:])([0-9a-f]{64})(?:\.scope)?(?:/|$)")
_RUNTIMES = {
    "docker": "docker",
    "libpod": "podman",
    "crio": "cri-o",
    "cri-containerd": "containerd",
    "buildkit": "buildkit",
}
_SHORT_ID = 12
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")


def container_of(process: Path) -> str:
    """Name the container, unit or session of a process (its directory in /proc); "" where it has none."""
    try:
        text = (process / "cgroup").read_text(errors="replace")
    except OSError:
        return ""
    return container_in(text)


def container_in(text: str) -> str:
    """Read /proc/PID/cgroup: the line of cgroup v2 (`0::PATH`), or else the longest of version 1."""
    paths = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in text.splitlines() if line.count(":") >= 2}
    path = paths.get("") if len(paths.get("", "/")) > 1 else max(paths.values(), key=len, default="")
    return _named(path or "")


def _named(path: str) -> str:
    found = _ID.search(path)
    if found:
        before = path[: found.start(1)].rstrip("-").rpartition("/")[2]
        runtime = next((name for word, name in _RUNTIMES.items() if before.startswith(word) or f"/{word}/" in path), "")
        return f"{runtime or 'container'} {found[1][:_SHORT_ID]}"
    words = [word for word in path.split("/") if word]
    for word in reversed(words):
        plain = _ESCAPE.sub(lambda code: chr(int(code[1], 16)), word)
        if plain.startswith("lxc.payload."):
            return f"lxc {plain.removeprefix('lxc.payload.')}"
        if plain.startswith("machine-") and plain.endswith(".scope"):
            return re.sub(r"^qemu-\d+-", "machine ", plain.removeprefix("machine-").removesuffix(".scope"))
        if plain.endswith((".service", ".scope")):
            return plain
    return ""
