"""Prints what bench/deltas.sh found, and draws it: OUT.tsv and OUT.publish in, OUT.svg out."""

import collections
import statistics
import sys

out = sys.argv[1]
NUMBERS = ["objects", "raw", "whole", "stored", "delta_raw", "encode_s", "decode_s"]
COLOURS = {"dep-graph": "#4e79a7", "query-cache": "#f28e2b", "program": "#e15759", "metadata": "#76b7b2"}
OTHER = "#9c9c9c"


def rows():
    with open(out + ".tsv") as table:
        names = next(table).rstrip("\n").split("\t")
        for line in table:
            row = dict(zip(names, line.rstrip("\n").split("\t")))
            yield row | {name: float(row[name]) for name in NUMBERS}


commits = collections.defaultdict(dict)
for row in rows():
    commits[row["commit"]][row["kind"]] = row
first, *later = commits
if not later:
    sys.exit("there is only one commit")


def total(commit, column):
    return sum(row[column] for row in commits[commit].values())


full = total(first, "stored")
print(f"{first}: {full / 1e6:.1f} MB, the whole; then {len(later)} commits, MB as whole files and as they were stored, and the latter by the whole")
for commit in later:
    whole, stored = total(commit, "whole"), total(commit, "stored")
    print(f"  {commit} {whole / 1e6:8.1f} {stored / 1e6:8.1f} {stored / full:.4f}")
for column in ["whole", "stored"]:
    shares = [total(commit, column) / full for commit in later]
    print(f"{column}: median {statistics.median(shares):.4f}, largest {max(shares):.4f}, mean {statistics.mean(shares):.4f}")
print("kind, MB raw, as whole files, as stored; of what was tried as a delta: MB/s to make it (and check it) and to apply it")
kinds = sorted({kind for commit in later for kind in commits[commit]})
for kind in kinds:
    of_kind = [commits[commit][kind] for commit in later if kind in commits[commit]]
    sums = {name: sum(row[name] for row in of_kind) for name in NUMBERS}
    rates = [f"{sums['delta_raw'] / 1e6 / sums[name]:.0f}" if sums[name] else "-" for name in ["encode_s", "decode_s"]]
    print(f"  {kind:12} {sums['raw'] / 1e6:9.1f} {sums['whole'] / 1e6:9.1f} {sums['stored'] / 1e6:9.1f} {rates[0]:>6} {rates[1]:>6}")
graphs = [row["stored"] / row["raw"] for commit in later if (row := commits[commit].get("dep-graph"))]
print(f"dep-graphs: median {statistics.median(graphs):.4%} of the raw files, largest {max(graphs):.4%}")
publishes = [line.split("\t") for line in open(out + ".publish")]
built = float(publishes[0][1])
shares = [(float(publish) + float(push)) / built for _, _, publish, push, *_ in publishes[1:]]
print(f"publishing and writing to the remote, by the build from nothing: median {statistics.median(shares):.3f}, largest {max(shares):.3f}")


def bars(commit, column, left, width, scale):
    height = 0.0
    for kind, row in sorted(commits[commit].items()):
        size = row[column] * scale
        yield f'<rect x="{left:.1f}" y="{300 - height - size:.1f}" width="{width:.1f}" height="{size:.1f}" fill="{COLOURS.get(kind, OTHER)}"/>'
        height += size


step = 900 / len(later)
scale = 280 / max(total(commit, "whole") for commit in later)
drawn = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 340" font-family="sans-serif" font-size="12">']
for at, commit in enumerate(later):
    left = 50 + at * step
    drawn.extend(bars(commit, "whole", left, step * 0.4, scale))
    drawn.extend(bars(commit, "stored", left + step * 0.45, step * 0.4, scale))
for share in [0.05, 0.12]:
    y = 300 - share * full * scale
    drawn.append(f'<path d="M50 {y:.1f}H950" stroke="#000" stroke-dasharray="4"/><text x="5" y="{y:.1f}">{share:.2f}</text>')
legend = [*COLOURS.items(), ("other", OTHER)]
for at, (kind, colour) in enumerate(legend):
    drawn.append(f'<rect x="{50 + at * 110}" y="318" width="12" height="12" fill="{colour}"/><text x="{66 + at * 110}" y="329">{kind}</text>')
drawn.append(f'<text x="620" y="329">whole files, and as stored; lines: of {full / 1e6:.0f} MB</text></svg>')
with open(out + ".svg", "w") as picture:
    picture.write("\n".join(drawn) + "\n")
