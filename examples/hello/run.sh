#!/usr/bin/env bash
# A first release, a second one as a canary, and back again.
. ../try.sh
use_free_port 8080
sed -i 's/bake: 10s/bake: 2s/' tidegate.yaml
echo '    watch: 2s' >>tidegate.yaml
echo '    judgement: {warmup: 0s, max_dwell: 4s}' >>tidegate.yaml

expect 0 "$tidegate" validate
expect 0 "$tidegate" deploy
curl -fsS "$url/" >/dev/null
users 300
expect 2 "$tidegate" deploy # nothing changed: refused
echo '<p>second</p>' >>site/index.html
expect 0 "$tidegate" deploy
curl -fsS "$url/" | grep -q second
expect 0 "$tidegate" rollback
! curl -fsS "$url/" | grep -q second
"$tidegate" history
