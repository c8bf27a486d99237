#!/usr/bin/env bash
# The gates alone, asked about numbers from outside: no service, no proxy, no configuration but the gates.
. ../try.sh

# As good as the release before: the exit code says go on.
python3 batches.py healthy | expect 0 "$tidegate" judge --gates gates.yaml >answers.jsonl
tail -n 1 answers.jsonl | grep -q '"decision":"pass"'

# Ten percent fail where one percent did: it is turned back after a few seconds' worth, not after two minutes.
python3 batches.py worse >worse.jsonl
expect 4 "$tidegate" judge --gates gates.yaml --batches worse.jsonl >answers.jsonl
tail -n 1 answers.jsonl
tail -n 1 answers.jsonl | python3 -c '
import json, sys
end = json.load(sys.stdin)
assert (end["decision"], end["gate"]) == ("roll_back", "error_rate"), end
assert end["batches"] <= 10, end
'

# Too little to tell is neither.
head -n 2 worse.jsonl | sed 's/"failures": 5/"failures": 0/' | expect 5 "$tidegate" judge --gates gates.yaml >answers.jsonl

# A bad line is named with its number, and nothing is decided unless it may be left out.
sed '2s/requests/request/' worse.jsonl >bad.jsonl
expect 2 "$tidegate" judge --gates gates.yaml --batches bad.jsonl >answers.jsonl 2>said
grep -q '^line 2: unknown field `request`' said
expect 4 "$tidegate" judge --gates gates.yaml --batches bad.jsonl --skip-bad >answers.jsonl 2>said
tail -n 1 answers.jsonl | grep -q '"skipped":1'
