"""Run int8 graphs on the processor at hand, emulated or not, and save their logits.

python logits.py FOLDER: each ``NETWORK.FORM.onnx`` there is run on the images in ``NETWORK.npy``,
and its logits are saved beside it. Prints the instructions that the processor shows.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from greenbatch.exporter.precisions.calibration import Images
from greenbatch.exporter.precisions.running import run
from greenbatch.exporter.torch_to_onnx import read_graph
from greenbatch.models import InputSpec
from greenbatch.models.instructions import instruction_set


def logits_of(
    graph: Path, pixels: NDArray[np.float32], network: str, *, optimise: bool = True
) -> NDArray[np.float32]:
    """Run a graph on images and return its logits."""
    ends = read_graph(graph)
    (image,), (output,) = ends.inputs, ends.outputs
    images = Images(InputSpec(name=image.name), {image.name: pixels}, "saved")
    found: NDArray[np.float32] = run(graph, images, [output], network, optimise=optimise)[
        output.name
    ]
    return found


def main() -> None:
    """Run all graphs of the folder."""
    folder = Path(sys.argv[1])
    for graph in sorted(folder.glob("*.onnx")):
        network = graph.name.partition(".")[0]
        pixels = np.load(folder / f"{network}.npy")
        np.save(graph.with_suffix(".npy"), logits_of(graph, pixels, network))
    print(instruction_set())


if __name__ == "__main__":
    main()
