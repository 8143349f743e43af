"""What must be the same in two backends for their difference to be the runtime's alone."""

from collections.abc import Mapping

FACTORS: Mapping[str, str] = {
    "threads": "threads for work on the CPU",
    "inter_op_threads": "operators that may run at a time",
    "affinity": "cores that the process may run on",
    "spinning": "whether threads spin while they wait for work",
    "arithmetic": "the type in which products are computed: fp32, tf32, fp16, bf16, int8",
    "layout": "channels first or last in memory",
    "transfers": "copies between host and device inside the window",
    "graph_capture": "whether a CUDA graph is replayed",
    "autotuning": "what is searched for the fastest kernel, and when",
    "optimization": "what the runtime does to the graph before it runs",
}
"""The keys of `Repetition.settings` that every backend fills, and what they mean.

A value of ``None`` means that the runtime does not report it; ``none``, that it has no such thing.
"""
