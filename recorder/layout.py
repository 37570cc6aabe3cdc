"""Where a QEMU keeps what we read: argument positions and struct offsets, chosen by which symbols it exports."""

from collections.abc import Set

# Offsets in VirtIOBlockReq and arguments, in bytes and bpftrace's argN; x86-64.
# ELEM_OUT and ELEM_IN are VirtQueueElement's out_num and in_num; SCSI_VQ is VirtIOSCSIReq's queue.
_REQUEST_5_2 = {"REQ_ACCT": "216", "REQ_SECTOR": "56", "REQ_VQ": "72", "REQ_MR_NEXT": "208"}
_REQUEST_4_2 = {"REQ_ACCT": "168", "REQ_SECTOR": "56", "REQ_VQ": "72", "REQ_MR_NEXT": "160"}
_REQUEST_2_12 = {"REQ_ACCT": "144", "REQ_SECTOR": "48", "REQ_VQ": "64", "REQ_MR_NEXT": "136"}

_ELEMENT_4_2 = {"ELEM_OUT": "12", "ELEM_IN": "16", "SCSI_VQ": "64"}
_ELEMENT_2_12 = {"ELEM_OUT": "4", "ELEM_IN": "8", "SCSI_VQ": "56"}

# SCSIRequest's hba_private, and where BlockAcctCookie lies in the SCSIDiskReq that begins with it.
_SCSI_10_0 = {"SCSI_PRIVATE": "48", "SCSI_ACCT": "496"}
_SCSI_4_0 = {"SCSI_PRIVATE": "40", "SCSI_ACCT": "488"}
_SCSI_2_12 = {"SCSI_PRIVATE": "40", "SCSI_ACCT": "472"}
# The argument before it is a number of bytes where there is a CDB's length, else it is the pointer. By arithmetic: of
# `a ? arg5 : arg4` LLVM makes a load from a computed place in the context, which the kernel's verifier refuses.
_IS_LENGTH = "((uint64)arg4 < (uint64)4096 ? (uint64)1 : (uint64)0)"
_SCSI_HBA = {"SCSI_HBA": f"((uint64)arg4 + (uint64)((uint64)arg5 - (uint64)arg4) * {_IS_LENGTH})"}

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
    VirtQueueElement's users (7bd04a041a); 4.2 brought qemu_iovec_init_slice and packed rings (86044b24e8); 10.0 gave
    SCSIRequest its AioContext in the series that brought iothread_vq_mapping_apply. QEMUIOVector grew in 4.0.
    """
    submit = _SUBMIT_4_2 if symbols & {"laio_io_plug", "luring_io_plug", "bdrv_io_plug"} else _SUBMIT_8_1
    if "qcow2_get_host_offset" in symbols:
        request = _REQUEST_5_2
    elif "qemu_iovec_init_slice" in symbols:
        request = _REQUEST_4_2
    else:
        request = _REQUEST_2_12
    is_old = request is _REQUEST_2_12
    scsi = _SCSI_10_0 if "iothread_vq_mapping_apply" in symbols else _SCSI_2_12 if is_old else _SCSI_4_0
    return {**request, **(_ELEMENT_2_12 if is_old else _ELEMENT_4_2), **scsi, **_SCSI_HBA, **submit}
