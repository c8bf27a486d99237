#!/usr/bin/env bash
# Four batches of one instance.
. ../try.sh
use_free_port 8082
sed -i 's/bake: 10s/bake: 1s/; s/min_healthy: 2s/min_healthy: 200ms/' tidegate.yaml
echo '    watch: 2s' >>tidegate.yaml
echo '    judgement: {warmup: 0s, max_dwell: 4s}' >>tidegate.yaml

expect 0 "$tidegate" deploy
users 200
echo '<p>rolled</p>' >>site/index.html
expect 0 "$tidegate" deploy
curl -fsS "$url/" | grep -q rolled
