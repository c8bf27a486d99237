#!/usr/bin/env bash
# Copies first, then testers by a header, then everybody by a cookie.
. ../try.sh
use_free_port 8084
sed -i 's/bake: 60s/bake: 2s/; s/bake: 5m/bake: 3s/g; s/127.0.0.1:8085/127.0.0.1:'"$(free_port)"'/' tidegate.yaml
sed -i 's/share: 1%/share: 20%/; s/, 10%, 50%/, 50%/; s/^      canary:/      canary:\n        bake: 2s/' tidegate.yaml
sed -i 's/^    routing:/    watch: 2s\n    routing:/' tidegate.yaml

sed -i 's/^    gates:/    judgement: {warmup: 0s, max_dwell: 4s}\n    gates:/' tidegate.yaml

expect 2 "$tidegate" deploy # two services: one must be named
expect 0 "$tidegate" deploy back-office
expect 0 "$tidegate" deploy shop
users 200
echo '<p>B</p>' >>site/index.html
expect 5 "$tidegate" deploy shop # held before the first share
expect 0 "$tidegate" approve
while ! "$tidegate" status shop --json | grep -q canary_waiting; do sleep 0.1; done
curl -fsS -H 'x-tester: yes' "$url/" | grep -q B # testers see the new release whatever the share
expect 0 "$tidegate" watch
