#!/usr/bin/python3
"""A harness as small as one can be: runs `vmrun measure --json` with these arguments and prints each metric's median and interval."""
import json, subprocess, sys

runs, summary = [], None
process = subprocess.Popen([sys.argv[1], "measure", "--json", *sys.argv[2:]], stdout=subprocess.PIPE, text=True)
for line in process.stdout:
    event = json.loads(line)
    if isinstance(event, list):  # problems of the spec
        sys.exit("\n".join(problem["what"] for problem in event))
    if event["version"] != 1:
        sys.exit("another version")
    if event["event"] == "run":
        runs.append(event)
    elif event["event"] == "summary":
        summary = event["metrics"]
code = process.wait()
counted = [run for run in runs if not run["warmup"] and run["exit_code"] == 0]
print("exit", code, "runs", len(runs), "counted", len(counted))
for name, metric in sorted((summary or {}).items()):
    if name != "seconds":
        print(name, metric["count"], metric["median"], metric["low"], metric["high"])
sys.exit(code)
