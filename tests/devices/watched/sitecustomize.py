"""Imported by every Python that finds it: notes, in the file NOTED, who asks for CUDA or starts it."""

import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PYTHON = ("_lazy_init", "device_count", "is_available", "get_device_name", "get_rng_state")
NATIVE = ("_cuda_init", "_cuda_getDeviceCount")


def noting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def noted(*args: Any, **kwargs: Any) -> Any:
        callers = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_stack()[-8:-1]]
        with open(os.environ["NOTED"], "a", encoding="utf-8") as file:  # noqa: PTH123 - light, in every Python
            file.write(f"{name} by {' < '.join(reversed(callers))}\n")
        return function(*args, **kwargs)

    return noted


class Watching(Loader):
    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self.loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        import torch

        for name in PYTHON:
            setattr(module, name, noting(name, getattr(module, name)))
        for name in NATIVE:
            if hasattr(torch._C, name):
                setattr(torch._C, name, noting(name, getattr(torch._C, name)))


class Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "torch.cuda":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None:
            spec.loader = Watching(spec.loader)
        return spec


if "NOTED" in os.environ:
    sys.meta_path.insert(0, Finder())
