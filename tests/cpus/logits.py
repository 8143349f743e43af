"""Run int8 graphs on the processor at hand, emulated or not, and save their logits.

python logits.py FOLDER: each ``NETWORK.FORM.onnx`` there is run on the images in ``NETWORK.npy``,
and its logits are saved beside it. Prints the instructions that the processor shows.
"""

import sys
from pathlib import Path

import numpy as np

from greenbatch.exporter.precisions import fidelity
from greenbatch.exporter.precisions.calibration import Images
from greenbatch.models.instructions import instruction_set


def main() -> None:
    """Run all graphs of the folder."""
    folder = Path(sys.argv[1])
    for graph in sorted(folder.glob("*.onnx")):
        network = graph.name.partition(".")[0]
        images = Images(np.load(folder / f"{network}.npy"), "saved")
        np.save(graph.with_suffix(".npy"), fidelity.run(graph, images, network))
    print(instruction_set())


if __name__ == "__main__":
    main()
