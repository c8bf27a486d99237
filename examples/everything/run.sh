#!/usr/bin/env bash
# Every key that there is: the file is valid, and its schema says the same of every key.
. ../try.sh
expect 0 "$tidegate" validate
"$tidegate" validate --schema >schema.json
python3 - <<'PY'
import json
schema = json.load(open("schema.json"))
assert schema["$schema"].endswith("2020-12/schema"), schema["$schema"]
PY
# An unknown key is named with its line and the nearest one that is known.
sed 's/criticality:/criticalty:/' tidegate.yaml >wrong.yaml
expect 2 "$tidegate" --file wrong.yaml validate 2>answer
grep -q 'did you mean `criticality`' answer
