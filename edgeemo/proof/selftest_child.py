"""The process that replays a bundle's self-test for `edgeemo.proof.selftest_apart`: python -m
edgeemo.proof.selftest_child BUNDLE SECONDS

It tells its parent what it does, one JSON object a line, on what was its standard output:
    {"sign": N}                       it is alive (a picture or another step is done)
    {"opens": [artifact, kernels]}    the next thing it touches is this model
    {"result": {...}}                 a SelfTestResult
    {"refused": text}                 the bundle cannot be read
    {"done": true}                    that was all
Whatever else in the process writes to standard output goes to standard error.
"""

import contextlib
import json
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

# A damaged model may ask for any amount (XNNPACK clears gigabytes for one wrong byte). Ours take
# 0.2 GiB, 64 MB ones below 1.
_MAX_ADDRESS_SPACE = 2 << 30
# Nothing here writes files; what native code says while stderr is held back in memory counts as
# one.
_MAX_FILE = 16 << 20


def main(arguments: list[str]) -> NoReturn:
    """Replay the self-test of the bundle file `arguments[0]`, within `arguments[1]` seconds of
    processor time.
    """
    _limit_self(int(arguments[1]))
    messages = os.dup(1)
    os.dup2(2, 1)

    def tell(message: dict[str, object]) -> None:
        try:
            os.write(messages, json.dumps(message).encode() + b"\n")
        except OSError:  # the parent has gone, and with it the reason to go on
            os._exit(1)

    tell({"sign": 0})
    _replay_all(arguments[0], tell)
    tell({"done": True})
    # Every model has been closed by now; what else the runtimes do at the end of a process is not
    # in question.
    os._exit(0)


def _replay_all(path: str, tell: Callable[[dict[str, object]], None]) -> None:
    from edgeemo.errors import EdgeemoError
    from edgeemo.proof.selftest import Replay, SelfTestResult, replay, replays
    from edgeemo.trust import read_bundle

    signs = iter(range(1, sys.maxsize))

    def sign() -> None:
        tell({"sign": next(signs)})

    sign()
    try:
        bundle = read_bundle(path)
        selftest = bundle.selftest()
    except (EdgeemoError, MemoryError) as error:
        tell({"refused": str(error)[:1000] or f"{path[:1000]}: not enough memory to read it"})
        return

    def outcome(plan: Replay) -> SelfTestResult:
        try:
            return replay(bundle, plan, selftest, sign)
        except (
            Exception
        ) as error:  # a refusal, or whatever else a damaged model makes a runtime raise
            fails = (
                f"{plan.artifact.file}: its interpreter fails ({type(error).__name__}:"
                f" {str(error)[:200]}); do not use this bundle"
            )
            note = " ".join((str(error) if isinstance(error, EdgeemoError) else fails).split())[
                :600
            ]
            return SelfTestResult(
                plan.artifact.file, False, plan.kernels, float("inf"), plan.bound, note
            )

    for plan in replays(bundle.manifest):
        tell({"opens": [plan.artifact.file, plan.kernels]})
        tell({"result": asdict(outcome(plan))})


def _limit_self(seconds: int) -> None:
    """No core file, bounded memory and files, a processor time that ends it even when nobody
    watches, first to be killed.
    """
    limits = (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, _MAX_ADDRESS_SPACE),
        (resource.RLIMIT_FSIZE, _MAX_FILE),
        (resource.RLIMIT_CPU, seconds),
    )
    for which, most in limits:
        with contextlib.suppress(ValueError, OSError, OverflowError):
            hard = resource.getrlimit(which)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(which, (most, most))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main(sys.argv[1:])
