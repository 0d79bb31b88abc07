"""gRPC for C++, with stubs generated from `proto/`; skipped where Debian's libgrpc++-dev and compilers are not here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "cpp"
BUILT_WITHIN = 200.0  # seconds, on the first run; 25 on two quiet cores
ENDED_WITHIN = 30.0  # seconds
TOOLS = ("g++", "protoc", "grpc_cpp_plugin", "pkg-config")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(240),
    pytest.mark.skipif(bool(MISSING), reason=f"no C++ client without {', '.join(MISSING)}"),
]

SEEN = """\
unary: 0 HELLO
large: 0 right
server stream: 0 500
client stream: 0 ABC
conversation: 0 ABC
error: 2 ValueError: no item 0, with details
unknown: 12 refused
deadline: 4 1
cancel: 1 after the first
nothing runs: 0 yes
"""


def test_every_kind_of_call(serve):
    subprocess.run([SCRIPT], capture_output=True, timeout=BUILT_WITHIN, check=True)
    done = subprocess.run(
        [SCRIPT, serve("shapes").address], capture_output=True, text=True, timeout=ENDED_WITHIN, check=False
    )
    assert (done.stdout, done.returncode) == (SEEN, 0), done.stderr
