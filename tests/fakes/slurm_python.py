"""Runs a module as ``python -m`` does, with simulated measurements: an interpreter for nodes."""

import runpy
import sys

import tests.fakes.fleet_preload  # noqa: F401 - the measuring process becomes a simulated one

if __name__ == "__main__":
    assert sys.argv[1] == "-m"
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
