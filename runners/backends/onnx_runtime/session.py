"""ONNX Runtime: an InferenceSession whose inputs and outputs are bound once."""

import os
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar

from greenbatch.errors import UnsupportedCell
from greenbatch.runners.backends import (
    TRIAL_SHAPE,
    Options,
    Setting,
    Task,
    check_trial,
    cuda_driver,
    find,
    tf32,
)
from greenbatch.runners.backends.onnx_runtime import libraries, settings
from greenbatch.runners.backends.onnx_runtime.placement import Start, start
from greenbatch.runners.backends.onnx_runtime.providers import PROVIDERS, Provider
from greenbatch.runners.backends.planning import Planning

if TYPE_CHECKING:
    import numpy as np

    from greenbatch.runners.backends.onnx_runtime.interface import Binding, Value

_TRIAL_IR, _TRIAL_OPSET = 8, 17  # old enough for every ONNX Runtime that greenbatch takes


class OnnxSession:
    """A session on one execution provider, proved to run there, reading and writing fixed buffers.

    The session's own initial graph assignment is the proof: ``placement`` counts its nodes by
    provider. Those that compute sizes alone may be on the CPU; they are named in the settings.

    Raises:
        PlacementError: The provider did not start, or left nodes to another one.
        StudyError: It does not take what was set.
        UnsupportedCell: It cannot keep inputs and outputs on its device.
    """

    options: ClassVar[Options] = settings.OPTIONS
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime",)
    preloads: ClassVar[tuple[str, ...]] = ()  # onnxruntime starts a thread when it is imported

    def __init__(self, task: Task) -> None:
        import onnxruntime as ort

        self._provider = PROVIDERS[find(task.cell.backend).provider]
        self._precision = task.cell.precision
        _check_io(self._provider, task.cell.io)
        # Before CUDA's libraries are loaded; a measuring process has it from its parent already.
        os.environ.update(tf32.environment(self._provider.device, self._precision, task.settings))
        threads = int(task.settings.get("intra_op_num_threads", task.threads) or 0)
        requested = settings.provider_options(
            self._provider,
            precision=self._precision,
            threads=threads,
            settings=task.settings,
            cache=task.cache,
            shape=_shape(task) if self._provider.shape_options else "",
        )
        self._session, self._placed = start(
            ort,
            Start(
                network=str(task.artifact),
                title=task.artifact.name,
                provider=self._provider,
                session_options=settings.session_options(
                    ort,
                    precision=self._precision,
                    threads=threads,
                    settings=task.settings,
                    may_run_on_cpu=self._provider.name == "cpu" or task.allow_fallback,
                    plans_memory=self._provider.memory != "cuda",
                ),
                provider_options=requested,
                requested=settings.provider_settings(task.settings),
                allow_fallback=task.allow_fallback,
            ),
        )
        name = self._provider.execution_provider
        # Where it did not start, the CPU's runs all (only with allow_fallback).
        started = name in self._session.get_providers()
        self._in_force = self._provider if started else PROVIDERS["cpu"]
        # Not every provider gives its options back; those that were given hold then.
        reported = self._session.get_provider_options().get(name) or requested
        self._provider_options = reported if started else {}
        self._names = [output.name for output in task.manifest.outputs]
        self.rebatch(task)

    @property
    def is_rebatchable(self) -> bool:
        """Whether it can go on with another batch: not with a graph or an engine of one size."""
        return self.planning is not Planning.LOAD and not self._captures_graph

    def rebatch(self, task: Task) -> None:
        """Run the batch of another task from now on, in buffers of its own."""
        import onnxruntime as ort

        self._results: Sequence[np.ndarray] | None = None
        self._binding: Binding | None = None
        self._host_memory: str | None = None
        self._on_device: dict[int, Value] = {}  # inputs that stay there, by batch size
        self._task = task
        self._run = self._bind(ort, task)

    @property
    def _captures_graph(self) -> bool:
        return settings.captures_graph(self._provider, self._provider_options)

    def resized(self, size: int) -> Callable[[], None]:
        """Return what runs the first ``size`` images of the batch, in buffers of their own.

        `outputs` goes on to return those of `run`.

        Raises:
            UnsupportedCell: A CUDA graph is replayed, which was captured for one size.
        """
        import onnxruntime as ort

        if self._captures_graph:
            raise UnsupportedCell(
                f"{self._task.cell.backend} replays a CUDA graph of one batch size, and this cell "
                "forms batches of several; leave enable_cuda_graph out, or batch by fixed:N"
            )
        kept = self._binding
        run = self._bind(ort, self._task.smaller(size))
        self._binding = kept
        return run

    @property
    def planning(self) -> Planning:
        """When it plans: on CUDA at each change of size, on other devices when it is loaded."""
        if self._in_force.device == "cpu":
            return Planning.NEVER
        return Planning.CHANGE if self._in_force.name == "cuda" else Planning.LOAD

    def feed(self, images: "np.ndarray") -> None:
        """Copy images to where the next run of so many reads them."""
        import numpy as np

        # On the host, sessions of every size read this memory.
        np.copyto(self._task.images[: len(images)], images)
        if (given := self._on_device.get(len(images))) is not None:
            given.update_inplace(images)

    def run(self) -> None:
        """Run the batch once; return when the outputs are where ``io`` says and complete."""
        self._run()

    def _bind(self, ort: ModuleType, task: Task) -> Callable[[], None]:
        """Make the buffers and return the shortest function that runs the batch in them."""
        import numpy as np

        session, images, names = self._session, task.images, self._names
        inputs = task.inputs()
        memory = self._in_force.memory
        if memory is None:

            def run_with_copies() -> None:
                self._results = session.run(names, inputs)

            return run_with_copies
        given = {
            name: ort.OrtValue.ortvalue_from_numpy(value, memory, 0)
            for name, value in inputs.items()
        }
        self._inputs = given
        self._binding = binding = session.io_binding()
        for name, value in given.items():
            binding.bind_ortvalue_input(name, value)
        for output in task.manifest.outputs:
            if output.counted:  # its size is known when it has run: ONNX Runtime makes the buffer
                binding.bind_output(output.name, memory)
                continue
            made = ort.OrtValue.ortvalue_from_shape_and_type(
                output.shape(len(images)), np.dtype(output.dtype).type, memory, 0
            )
            binding.bind_ortvalue_output(output.name, made)
        forward = session.run_with_iobinding
        if memory == "cpu":
            return lambda: forward(binding)
        image = given[task.manifest.input.name]
        if task.cell.io == "device":
            self._on_device[len(images)] = image

            def run_on_device() -> None:
                forward(binding)
                binding.synchronize_outputs()

            return run_on_device
        # A host tensor would be copied when it is bound, and never again: see IOBinding::BindInput.
        self._host_memory = cuda_driver.pin(images.ctypes.data, images.nbytes) or "pinned"
        copied = [(given[name], value) for name, value in inputs.items()]

        def run_between_copies() -> None:
            for value, array in copied:
                value.update_inplace(array)
            forward(binding)
            self._results = binding.copy_outputs_to_cpu()

        return run_between_copies

    def outputs(self) -> "dict[str, np.ndarray]":
        """Return copies of the last run's outputs."""
        if self._results is not None:
            results = self._results
        else:
            assert self._binding is not None
            results = [value.numpy() for value in self._binding.get_outputs()]
        return {name: result.copy() for name, result in zip(self._names, results, strict=True)}

    @property
    def placement(self) -> Mapping[str, int]:
        """Nodes that compute by execution provider, after the basic graph optimisations."""
        return self._placed.nodes

    @property
    def fell_back(self) -> bool:
        """Whether any node runs on another provider than the requested one."""
        return set(self._placed.nodes) != {self._provider.execution_provider}

    @property
    def settings(self) -> Mapping[str, Setting]:
        """The fairness factors, ONNX Runtime's version and the provider's effective options.

        ``host_memory`` says, where inputs are copied to a GPU, whether theirs is pinned, and
        ``copies`` how often a run waits: for its input, for the network, and for its output;
        ``shape_nodes``, where the CPU computes sizes for another device, how many nodes and which.
        """
        import onnxruntime as ort

        found = settings.in_force(
            ort,
            self._in_force,
            self._precision,
            self._session.get_session_options(),
            self._provider_options,
        )
        if self._host_memory:
            kind = self._host_memory.partition(" ")[0]
            found["host_memory"] = self._host_memory
            found["copies"] = f"inputs {kind}, outputs pageable; waits 3 times"
        if nodes := self._placed.shape_nodes:
            found["shape_nodes"] = f"{len(nodes)} on the CPU: {', '.join(nodes)}"
        return found

    @staticmethod
    def unavailable(provider: str) -> str | None:
        """Say why the provider cannot run here."""
        import onnxruntime as ort

        return libraries.unavailable(ort, PROVIDERS[provider])

    @staticmethod
    def trial(provider: str) -> Mapping[str, int]:
        """Run a network of one convolution; no fallback is allowed."""
        import numpy as np
        import onnxruntime as ort

        wanted = PROVIDERS[provider]
        session, placement = start(
            ort,
            Start(
                network=_one_convolution(),
                title="the trial's network",
                provider=wanted,
                session_options=settings.session_options(
                    ort, precision="fp32", threads=1, settings={}, may_run_on_cpu=False
                ),
                provider_options=wanted.defaults("fp32", 1, None),
            ),
        )
        ones = np.ones(TRIAL_SHAPE, np.float32)
        (result,) = session.run(None, {"images": ones, "kernel": ones})
        check_trial(float(result.item()))
        return placement.nodes


def _check_io(provider: Provider, io: str) -> None:
    if io == "device" and provider.device not in ("cpu", provider.memory):
        raise UnsupportedCell(
            f"onnxruntime-{provider.name} is given inputs and gives outputs in host memory only; "
            "measure it with --io host"
        )


def _shape(task: Task) -> str:
    """Return the inputs' shapes as TensorRT takes them."""
    return ",".join(
        f"{name}:{'x'.join(map(str, value.shape))}" for name, value in task.inputs().items()
    )


def _one_convolution() -> bytes:
    from onnx import TensorProto, ValueInfoProto, helper

    def tensor(name: str, *shape: int) -> ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        [helper.make_node("Conv", ["images", "kernel"], ["result"])],
        "trial",
        [tensor("images", *TRIAL_SHAPE), tensor("kernel", *TRIAL_SHAPE)],
        [tensor("result", 1, 1, 1, 1)],
    )
    network = helper.make_model(
        graph, ir_version=_TRIAL_IR, opset_imports=[helper.make_opsetid("", _TRIAL_OPSET)]
    )
    serialised: bytes = network.SerializeToString()
    return serialised
