"""Prints of a build through headstart how many units began from a seed, what rustc reused, and why others did not: CLONE in."""

import collections, glob, json, sys
seeded = reused = total = 0
other = collections.Counter()
for note in glob.glob(sys.argv[1] + "/target/.headstart/compiled/*"):
    reason = json.load(open(note))["began"]
    if isinstance(reason, dict) and "Seeded" in reason:
        seeded += 1
        reused += reason["Seeded"]["reused"]
        total += reason["Seeded"]["total"]
    else:
        other[reason if isinstance(reason, str) else next(iter(reason))] += 1
print(f"seeded {seeded}, work products reused {reused} of {total}; others {dict(other)}")
