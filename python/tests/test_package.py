"""The package as it is installed: what its README promises, what it does at import, what it weighs."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

import posthouse

from conftest import ROOT, run_python

BLOCKS = [
    block
    for readme in (ROOT / "README.md", ROOT.parent / "README.md")
    for block in re.findall(r"```python\n(.*?)```", readme.read_text(), re.S)
]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("block", BLOCKS)
def test_the_readmes_blocks_run(block: str) -> None:
    done = run_python(block)
    assert done.returncode == 0, done.stderr


def test_the_readmes_first_block_is_short_and_prints_what_it_says() -> None:
    assert len([line for line in BLOCKS[0].splitlines() if line]) <= 5
    assert run_python(BLOCKS[0]).stdout == "eu one parcel\n"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_run(example: Path) -> None:
    done = run_python(example.read_text())
    assert done.returncode == 0, done.stderr
    expected = re.search(r'^"""(.*?)"""', example.read_text(), re.S)
    assert expected
    prints = re.findall(r"^    (.*)$", expected[1], re.M)
    assert prints and done.stdout.splitlines() == prints


def test_every_sample_of_the_tutorial_has_an_example() -> None:
    names = {path.stem for path in EXAMPLES}
    samples = {"sync_send", "async_send", "oneway", "batch", "ordered", "delayed", "tag", "sql", "transaction", "broadcast"}
    assert samples <= names


def test_there_is_one_version() -> None:
    assert importlib.metadata.version("posthouse") == posthouse.__version__
    cargo = (ROOT.parent / "Cargo.toml").read_text()
    found = re.search(r'^version = "(.*)"', cargo, re.M)
    assert found and found[1] == posthouse.__version__


def test_importing_does_nothing_else(tmp_path: Path) -> None:
    done = run_python(
        f"""
import os, threading
os.chdir({str(tmp_path)!r})
before = set(os.listdir('/proc/self/fd'))
import posthouse
assert threading.active_count() == 1
assert len(os.listdir('/proc/self/task')) == 1
assert set(os.listdir('/proc/self/fd')) == before
assert os.listdir('.') == []
"""
    )
    assert done.returncode == 0, done.stderr


def test_importing_takes_60_ms_at_most() -> None:
    code = "import time; begun = time.perf_counter(); import posthouse; print(time.perf_counter() - begun)"
    took = []
    # On a machine that has other things to do it takes longer now and then.
    while len(took) < 50 and min(took, default=1.0) > 0.06:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        took.append(float(done.stdout))
    assert min(took) <= 0.06, took


def test_pytest_finds_the_fixtures_and_each_test_has_an_empty_server(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        '''
import pytest
servers = []

@pytest.mark.parametrize("turn", range(3))
def test_sync(posthouse_server, posthouse_client, turn):
    servers.append(posthouse_server)
    assert servers[0] is posthouse_server
    assert "t" not in posthouse_client.admin().topics()
    posthouse_client.producer().send("t", "x", deliver_after=60)
    consumer = posthouse_client.simple_consumer("g", "t")
    assert consumer.receive(wait=0) == []
    assert posthouse_server.advance(60) == 1
    assert [message.text() for message in consumer.receive()] == ["x"]

async def test_async(posthouse_async_client):
    assert "t" not in await posthouse_async_client.admin().topics()
    assert (await posthouse_async_client.producer().send("t", "x")).status == "ok"
'''
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert "4 passed" in done.stdout and done.returncode == 0, done.stdout + done.stderr


def test_one_wheel_serves_every_later_python_and_names_the_systems_it_needs() -> None:
    wheel = importlib.metadata.distribution("posthouse").read_text("WHEEL")
    assert wheel
    tags = re.findall(r"^Tag: (.*)$", wheel, re.M)
    assert tags and all(tag.startswith("cp311-abi3-") for tag in tags)
    files = importlib.metadata.files("posthouse")
    assert files is not None
    [native] = [file for file in files if file.suffix == ".so"]
    assert native.name == "_native.abi3.so"
    needed = {int(version) for version in re.findall(rb"GLIBC_2\.(\d+)\0", Path(str(native.locate())).read_bytes())}
    promised = {int(version) for version in re.findall(r"manylinux_2_(\d+)_x86_64", " ".join(tags))}
    assert max(needed) <= min(promised) == 17
    assert any(tag.endswith("-manylinux2014_x86_64") for tag in tags)


def test_it_is_typed_and_small() -> None:
    files = importlib.metadata.files("posthouse")
    assert files is not None
    names = {file.name for file in files}
    assert {"py.typed", "_native.pyi"} <= names
    [native] = [file for file in files if file.suffix == ".so"]
    assert Path(str(native.locate())).stat().st_size < 30 << 20
