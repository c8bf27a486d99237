PROG=$1; cd /tmp/tg/bench
nice -n -19 taskset -c 1 nginx -c /tmp/tg/bench/backend.conf & NB=$!
rm -rf pfd; mkdir pfd
nice -n -19 taskset -c 0 $PROG pfd 1 & VP=$!
sleep 1
python3 - <<'PY'
import socket,json,time
d="/tmp/tg/bench/pfd"
s=socket.socket(socket.AF_UNIX); s.connect(d+"/admin.sock")
t=json.dumps({"service":"shop","epoch":1,"generation":1,"listen":[{"address":"127.0.0.1:18099"}],"sticky":{"cookie":"who"},"lease_ms":86400000,
 "releases":[{"release":"v1","weight":9500,"backend":{"fixed":["127.0.0.1:18081"]}},{"release":"v2","weight":500,"backend":{"fixed":["127.0.0.1:18082"]}}],"stable":"v1"})
s.sendall(f"PUT /v1/services/shop HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(t)}\r\n\r\n{t}".encode()); s.recv(1000)
PY
nice -n -19 taskset -c 1 wrk -t1 -c64 -d5s http://127.0.0.1:18099/ > pw.txt &
sleep 1; P=$(pgrep -P $VP 2>/dev/null | head -1); perf record -e cpu-clock -F 5000 -g -p ${P:-$VP} -o pf.data -- sleep 3 >/dev/null 2>&1
wait %3 2>/dev/null; sleep 2; kill $VP $NB; tail -3 pw.txt
