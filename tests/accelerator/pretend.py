"""A pretend accelerator: a device of torch that needs no hardware and is as strict about mixing devices as a GPU."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from benchbench.devices import kinds

NAME = "pretend"
SOURCE = Path(__file__).with_name("pretend.cpp")


def load() -> torch.device:
    """Return the pretend device, after compiling and registering it for this process.

    Raises:
        FileNotFoundError: There is no C++ compiler.
        RuntimeError: The compiler does not take the source with this version of torch.
    """
    device = torch._C._get_privateuse1_backend_name()
    if device != NAME:
        torch.utils.rename_privateuse1_backend(NAME)
        torch.ops.load_library(str(_compiled()))
        torch._register_device_module(NAME, _module())
        torch.utils.generate_methods_for_privateuse1_backend()
        kinds.BY_TYPE[NAME] = replace(kinds.NVIDIA, type=NAME, title="pretend GPU", variable=None, collective="gloo")
    return torch.device(NAME, 0)


def _compiled() -> Path:
    """Return the library; compiled once per version of torch and of the source, in half a minute."""
    from torch.utils.cpp_extension import get_default_build_root, include_paths, library_paths

    version = hashlib.sha256(SOURCE.read_bytes() + torch.__version__.encode() + sys.version.encode()).hexdigest()[:16]
    library = Path(get_default_build_root(), f"benchbench-{NAME}-{version}.so")
    if library.exists():
        return library
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        made = Path(folder, library.name)
        command = ["g++", "-O1", "-std=c++20", "-fPIC", "-shared", "-w", str(SOURCE), "-o", str(made)]
        command += [f"-I{path}" for path in include_paths()] + [f"-L{path}" for path in library_paths()]
        command += [f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}", "-ltorch_cpu", "-lc10"]
        compiled = subprocess.run(command, capture_output=True, text=True, check=False)
        if compiled.returncode:
            raise RuntimeError(
                f"the pretend accelerator does not compile with torch {torch.__version__}:\n{compiled.stderr}"
            )
        made.rename(library)
    return library


def _module() -> ModuleType:
    """Return what torch looks up in `torch.pretend`."""
    module: Any = ModuleType(f"torch.{NAME}")

    def generator() -> torch.Generator:
        return torch._C._accelerator_getDefaultGenerator(0)

    module.is_available = module.is_initialized = lambda: True
    module._is_in_bad_fork = lambda: False
    module.device_count = lambda: 1
    module.current_device = lambda: 0
    module.init = lambda: None
    module.set_device = module.synchronize = lambda device=None: None
    module.device = lambda device: nullcontext()
    module.manual_seed = module.manual_seed_all = lambda seed: generator().manual_seed(seed)
    module.get_rng_state = lambda device=0: generator().get_state()
    module.set_rng_state = lambda state, device=0: generator().set_state(state)
    module.get_amp_supported_dtype = lambda: [torch.bfloat16, torch.float16]
    return module
