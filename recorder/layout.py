"""Where a QEMU keeps what we read: argument positions and struct offsets, chosen by which symbols it exports."""

from collections.abc import Set

# Offsets in VirtIOBlockReq and arguments, in bytes and bpftrace's argN; x86-64.
_REQUEST_5_2 = {"REQ_ACCT": "216", "REQ_SECTOR": "56", "REQ_VQ": "72", "REQ_MR_NEXT": "208"}
_REQUEST_4_2 = {"REQ_ACCT": "168", "REQ_SECTOR": "56", "REQ_VQ": "72", "REQ_MR_NEXT": "160"}
_REQUEST_2_12 = {"REQ_ACCT": "144", "REQ_SECTOR": "48", "REQ_VQ": "64", "REQ_MR_NEXT": "136"}

_SUBMIT_4_2 = {
    "LAIO_FD": "arg2", "LAIO_OFFSET": "arg3", "LAIO_QIOV": "arg4", "LAIO_TYPE": "arg5",
    "LURING_FD": "arg2", "LURING_OFFSET": "arg3", "LURING_QIOV": "arg4", "LURING_TYPE": "arg5",
    "POOL_ARG": "arg2",
}  # fmt: skip
_SUBMIT_8_1 = {
    "LAIO_FD": "arg0", "LAIO_OFFSET": "arg1", "LAIO_QIOV": "arg2", "LAIO_TYPE": "arg3",
    "LURING_FD": "arg1", "LURING_OFFSET": "arg2", "LURING_QIOV": "arg3", "LURING_TYPE": "arg4",
    "POOL_ARG": "arg1",
}  # fmt: skip


def qemu_layout(symbols: Set[str]) -> dict[str, str]:
    """Return what each name in the `.bt` files stands for in the QEMU that exports `symbols`.

    QEMU 8.1 removed laio_io_plug and luring_io_plug together with the first arguments of laio_co_submit and
    thread_pool_submit_co; 5.2 renamed qcow2_get_cluster_offset to qcow2_get_host_offset and added the undo fields to
    VirtQueueElement's users (7bd04a041a); 4.2 brought qemu_iovec_init_slice and packed rings (86044b24e8).
    """
    submit = _SUBMIT_4_2 if symbols & {"laio_io_plug", "luring_io_plug", "bdrv_io_plug"} else _SUBMIT_8_1
    if "qcow2_get_host_offset" in symbols:
        request = _REQUEST_5_2
    elif "qemu_iovec_init_slice" in symbols:
        request = _REQUEST_4_2
    else:
        request = _REQUEST_2_12
    return {**request, **submit}
