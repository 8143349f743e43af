"""What tensors in published files are called today: torchvision has renamed some since.

torchvision renames them when a module of its own loads a file without a version; the files are read
here before, and compared name by name.
"""

import re
from collections.abc import Callable

_LAST = r"\.(weight|bias)$"
_RENAMED: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    # densenets: norm.1 for norm1
    (r"(denselayer\d+\.(?:norm|conv))\.(\d)\.", r"\1\2."),
    # ``RPNHead``, ``FeaturePyramidNetwork``, ``MaskRCNNHeads`` and the heads of RetinaNet,
    # ``_load_from_state_dict`` of each
    (rf"(rpn\.head\.conv){_LAST}", r"\1.0.0.\2"),
    (rf"((?:inner|layer)_blocks\.\d+){_LAST}", r"\1.0.\2"),
    (rf"\.mask_fcn(\d){_LAST}", lambda found: f".{int(found[1]) - 1}.0.{found[2]}"),
    (rf"(_head\.conv)\.(\d){_LAST}", lambda found: f"{found[1]}.{int(found[2]) // 2}.0.{found[3]}"),
)


def called_now(name: str) -> str:
    """Return the name of a tensor in today's torchvision; one that was never renamed stays."""
    for pattern, replacement in _RENAMED:
        name, changes = re.subn(pattern, replacement, name)
        if changes:
            break
    return name
