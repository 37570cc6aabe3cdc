"""Which functions of QEMU may be return-probed: those that never yield, never enter a coroutine. Law 1.

A return probe replaces the return address on the stack and expects returns in the order of calls, per thread. While a
coroutine of QEMU is away, others run on its thread: the VM ends with SIGILL or "stack smashing detected".
"""

# Each was run under load with a return probe, and none calls anything that may switch stacks.
MAY_BE_RETURN_PROBED = frozenset(
    {
        "virtqueue_pop",
        "qcow2_cache_put",
        "qemu_coroutine_self",
        "thread_pool_submit_aio",
        "block_acct_start",
        "block_acct_done",
        "event_notifier_set",
    }
)

_YIELDING = ("_co_", "qcow2_", "bdrv_", "blk_", "laio_", "luring_", "throttle_")


def why_no_return(function: str) -> str:
    """Say why a function of QEMU may not be return-probed; "" if it may."""
    if function in MAY_BE_RETURN_PROBED:
        return ""
    if any(part in function for part in _YIELDING):
        return "it may yield in a coroutine, and a return probe would end the VM"
    return "it is not known never to yield, and a return probe on what yields ends the VM"
