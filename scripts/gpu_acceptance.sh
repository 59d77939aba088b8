#!/usr/bin/env bash
# Everything that needs a GPU, in one command: most valuable first, each part within its share of the budget, and at the end
# one archive of run folders and a short table. Works without a GPU too: its parts are then skipped with their reasons.
#
#   scripts/gpu_acceptance.sh [--budget MINUTES] [--out FOLDER] [--python PATH] [--suites DIR]
#
# Needs no network. Packages may lie anywhere on PYTHONPATH. Run it again after an interruption: parts that are done are left
# alone, and a run that was cut short is resumed. It changes no clock, limit or mode of any card.
set -uo pipefail

budget=30 out=gpu-acceptance python=${PYTHON:-python3}
here=$(cd "$(dirname "$0")/.." && pwd)
suites=$here/suites

usage() { sed -n '2,8p' "$0" | sed 's/^# \{0,1\}//'; }
while [ $# -gt 0 ]; do
  case $1 in
    --budget) budget=${2:?--budget needs minutes}; shift 2 ;;
    --out) out=${2:?--out needs a folder}; shift 2 ;;
    --python) python=${2:?--python needs a path}; shift 2 ;;
    --suites) suites=${2:?--suites needs a folder}; shift 2 ;;
    -h | --help) usage; exit 0 ;;
    *) echo "error: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
done
case $budget in '' | *[!0-9.]* | *.*.* | .) echo "error: --budget takes minutes, got $budget" >&2; exit 2 ;; esac

mkdir -p "$out" || exit 2
out=$(cd "$out" && pwd)
done_dir=$out/.done
mkdir -p "$done_dir" "$out/logs" "$out/runs"
export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}
gpubench() { "$python" -m gpubench "$@"; }

began=$(date +%s)
# Seconds of the whole budget, and of a part that may take `percent` of it.
total_s=$("$python" -c "import sys; print(max(1, round(float(sys.argv[1]) * 60)))" "$budget") || exit 2
share() { echo $((total_s * $1 / 100 > 0 ? total_s * $1 / 100 : 1)); }
left() { echo $((total_s - ($(date +%s) - began))); }

gpu=$("$python" -c 'import torch; print(torch.cuda.get_device_name(0) if torch.cuda.is_available() else "")' 2>/dev/null)
[ -n "$gpu" ] && echo "GPU: $gpu" || echo "no CUDA device: GPU parts are skipped"
echo "budget: $budget minutes, results in $out"

table=$out/table.txt
: >"$table"
row() { printf '%-12s %-9s %6s  %s\n' "$1" "$2" "$3" "$4" | tee -a "$table"; }
row part outcome seconds note

# part NAME PERCENT NEEDS-GPU COMMAND...: once, within its share; its output goes to logs/NAME.log
part() {
  local name=$1 percent=$2 needs_gpu=$3 limit started status note
  shift 3
  if [ -e "$done_dir/$name" ]; then row "$name" done - "in an earlier call"; return; fi
  if [ "$needs_gpu" = gpu ] && [ -z "$gpu" ]; then row "$name" skipped - "no CUDA device"; return; fi
  if [ "$(left)" -le 0 ]; then row "$name" "left out" - "the budget was used up"; return; fi
  limit=$(share "$percent")
  [ "$limit" -gt "$(left)" ] && limit=$(left)
  started=$(date +%s)
  # An hour past its share a part is stuck, whatever it says of itself.
  LIMIT_S=$limit "$@" >"$out/logs/$name.log" 2>&1
  status=$?
  note=$(grep -v '^[[:space:]]*$' "$out/logs/$name.log" | tail -n 1 | cut -c1-100)
  case $status in
    0) : >"$done_dir/$name"; row "$name" ok $(($(date +%s) - started)) "$note" ;;
    3) : >"$done_dir/$name"; row "$name" "ok, rows" $(($(date +%s) - started)) "some case failed: $note" ;;
    124 | 137) row "$name" "time out" $(($(date +%s) - started)) "$note" ;;
    130) row "$name" stopped $(($(date +%s) - started)) "run the script again to go on"; finish; exit 130 ;;
    *) row "$name" "failed $status" $(($(date +%s) - started)) "$note" ;;
  esac
}

limited() { timeout --kill-after=20 "$((LIMIT_S + 30))" "$@"; }
tests() { limited "$python" -m pytest "$here/tests/gpu" -q -rs -p no:cacheprovider --rootdir "$here" -c "$here/pyproject.toml"; }
doctor() { limited "$python" -m gpubench doctor --json >"$out/doctor.json" && limited "$python" -m gpubench doctor; }

# suite NAME [OPTION...]: a run of suites/NAME.yaml, resumed where it was cut short
suite() {
  local name=$1 folder=$out/runs/$1
  shift
  if [ -e "$folder/run.json" ]; then
    limited "$python" -m gpubench run --resume "$folder" --budget "${LIMIT_S}s"
  else
    limited "$python" -m gpubench run "$suites/$name.yaml" --out "$folder" --budget "${LIMIT_S}s" "$@"
  fi
}

# profile NAME EXPR: one case of the main suite under torch.profiler (always there) and, where it is, Nsight Systems
profile() {
  limited "$python" -m gpubench profile "$suites/cnn.yaml" -k "$2" --tool torch --steps 10 --out "$out/runs/profile-$1"
}

finish() {
  tar -C "$out" -czf "$out/gpu-acceptance.tar.gz" --exclude=gpu-acceptance.tar.gz --exclude=.done . &&
    echo "archive: $out/gpu-acceptance.tar.gz ($(du -h "$out/gpu-acceptance.tar.gz" | cut -f1))"
  echo "table:   $table"
}
trap 'echo "interrupted: run the same command again to go on"; finish; exit 130' INT TERM

device=cuda
[ -n "$gpu" ] || device=cpu
part cnn 22 any suite cnn -s "device=cpu,$device"
part tests 22 gpu tests
part doctor 5 any doctor
part roofline 10 any suite roofline -s "device=$device"
part ablation 20 gpu suite ablation
part profile-fp32 4 any profile fp32 "mode=train and device=$device and precision=fp32 and batch_size=64 and not cudnn_benchmark"
part profile-bf16 4 any profile bf16 "mode=train and device=$device and precision=amp-bf16 and batch_size=64 and not cudnn_benchmark"
part inference 8 any suite inference -s "device=$device"
part resnet50 5 gpu suite resnet50
finish
