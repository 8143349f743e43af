"""A ``libcuda.so.1`` of no more than a list of devices: name and UUID of each.

folder = build(tmp_path, ["GPU-00000000-0000-0000-0000-000000000000"])
env = os.environ | {"LD_LIBRARY_PATH": str(folder)}    # for a child process
"""

import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

LIBRARY = "libcuda.so.1"
_SOURCE = """
#include <string.h>
static const unsigned char uuids[][16] = {UUIDS};
int cuInit(unsigned flags) { return flags ? 1 : 0; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return index < COUNT ? 0 : 101; }
int cuDeviceGetName(char *name, int length, int device) {
    (void)device;
    strncpy(name, "Simulated GPU", length);
    return 0;
}
int cuDeviceGetUuid(char *found, int device) { memcpy(found, uuids[device], 16); return 0; }
int cuCtxGetDevice(int *device) { (void)device; return 201; } /* no context is current */
"""


def build(folder: Path, uuids: Sequence[str]) -> Path:
    """Compile the library into ``folder``, and return the folder.

    Args:
        folder: Made when needed.
        uuids: Of each device, at least one, as ``nvidia-smi -L`` has them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bytes_of = [uuid.UUID(text.removeprefix("GPU-")).bytes for text in uuids]
    rows = ", ".join(f"{{{', '.join(map(str, row))}}}" for row in bytes_of)
    source = folder / "cuda_driver.c"
    source.write_text(_SOURCE.replace("UUIDS", rows).replace("COUNT", str(len(uuids))))
    command = ["cc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(folder / LIBRARY)]
    subprocess.run([*command, str(source)], check=True)
    return folder
