"""The injections, by what they delay: QEMU, the host's kernel, or the threads' time on a CPU."""

from lab.truth.injections import host, qemu, threads
from lab.truth.play import Injection

INJECTIONS: tuple[Injection, ...] = (*qemu.INJECTIONS, *host.INJECTIONS, *threads.INJECTIONS)
"""All of them, in the order in which they are played."""
