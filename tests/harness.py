#!/usr/bin/python3
"""A harness as small as one can be: runs `vmrun measure --json` with these arguments and prints each metric's median and interval."""
import json, subprocess, sys

runs, summary = [], {"metrics": {}}
process = subprocess.Popen([sys.argv[1], "measure", "--json", *sys.argv[2:]], stdout=subprocess.PIPE, text=True)
for event in map(json.loads, process.stdout):
    if isinstance(event, list) or event["version"] != 1:
        sys.exit(f"no measurement: {event}")  # problems of the spec come as a list
    if event["event"] == "run":
        runs.append(event)
    elif event["event"] == "summary":
        summary = event
code = process.wait()
counted = [run for run in runs if not run["warmup"] and run["exit_code"] == 0]
print("exit", code, "runs", len(runs), "counted", len(counted), "disturbed", sum(run["verdict"] == "disturbed" for run in counted))
for name, metric in sorted(summary["metrics"].items()):
    if name != "seconds":
        print(name, metric["count"], metric["median"], metric["low"], metric["high"])
sys.exit(code)
