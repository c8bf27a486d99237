#!/usr/bin/env bash
# A Rollout of Argo's, checked and said in Tidegate's words. No cluster is needed.
. ../try.sh

"$tidegate" validate rollout.yaml | grep -q 'Rollout shop'
expect 0 "$tidegate" import rollout.yaml --explain --out made
cat made/tidegate.yaml

# It is a configuration like every other one, and means the same.
(cd made && "$tidegate" validate | grep -q 'is valid: 1 service, shop')
grep -q 'http_route: shop' made/tidegate.yaml
grep -q 'success: "result\[0\] < 0.01"' made/tidegate.yaml
[ "$(grep -c 'share:' made/tidegate.yaml)" = 3 ]

# What is there already is not written over.
expect 2 "$tidegate" import rollout.yaml --out made 2>said
grep -q 'is there already' said

# Argo's counting, where it is wanted.
expect 0 "$tidegate" import rollout.yaml --compat argo --out made --force >said
grep -q 'count: 4' made/tidegate.yaml

# A mistake is named by its line and what was meant; a condition outside of the language by its token.
sed -i 's/setWeight: 50/setWieght: 50/' rollout.yaml
expect 2 "$tidegate" validate rollout.yaml 2>said
grep -q 'did you mean `setWeight`' said
sed -i 's/setWieght/setWeight/; s/result\[0\] < 0.01/result matches "ok"/' rollout.yaml
expect 2 "$tidegate" import rollout.yaml --out again >said
grep -q 'at `matches`' said
[ ! -e again ]
