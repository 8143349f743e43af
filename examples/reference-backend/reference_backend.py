import numpy as np
import onnx.parser
from onnx.reference import ReferenceEvaluator

from greenbatch.errors import UnsupportedCell
from greenbatch.runners.backends import TRIAL_SHAPE, check_trial


class Reference:
    options, packages, fell_back = {}, ("onnx.reference",), False
    known = {"threads": None, "inter_op_threads": 1, "spinning": None, "arithmetic": "fp32"}
    absent = ("layout", "graph_capture", "autotuning", "optimization")
    settings = known | dict.fromkeys(absent, "none")

    def __init__(self, task):
        if task.cell.precision != "fp32":
            raise UnsupportedCell(f"reference-cpu measures fp32 only, not {task.cell.precision}")
        self._network = ReferenceEvaluator(str(task.artifact))
        self._inputs = task.inputs()
        self._names = [output.name for output in task.manifest.outputs]
        self.placement = {"cpu": task.manifest.nodes}

    def run(self):
        self._outputs = self._network.run(self._names, self._inputs)

    def outputs(self):
        return {name: value.copy() for name, value in zip(self._names, self._outputs)}

    @staticmethod
    def unavailable(provider):
        return None  # else one sentence: what is missing, and how to install it

    @staticmethod
    def trial(provider):
        head = '<ir_version: 8, opset_import: ["": 17]> g (float[1,3,3,3] x) => (float[1] y)'
        network = ReferenceEvaluator(onnx.parser.parse_model(head + "{ y = Conv(x, x) }"))
        check_trial(network.run(None, {"x": np.ones(TRIAL_SHAPE, np.float32)})[0].item())
        return {"cpu": 1}
