"""Reads what `.ci/hlog` had klamm write: histogram logs and records. Ends with an assertion if another reader sees it differently."""

import json
import math
import sys
from pathlib import Path

from hdrh.log import HistogramLogReader
from hdrh.histogram import HdrHistogram
from jsonschema import Draft202012Validator

work = Path(sys.argv[1])


def schema(name):
    known = json.load(open(f"docs/{name}.schema.json"))
    Draft202012Validator.check_schema(known)
    return Draft202012Validator(known)


schemas = {name: schema(name) for name in ("run", "audit", "compare")}
written = {name: sorted(work.rglob(f"{name}.json")) for name in schemas}
for name, files in written.items():
    assert files, f"no {name}.json was written"
    for file in files:
        record = json.load(open(file))
        errors = [f"{file}: {e.json_path}: {e.message}" for e in schemas[name].iter_errors(record)]
        assert not errors, "\n".join(errors[:10])
        # A validator that takes anything would say nothing.
        broken = dict(record)
        broken.pop(next(iter(schemas[name].schema["required"])))
        assert not schemas[name].is_valid(broken), f"{name}: the schema demands nothing"


def value_at(values, rank):
    for value, count in values:
        rank -= count
        if rank <= 0:
            return value
    return values[-1][0]


PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}
logs = 0
for file in written["run"]:
    record = json.load(open(file))
    for scenario in record["scenarios"]:
        for kind in ("response", "service"):
            log = file.parent / f"{scenario['name']}.{kind}.hlog"
            said = scenario.get(kind)
            if said is None:
                continue
            assert log.is_file(), log
            # Nanoseconds up to a day, three digits: as wide as anything Klamm writes.
            reader = HistogramLogReader(str(log), HdrHistogram(1, 86_400_000_000_000, 3))
            whole = HdrHistogram(1, 86_400_000_000_000, 3)
            intervals = 0
            while True:
                one = reader.get_next_interval_histogram()
                if one is None:
                    break
                whole.add(one)
                intervals += 1
            assert intervals == 1, f"{log}: {intervals} intervals"
            assert whole.get_total_count() == said["count"], f"{log}: {whole.get_total_count()} of {said['count']} values"
            values = [(step.value_iterated_to, step.count_added_in_this_iter_step) for step in whole.get_recorded_iterator()]
            for name, percentile in PERCENTILES.items():
                # The smallest value with at least this share at or below it. Python's own rounds the rank instead.
                rank = math.ceil(said["count"] * percentile / 100)
                near = [value_at(values, max(1, r)) for r in (rank - 1, rank, rank + 1)]
                # Both round within a bucket, and a bucket is a thousandth wide.
                assert abs(near[1] - said[name]) <= said[name] / 500 + 1, f"{log}: {name} is {near[1]}, not {said[name]}"
                read = whole.get_value_at_percentile(percentile)
                assert any(abs(read - v) <= v / 500 + 1 for v in near), f"{log}: {name} reads {read}, beside {near}"
            assert abs(whole.get_max_value() - said["max"]) <= said["max"] / 500 + 1, f"{log}: max {whole.get_max_value()}"
            logs += 1
assert logs >= 10, f"only {logs} logs were read"
print(f"{logs} histogram logs read by HdrHistogram's Python package, each as its record says; "
      f"{sum(map(len, written.values()))} records are as their schemas say")
