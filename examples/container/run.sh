#!/usr/bin/env bash
# A container of an image that is made here, so that nothing has to be fetched. Needs a Docker Engine and a static busybox.
. ../try.sh
busybox=$(command -v busybox) || { echo "busybox is missing: cargo xtask setup installs it" >&2; exit 1; }
mkdir -p image/bin image/www
cp "$busybox" image/bin/busybox
echo 'from a container' >image/www/index.html
tar -C image -c . | docker import --change 'CMD ["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/www"]' - tidegate-example:1 >/dev/null
use_free_port 8083
sed -i 's/nginx:1.29-alpine/tidegate-example:1/; s/bake: 30s/bake: 1s/; s/\[10%, 50%, 100%\]/[50%, 100%]/' tidegate.yaml

expect 0 "$tidegate" deploy
curl -fsS "$url/" | grep -q 'from a container'
"$tidegate" logs
