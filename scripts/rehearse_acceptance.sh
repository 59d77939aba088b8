#!/usr/bin/env bash
# gpu_acceptance.sh as it runs on a machine with a GPU, on one without: on the fake CUDA of the tests, with the real time
# limits. Shows that every part starts, stops in time and goes on in the next call; its tests and cases fail or are INVALID,
# because the fake computes nothing. Takes the same options but --python, and needs torch's CUDA build and a C++ compiler.
#
#   scripts/rehearse_acceptance.sh --budget 26 --call 9 --out rehearsal
#
# PYTHON chooses the interpreter (python3), FAKE_PYTHON the one whose packages the fake is built with (PYTHON).
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
python=$(command -v "${PYTHON:-python3}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
PYTHONPATH=$here/tests "${FAKE_PYTHON:-$python}" -c '
import shlex
from fakes.cuda import control

settings = {"FAKE_GPU_BYTES": 140 * control.GIB, "FAKE_CUDNN_START_S": 1.5}
for name, value in {**control.environment(**settings), "FAKE_UUID": control.nvml.UUID}.items():
    print(f"export {name}={shlex.quote(value)}")
' >"$folder/environment"

cat >"$folder/nvidia-smi" <<'END'
#!/usr/bin/env bash
case " $* " in
  *" -L "*) echo 'GPU 0: NVIDIA Fake 100' ;;
  *uuid*) echo "$FAKE_UUID" ;;
  *" -lms "*) while sleep 0.2; do echo 300.0; done ;;
  *) echo 300.0 ;;
esac
END
cat >"$folder/python" <<END
#!/usr/bin/env bash
. '$folder/environment'
exec env PATH='$folder':"\$PATH" '$python' "\$@"
END
chmod +x "$folder/nvidia-smi" "$folder/python"
"$here/scripts/gpu_acceptance.sh" "$@" --python "$folder/python"
