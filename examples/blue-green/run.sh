#!/usr/bin/env bash
# Both releases at full size; a person agrees to the switch.
. ../try.sh
use_free_port 8081
sed -i 's/bake: 2m/bake: 3s/; s/watch: 10m/watch: 2s/' tidegate.yaml

expect 0 "$tidegate" deploy
users 200
echo '<p>green</p>' >>site/index.html
expect 5 "$tidegate" deploy # held: it waits for an approval
"$tidegate" why
! curl -fsS "$url/" | grep -q green
expect 0 "$tidegate" approve --reason "looks right"
expect 0 "$tidegate" watch
curl -fsS "$url/" | grep -q green
