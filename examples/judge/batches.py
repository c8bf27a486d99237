"""Prints batches as a load balancer's log would give them: a second a line, 5 % of 1,000 requests on the new release."""
import json
import sys

kind = sys.argv[1]
for second in range(120):
    failures = {"healthy": second % 2, "worse": 5}[kind]
    batch = {
        "stage": 0,
        "new": {
            "requests": 50,
            "failures": failures,
            "latency_ms": [[10, 30], [100, 19], [1000, 1], [10000, 0]],
        },
        "stable": {
            "requests": 950,
            "failures": 9 + second % 2,
            "latency_ms": [[10, 570], [100, 370], [1000, 10], [10000, 0]],
        },
        "metrics": {"refused_payments": {"new": 0.4, "stable": 0.5}},
    }
    print(json.dumps(batch), flush=True)
