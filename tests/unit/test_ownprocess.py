"""How a process of vio's own is set up, and what of that the commands that it starts must not see."""

import os
import subprocess
import sys

SCRIPT = """
import atexit, gc, os
from vio.ownprocess import keep_memory, prepare
atexit.register(lambda: print(gc.get_freeze_count() > 0))
before = dict(os.environ)
prepare()
keep_memory()
import numpy
numpy.ones((200, 200)) @ numpy.ones((200, 200))
names = [open(f"/proc/self/task/{thread}/comm").read() for thread in os.listdir("/proc/self/task")]
print(sum("jemalloc" not in name for name in names), dict(os.environ) == before)
"""


def run(**more: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS")} | more
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, check=True, capture_output=True, text=True)
    return " ".join(done.stdout.split())


def test_it_has_one_thread_and_its_commands_have_their_environment() -> None:
    assert run() == "1 True True"


def test_what_the_user_says_of_threads_holds() -> None:
    assert run(OPENBLAS_NUM_THREADS="2").endswith("True True")
