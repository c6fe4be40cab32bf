"""Describes a workload that does not run. `python -m toolkit.capture.describe SPEC DEVICE FOLDER`.

Runs in the framework's environment. Builds what a worker would build and writes FOLDER/description.json, or an
`error` there where the framework cannot.
"""

import importlib
import json
import sys
from pathlib import Path

from toolkit.capture.description import FILE
from toolkit.capture.files import write_whole
from toolkit.capture.workloads import MODULES
from toolkit.errors import HwprofError
from toolkit.spec import from_json


def main(arguments: list[str]) -> int:
    """Writes the description; the exit code of the error where there is one."""
    spec_path, device, folder = arguments
    spec = from_json(Path(spec_path).read_text())
    try:
        told, code = importlib.import_module(MODULES[spec.framework]).build(spec, device).describe(), 0
    except HwprofError as error:
        told, code = json.dumps({"error": str(error)}), error.exit_code
    write_whole(Path(folder) / FILE, told)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
