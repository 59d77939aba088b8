#!/usr/bin/env bash
# Everything that needs a GPU, in one command: most valuable first, each part within its share of the budget, and at the end
# one archive of run folders and a short table. Works without a GPU too: its parts are then skipped with their reasons.
#
#   scripts/gpu_acceptance.sh [--budget MINUTES] [--call MINUTES] [--out FOLDER] [--python PATH] [--wheels DIR]
#                             [--suites DIR] [--plan]
#
# The budget (default 26) is that of all calls with the same --out together. Where a command may not last as long, give
# --call somewhat less than it may last, and call again: parts that are done are left alone, a run or tests that were cut
# short go on, and what parts leave over goes to those. To go on elsewhere, unpack the archive as --out first. A run takes
# its cases a few at a time, so that what it has when it is cut short are whole cases, the first ones of its suite.
# Ctrl-C ends the running part, keeps what it has measured, and writes archive and table. --plan only says what would be
# done, in which call, and for how long.
#
# Needs no network. Packages may lie anywhere on PYTHONPATH; --wheels installs those of a folder, for this script alone
# (scripts/pack_wheels.py fills one). It changes no clock, limit or mode of any card.
# Exit status: 0, 1 if a part failed or ran out of time, 2 for a usage error, 130 if interrupted.
set -uo pipefail

budget=26 call='' out=gpu-acceptance python=${PYTHON:-python3} wheels='' plan=''
here=$(cd "$(dirname "$0")/.." && pwd)
suites=$here/suites

usage() { sed -n '2,18p' "$0" | sed 's/^# \{0,1\}//'; }
wrong() { echo "error: $1" >&2; exit 2; }
while [ $# -gt 0 ]; do
  case $1 in
    --budget) budget=${2:?--budget needs minutes}; shift 2 ;;
    --call) call=${2:?--call needs minutes}; shift 2 ;;
    --out) out=${2:?--out needs a folder}; shift 2 ;;
    --python) python=${2:?--python needs a path}; shift 2 ;;
    --wheels) wheels=${2:?--wheels needs a folder}; shift 2 ;;
    --plan) plan=yes; shift ;;
    --suites) suites=${2:?--suites needs a folder}; shift 2 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; wrong "unknown option $1" ;;
  esac
done
seconds_of() { # OPTION MINUTES
  case $2 in '' | *[!0-9.]* | *.*.* | .) wrong "$1 takes minutes, got $2" ;; esac
  awk -v minutes="$2" 'BEGIN { seconds = int(minutes * 60 + 0.5); print (seconds > 1 ? seconds : 1) }'
}
budget_s=$(seconds_of --budget "$budget") || exit 2
call_s=$budget_s
[ -z "$call" ] || call_s=$(seconds_of --call "$call") || exit 2

suites=$(cd "$suites" && pwd) || exit 2
[ -n "$plan" ] || mkdir -p "$out/logs" "$out/runs" "$out/parts" || exit 2
out=$(realpath -m "$out")
parts=$out/parts
if [ -n "$wheels" ] && [ -z "$plan" ]; then
  "$python" -m pip install --quiet --no-index --no-deps --no-compile --upgrade --target "$out/site" "$wheels"/*.whl ||
    wrong "the wheels of $wheels cannot be installed"
  PYTHONPATH=$out/site${PYTHONPATH:+:$PYTHONPATH}
fi
export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
# Ceilings that one call has measured are those of the next. Compiling again in every launch would take most of the time: the
# first launch is cold, and figures of compiling are those of the first.
export XDG_CACHE_HOME=$out/cache TORCHINDUCTOR_CACHE_DIR=$out/compiled
[ -n "$plan" ] || "$python" -m gpubench --version >/dev/null || wrong "$python cannot run gpubench"

least() { echo $(($1 < $2 ? $1 : $2)); }
# A part may take so much longer than it was given, to store what it has and write a report, then it is interrupted; a run
# that goes on is not worth starting for less than `start_s`; the last seconds of a call are for ending it and the archive.
grace_s=45 kill_after_s=15 start_s=$(least 20 $((call_s / 2))) ending_s=$(least 40 $((call_s / 4)))
began=$(date +%s)
[ -n "$plan" ] || gpu=$("$python" -c 'import torch; torch.cuda.init(); print(torch.cuda.get_device_name(0))' 2>"$out/logs/cuda.log") || gpu=''
no_gpu="no CUDA device: $(tail -n 1 "$out/logs/cuda.log" 2>/dev/null | sed 's/^[A-Za-z.]*Error: //; s/\. .*//')"
device=cuda
[ -n "${gpu=}" ] || device=cpu

# What is known of a part lies in parts/NAME, a line each: its state (`running`, `more` to do, `done`), its seconds in all
# calls, its outcome and a note. Empty for a part that was never begun.
recall() {
  state='' spent=0 outcome='' note=''
  if [ -e "$parts/$1" ]; then
    { read -r state; read -r spent; read -r outcome; read -r note; } <"$parts/$1"
  fi
}
remember() { # NAME STATE SECONDS OUTCOME NOTE
  printf '%s\n' "$2" "$3" "$4" "$5" >"$parts/$1"
}
spent_by_all() { cat "$parts"/* 2>/dev/null | awk 'NR % 4 == 2 { sum += $1 } END { print sum + 0 }'; }
log_of() { # the log of a part's current call
  local number=1
  while [ -e "$out/logs/$1.$((number + 1)).log" ]; do number=$((number + 1)); done
  [ "$number" -gt 1 ] && echo "$out/logs/$1.$number.log" || echo "$out/logs/$1.log"
}
next_log_of() {
  [ -e "$out/logs/$1.log" ] || { echo "$out/logs/$1.log"; return; }
  local number=2
  while [ -e "$out/logs/$1.$number.log" ]; do number=$((number + 1)); done
  echo "$out/logs/$1.$number.log"
}
# A part that was running when everything was killed has taken as long as it wrote to its log.
settle_killed() {
  local file name
  for file in "$parts"/*; do
    [ -e "$file" ] || continue
    name=$(basename "$file")
    recall "$name"
    [ "$state" = running ] || continue
    spent=$((spent + $(stat -c %Y "$(log_of "$name")") - $(stat -c %Y "$file")))
    remember "$name" more "$spent" "cut off" "it was killed"
  done
}

row() { printf '%-24s %-11s %7s %6s  %s\n' "$1" "$2" "$3" "$4" "$5"; }
share_of() { echo $((budget_s * $1 / 100 > 0 ? budget_s * $1 / 100 : 1)); } # seconds of PERCENT
left_of_budget() { echo $((budget_s - $(spent_by_all))); }
left_of_call() { echo $((call_s - ending_s - ($(date +%s) - began))); }
has_tool() { "$python" -c 'import sys; from gpubench.profile.capture.profiler_tools import find_tool; find_tool(sys.argv[1])' "$1" 2>/dev/null; }
why_not() { # NEED: why a part with it cannot be done here, empty if it can
  [ "$1" = any ] && return
  [ -n "$gpu" ] || { echo "$no_gpu"; return; }
  [ "$1" = gpu ] || has_tool "$1" || echo "$1 was not found"
}

# Commands of parts. Each ends as `exec timeout`, so that a signal to the part's process reaches what runs in it; a shell
# starts what runs beside it with interrupts ignored, and may itself have been started so, which no trap takes back. An
# interrupt makes gpubench end its helpers, and pytest say what it saw.
limited() {
  local most_s
  most_s=$(least $((LIMIT_S + grace_s)) $(($(left_of_call) + ending_s / 2)))
  exec env --default-signal=INT timeout --signal=INT --kill-after="$kill_after_s" "$((most_s > 1 ? most_s : 1))" "$@"
}
run_gpubench() { limited "$python" -m gpubench "$@"; }
# suite NAME [OPTION...]: a run of suites/NAME.yaml, resumed where it was cut short
suite() {
  local folder=$out/runs/$1 file=$suites/$1.yaml limits=(--budget "${LIMIT_S}s" --at-once 2)
  shift
  # --force: the next call may be on another machine of the kind; the run's log then says so.
  [ -s "$folder/records.jsonl" ] && run_gpubench run --resume "$folder" --force "${limits[@]}"
  rm -rf "$folder" # nothing was measured in it yet
  run_gpubench run "$file" --out "$folder" "${limits[@]}" "$@"
}
# tests FOLDER...: their tests that need a GPU and have no outcome yet. Of pytest's plugins only the one that its settings
# name: others of the machine may warn or get in the way.
tests() {
  local files done=() grace_s=5
  cd "$here" || exit 2
  mapfile -t files < <(grep -rlE 'mark\.gpu\b' "$@" --include='test_*.py' | sort)
  mapfile -t done < <(sed -nE 's/^(tests[^ ]*) (PASSED|FAILED|ERROR|SKIPPED).*/--deselect=\1/p' "$out/logs/$NAME"*.log)
  PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 limited "$python" -m pytest "${files[@]}" -m gpu -v -rs -W default -p pytest_timeout \
    -p no:cacheprovider "${done[@]}"
}
doctor() {
  # shellcheck disable=SC2016 # expanded by the inner shell
  limited bash -c '"$0" -m gpubench doctor --json >"$1" && "$0" -m gpubench doctor' "$python" "$out/doctor.json"
}
# profile TOOL PRECISION: one case of the main suite
profile() {
  run_gpubench profile "$suites/cnn.yaml" --tool "$1" --out "$out/runs/profile-$2-$1" --timeout "$((LIMIT_S + grace_s / 2))s" \
    -k "mode=train and device=$device and precision=$2 and batch_size=64 and not cudnn_benchmark"
}

# Calls $1 for every part with its name, percent of the budget, need (any, gpu, or a tool on a GPU) and command. The most
# valuable come first: where the budget is short, the last ones are left out.
each_part() {
  # Up to half of a launch may be warm-up, and the rest must last the three seconds that an energy figure needs.
  local twice=(-s measure.repeats=2 -s measure.max_time=8s)
  "$1" tests 24 gpu tests tests/gpu tests/unit
  "$1" doctor 4 any doctor
  "$1" roofline 10 any suite roofline "${twice[@]}" -s "device=$device" -s shape=8192 \
    -k 'not workload=operators:conv2d or shape=256x14x256x3'
  "$1" cnn 15 any suite cnn "${twice[@]}" -s batch_size=64,1024 \
    -k 'cudnn_benchmark or device=cpu and mode=train and precision=fp32 and batch_size=64'
  "$1" ablation 13 gpu suite ablation "${twice[@]}" -s measure.parity=false
  "$1" cnn-limit 9 gpu suite cnn-limit "${twice[@]}"
  "$1" inference 8 any suite inference "${twice[@]}" -s "device=$device" -s precision=fp32,bf16 -s batch_size=1,8,64
  "$1" resnet50 7 gpu suite resnet50 "${twice[@]}" -s mode=train -s precision=amp-bf16,fp32 -s memory_format=NHWC \
    -s batch_size=256,max -k 'compile=off'
  "$1" profile-bf16-nsys 2 nsys profile nsys amp-bf16
  "$1" profile-bf16-torch 2 any profile torch amp-bf16
  "$1" profile-bf16-ncu 1 ncu profile ncu amp-bf16
  "$1" cnn-accuracy 5 any suite cnn-accuracy -s "device=$device" -s measure.repeats=1 -s quality.seeds=3
}

# What every part gets at first: its share.
begin() { # NAME PERCENT NEED COMMAND...
  local why share
  recall "$1"
  [ "$state" != done ] || return
  why=$(why_not "$3")
  if [ -n "$why" ]; then
    [ -n "$state" ] || remember "$1" '' 0 skipped "$why"
    return
  fi
  share=$(share_of "$2")
  go_on "$1" "$((share - spent))" "${@:4}"
}
# What runs and tests that were cut short get at last: all that is left.
deepen() {
  recall "$1"
  if resumable "$4" && [ "$state" = more ]; then go_on "$1" "$(left_of_budget)" "${@:4}"; fi
}

resumable() { [ "$1" = suite ] || [ "$1" = tests ]; }

job='' interrupted='' num_run=0
go_on() { # NAME SECONDS COMMAND...: the part, for at most so long
  local name=$1 limit in_call started log status
  limit=$(least "$2" "$(left_of_budget)") in_call=$(left_of_call)
  [ -z "$interrupted" ] || return
  if [ "$state" = more ] && [ "$limit" -lt "$start_s" ]; then return; fi
  [ "$limit" -gt 0 ] || { left_out "$name" "the budget was used up"; return; }
  # What cannot be resumed is not begun where this call would cut it, unless a separate call would as well.
  if [ "$in_call" -lt "$(least "$limit" "$start_s")" ] || { ! resumable "$3" && [ "$in_call" -lt "$limit" ] && [ "$num_run" -gt 0 ]; }; then
    left_out "$name" "for the next call"
    return
  fi
  shift 2
  num_run=$((num_run + 1)) started=$(date +%s) log=$(next_log_of "$name")
  : >"$log"
  remember "$name" running "$spent" running ''
  LIMIT_S=$(least "$limit" "$in_call") NAME=$name
  "$@" >"$log" 2>&1 </dev/null &
  job=$!
  [ -z "$interrupted" ] || stop
  wait "$job"
  status=$?
  while kill -0 "$job" 2>/dev/null; do # a signal ended the waiting, not the part
    wait "$job"
    status=$?
  done
  job=''
  judge "$name" "$1" "$status" "$log" $((spent + $(date +%s) - started))
  recall "$name"
  row "$name" "$outcome" "" "$spent" "$note"
}
left_out() { # NAME WHY: never begun so far, or with more to do
  [ -n "$state" ] || remember "$1" '' 0 "left out" "$2"
}

summary() { # NAME COMMAND LOG: the line that says most
  local said=''
  case $2 in
    suite) [ ! -s "$out/runs/$1/records.jsonl" ] || said=$("$python" "$here/scripts/complete_cases.py" "$out/runs/$1") ;;
    profile) said=$(sed -n 's/^  Steps  *//p' "$3" | head -n 1) ;;
    tests) said=$(cat "$out/logs/$1"*.log | sed -nE 's/^tests[^ ]* (PASSED|FAILED|ERROR|SKIPPED).*/\1/p' | sort | uniq -c |
      awk '{ printf "%s%s %s", sep, $1, tolower($2); sep = ", " }') ;;
  esac
  [ -n "$said" ] || said=$(grep -m 1 '^error' "$3") || said=$(grep -v '^[[:space:]]*$' "$3" | tail -n 1)
  echo "${said:0:100}"
}

judge() { # NAME COMMAND STATUS LOG SECONDS: what has become of a part
  local said
  said=$(summary "$1" "$2" "$4")
  if [ -n "$interrupted" ]; then
    remember "$1" more "$5" interrupted "$said"
  elif [ "$2" = tests ] && [ "$3" = 124 ]; then
    remember "$1" more "$5" partly "$said"
  elif [ "$3" = 124 ] || [ "$3" = 137 ]; then
    remember "$1" more "$5" "time out" "$said"
  elif [ "$2" = suite ] && grep -q 'the time budget was used up' "$4"; then
    remember "$1" more "$5" partly "$said"
  elif [ "$2" = tests ] && { [ "$3" = 1 ] || { [ "$3" -le 5 ] && grep -qE '^tests.* (FAILED|ERROR)' "$out/logs/$1"*.log; }; }; then
    remember "$1" done "$5" "failed 1" "$said" # a failed test is a result, and takes as long the next time
  elif [ "$3" = 0 ] || { [ "$2" = tests ] && [ "$3" = 5 ]; }; then # 5: no test was left
    remember "$1" done "$5" ok "$said"
  elif [ "$2" = suite ] && [ "$3" = 3 ]; then
    remember "$1" done "$5" "ok, rows" "some case failed: $said"
  else
    remember "$1" more "$5" "failed $3" "$said"
  fi
}

# A signal ends the running part, which stores what it has; the loop in `go_on` waits for it.
stop() {
  interrupted=yes
  [ -z "$job" ] || kill -INT "$job" 2>/dev/null
}
finish() {
  local failed=0 archive=$out/gpu-acceptance.tar.gz doctor_json=()
  write_row() { recall "$1"; row "$1" "${outcome:-left out}" "$(share_of "$2")" "$spent" "$note"; }
  { row part outcome planned spent note; each_part write_row; } >"$out/table.txt"
  echo
  cat "$out/table.txt"
  ! cat "$parts"/* | awk 'NR % 4 == 3' | grep -Eq '^(failed|time out)' || failed=1
  mkdir -p "$out/cache"
  [ ! -e "$out/doctor.json" ] || doctor_json=(doctor.json)
  if tar -C "$out" -czf "$archive" logs parts runs cache table.txt "${doctor_json[@]}"; then
    echo "archive: $archive ($(du -h "$archive" | cut -f1))"
  else
    echo "error: no archive of $out could be made" >&2
    failed=1
  fi
  [ -z "$interrupted" ] || { echo "interrupted: run the same command again to go on"; exit 130; }
  exit "$failed"
}

# The parts in their order, with the call in which each begins if every part takes what it is given.
print_plan() {
  local total=0
  plan_row() {
    recall "$1"
    row "$1" "${state:-to do}" "$(share_of "$2")" "$spent" "call $((total / (call_s - ending_s) + 1)), needs $3"
    total=$((total + $(share_of "$2") - spent))
  }
  row part state planned spent when
  each_part plan_row
  echo "$total s are left to do, of a budget of $budget_s s in calls of $call_s s"
}

trap stop INT TERM HUP
settle_killed
[ -z "$plan" ] || { print_plan; exit 0; }
[ -n "$gpu" ] && echo "GPU: $gpu" || echo "$no_gpu: GPU parts are skipped"
echo "budget: $budget minutes, $(spent_by_all) s of them spent; results in $out"
each_part begin
each_part deepen
finish
