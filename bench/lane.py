"""Runs the programs that bench/lane.sh built, lanes taking turns, and prints ratios to plain release.

    lane.py PROGRAM OUT ROUNDS LANE...

A lane `x+edit` is the program that lane x made after the last edit.

Counts user time as the kernel counts it for the process (wait4), which other work on the machine disturbs less than the clock. Ratios are to
the first lane: the median of the rounds' ratios, each of two runs that are near in time, and that of the least times. A program's is the
geometric mean of its runs'. With INSTRUCTIONS=1 valgrind counts instructions instead, which nothing disturbs, and one round is enough.
"""

import math
import os
import re
import statistics
import subprocess
import sys

program, out, rounds, *lanes = sys.argv[1:]
counting = "INSTRUCTIONS" in os.environ


def user_seconds(binary, stdin, arguments):
    """Runs once with its output thrown away; the program must not fail (1 is ripgrep's word for no match)."""
    child = os.posix_spawn(
        binary,
        [binary, *arguments],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, stdin, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
        ],
    )
    _, status, usage = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code == 0, f"{binary} {arguments}: exit code {code}"
    return usage.ru_utime


def instructions(binary, stdin, arguments):
    with open(stdin, "rb") as file:
        counter = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", binary, *arguments]
        said = subprocess.run(counter, stdin=file, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    count = re.search(r"I\s+refs:\s+([\d,]+)", said.stderr)
    assert said.returncode == 0 and count, f"{binary} {arguments}: {said.stderr}"
    return int(count[1].replace(",", "")) / 1e9


def paired(lane, name):
    """The median of the rounds' ratios to the first lane."""
    return statistics.median(mine / base for mine, base in zip(times[lane, name], times[lanes[0], name]))


def least(lane, name):
    return min(times[lane, name]) / min(times[lanes[0], name])


def geometric(values):
    return math.exp(statistics.fmean(math.log(value) for value in values))


def size_of(lane):
    return sum(os.path.getsize(f"{out}/bin/{program}-{lane}/{name}") for name in {name for _, _, name, _ in runs})


def of_builds():
    """Median seconds, on the clock and on all cores, of each lane's builds by what was built."""
    seconds = {}
    with open(f"{out}/{program}.builds") as file:
        for line in file:
            _, _, lane, what, wall, cores = line.split()
            seconds.setdefault((lane, what), []).append((float(wall), float(cores)))
    return {key: tuple(statistics.median(column) for column in zip(*rows)) for key, rows in seconds.items()}


runs = []
with open(f"{out}/{program}.runs") as file:
    for line in file:
        name, stdin, words = line.rstrip("\n").split("\t")
        binary, *arguments = words.split()
        runs.append((name, stdin, binary.removeprefix("@"), arguments))

times = {(lane, name): [] for lane in lanes for name, *_ in runs}
for round_index in range(int(rounds)):
    for name, stdin, binary, arguments in runs:
        # Another lane begins each round.
        turn = round_index % len(lanes)
        for lane in lanes[turn:] + lanes[:turn]:
            times[lane, name].append((instructions if counting else user_seconds)(f"{out}/bin/{program}-{lane}/{binary}", stdin, arguments))

first = lanes[0]
unit = "billion instructions" if counting else "s of user time"
for name, *_ in runs:
    base = times[first, name]
    print(f"run {program} {name}: {first} median {statistics.median(base):.3f}, least {min(base):.3f} {unit}; paired and least, to {first}:")
    for lane in lanes[1:]:
        print(f"    {lane:18} {paired(lane, name):.3f} {least(lane, name):.3f}")

builds = of_builds()
print(f"{'lane of ' + program:18} members s, cores s | rebuild s, cores s | to the first: members rebuild (cores) | size MB | run: paired, least")
for lane in lanes:
    whole, again = builds.get((lane, "members"), (math.nan, math.nan)), builds.get((lane, "edit"), (math.nan, math.nan))
    base_whole, base_again = builds[first, "members"], builds.get((first, "edit"), (math.nan, math.nan))

    print(
        f"{lane:18} {whole[0]:7.1f} {whole[1]:7.1f} | {again[0]:6.2f} {again[1]:6.2f} | {whole[0] / base_whole[0]:.2f} "
        f"{again[0] / base_again[0]:.3f} ({again[1] / base_again[1]:.3f}) | {size_of(lane) / 1e6:.2f} | "
        f"{geometric(paired(lane, name) for name, *_ in runs):.3f} {geometric(least(lane, name) for name, *_ in runs):.3f}"
    )
