"""What every test stands on: one thread, no network, a cache of its own, the same draws."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

os.environ["OMP_NUM_THREADS"] = "1"  # read once, when torch is loaded
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("XDG_CACHE_HOME", None)

SLOW_MACHINE: dict[str, Any] = {
    "deadline": None,  # two busy cores: a time limit would find the neighbours, not a fault
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
settings.register_profile("dev", max_examples=25, **SLOW_MACHINE)
settings.register_profile("ci", max_examples=200, derandomize=True, **SLOW_MACHINE)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

HERE = ("127.0.0.1", "::1", "localhost", "0.0.0.0", "", None)


def no_network(event: str, args: tuple[Any, ...]) -> None:
    """Refuse every address but this machine's own."""
    if event == "socket.connect":
        address = args[1]
        if isinstance(address, tuple) and address[0] not in HERE:
            raise OSError(f"tests have no network: {address[0]}")
    elif event == "socket.getaddrinfo" and args[0] not in HERE:
        raise OSError(f"tests have no network: {args[0]}")


sys.addaudithook(no_network)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Settle torch, where it is loaded: one thread, and fresh memory full of NaN."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = True


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the session a cache folder, so that each tokenizer is trained once."""
    root = tmp_path_factory.getbasetemp()
    shared = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    os.environ["XDG_CACHE_HOME"] = str(shared / "cache")
    yield shared / "cache"
    os.environ.pop("XDG_CACHE_HOME")
