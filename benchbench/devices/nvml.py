"""NVIDIA's management library (NVML): which GPUs there are, asked without starting CUDA."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass

_LIBRARY = "libnvidia-ml.so.1"
_LONGEST = 96
"""Bytes of NVML's longest name."""

_NO_FAULTS = frozenset({3, 4, 6, 9, 13})
"""Errors of NVML by which there is no GPU for this process: not supported, not permitted, not found, no driver loaded,
and a function that the library does not have."""


@dataclass(frozen=True)
class Gpu:
    """A GPU.

    Attributes:
        uuid: `GPU-...`
        instances: `MIG-...` of each instance that it is divided into; none where it is not.
    """

    uuid: str
    instances: tuple[str, ...] = ()


@dataclass(frozen=True)
class Machine:
    """The GPUs and the driver of this machine, as NVML reports them.

    Attributes:
        gpus: The GPUs, in the order of the bus.
        driver: Version of the driver, such as `580.65.06`; empty where it is not said.
    """

    gpus: tuple[Gpu, ...]
    driver: str = ""

    @property
    def uuids(self) -> tuple[str, ...]:
        """Return the identifiers of all GPUs and instances."""
        return tuple(uuid for gpu in self.gpus for uuid in (gpu.uuid, *gpu.instances))


class _Error(Exception):
    """A call has failed, or the library does not have it.

    Args:
        name: The call.
        code: NVML's number of the error.
        text: What NVML says of it.
    """

    def __init__(self, name: str, code: int = 13, text: str = "") -> None:
        super().__init__(f"{name}: {text or f'error {code}'}")
        self.code = code


def machine() -> Machine | None:
    """Return what NVML says, or `None` where there is no driver, or it does not answer."""
    try:
        return _machine()
    except _Error:
        return None


def fault() -> str | None:
    """Return what NVML says of a driver that is there and broken, such as one that is being replaced, in one line.

    `None` if it answers, or if there is no GPU for this process.
    """
    try:
        _machine()
    except _Error as error:
        return None if error.code in _NO_FAULTS else str(error)
    return None


def _machine() -> Machine | None:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
    _call(library, "nvmlInit_v2")
    try:
        count = ctypes.c_uint()
        _call(library, "nvmlDeviceGetCount_v2", ctypes.byref(count))
        return Machine(tuple(_gpu(library, index) for index in range(count.value)), _driver(library))
    finally:
        library.nvmlShutdown()


def _call(library: ctypes.CDLL, name: str, *arguments: object) -> None:
    function = getattr(library, name, None)
    if function is None:
        raise _Error(name)
    if (code := function(*arguments)) != 0:
        raise _Error(name, code, _said(library, code))


def _said(library: ctypes.CDLL, code: int) -> str:
    function = getattr(library, "nvmlErrorString", None)
    if function is None:
        return ""
    function.restype = ctypes.c_char_p
    return (function(code) or b"").decode("ascii", "replace")


def _gpu(library: ctypes.CDLL, index: int) -> Gpu:
    handle = ctypes.c_void_p()
    _call(library, "nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle))
    return Gpu(_uuid(library, handle), tuple(_instances(library, handle)))


def _uuid(library: ctypes.CDLL, handle: ctypes.c_void_p) -> str:
    text = ctypes.create_string_buffer(_LONGEST)
    _call(library, "nvmlDeviceGetUUID", handle, text, ctypes.c_uint(_LONGEST))
    return text.value.decode("ascii", "replace")


def _instances(library: ctypes.CDLL, handle: ctypes.c_void_p) -> Iterator[str]:
    """Yield the identifiers of the instances that a GPU is divided into, if it is."""
    mode, pending, most = ctypes.c_uint(), ctypes.c_uint(), ctypes.c_uint()
    try:
        _call(library, "nvmlDeviceGetMigMode", handle, ctypes.byref(mode), ctypes.byref(pending))
        _call(library, "nvmlDeviceGetMaxMigDeviceCount", handle, ctypes.byref(most))
    except _Error:
        return
    for index in range(most.value if mode.value else 0):
        instance = ctypes.c_void_p()
        try:
            _call(library, "nvmlDeviceGetMigDeviceHandleByIndex", handle, ctypes.c_uint(index), ctypes.byref(instance))
            yield _uuid(library, instance)
        except _Error:
            continue  # not all that there can be have been made


def _driver(library: ctypes.CDLL) -> str:
    text = ctypes.create_string_buffer(_LONGEST)
    try:
        _call(library, "nvmlSystemGetDriverVersion", text, ctypes.c_uint(_LONGEST))
    except _Error:
        return ""
    return text.value.decode("ascii", "replace")
