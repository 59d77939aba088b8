"""CPU time from starting the interpreter to the end of a command that measures nothing.

Said in starts of a bare interpreter, which takes about 10 ms of CPU on a quiet machine: other programs that share its
cores slow both down alike.
"""

import os
import sys

import pytest

ROUNDS = 9
BARE_STARTS_AT_MOST = {"--help": 12, "list": 30, "validate cnn": 30}


def _cpu_s(arguments):
    """User and system time of one process with these arguments."""
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, *arguments],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("command", BARE_STARTS_AT_MOST)
def test_a_command_that_measures_nothing_starts_at_once(benchmark, command):
    spent_s, bare_s = [], []

    def both():
        spent_s.append(_cpu_s(["-m", "gpubench", *command.split()]))
        bare_s.append(_cpu_s(["-c", "pass"]))

    benchmark.pedantic(both, rounds=ROUNDS, iterations=1, warmup_rounds=1)
    ratio = min(spent_s) / min(bare_s)
    benchmark.extra_info.update(cpu_s=round(min(spent_s), 3), bare_s=round(min(bare_s), 4), ratio=round(ratio, 1))
    print(f"\n{command}: {min(spent_s) * 1e3:.0f} ms of CPU, {ratio:.1f} starts of a bare interpreter")
    assert ratio < BARE_STARTS_AT_MOST[command]


def test_a_suite_of_the_largest_size_is_expanded_while_a_person_waits(benchmark):
    """10,000 cases with rules, excludes and labels."""
    from gpubench.suite.cases.labels import label_cases
    from gpubench.suite.load import parse_suite
    from gpubench.suite.model.suite import MAX_CASES

    text = """
schema: 1
name: large
matrix:
  device: [cpu, cuda]
  mode: [train, infer]
  precision: [fp32, tf32, amp-fp16, amp-bf16, bf16]
  batch_size: {pow2: [0, 9]}
  seed: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
  compile: ["off", default, reduce-overhead, max-autotune, "off"]
when:
  - {if: {device: cuda}, set: {memory_format: NHWC}}
exclude:
  - {device: cpu, precision: [tf32, amp-fp16]}
  - {device: cpu, compile: [reduce-overhead, max-autotune]}
"""
    loaded = benchmark.pedantic(lambda: parse_suite(text), rounds=3, iterations=1)
    assert loaded.expansion.num_combinations <= MAX_CASES
    assert len(set(label_cases(loaded.cases))) == len(loaded.cases)
