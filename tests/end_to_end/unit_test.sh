#!/bin/bash
# The systemd unit: what `systemd-analyze security` still counts has its reason there; an end that was asked for and a bad spec
# start nothing again.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
unit=$here/../../configs/vmrun@.service
failures=0
fail() { failures=$((failures + 1)); echo "FAIL  $*"; }
for line in 'RestartPreventExitStatus=2 3' 'Restart=on-failure' 'LimitNOFILE=524288' 'StartLimitBurst=5'; do
    grep -qxF "$line" "$unit" || fail "no line $line"
done
for tool in systemd-analyze jq; do command -v "$tool" >/dev/null || { echo "$tool is not installed"; exit 77; }; done
points=$(systemd-analyze security --offline=true --no-pager --json=short "$unit" 2>/dev/null) ||
    { echo "this systemd-analyze looks at no unit file"; exit 77; }
counted=0
while read -r name; do
    counted=$((counted + 1))
    case $name in *=~@* | RestrictNamespaces=~* | RestrictAddressFamilies=~*) name=${name%%~*}~ ;; esac
    grep -F '#   ' "$unit" | grep -qF -- "$name" || fail "no reason for $name"
done < <(jq -r '.[] | select(.exposure != null and (.exposure | tonumber) > 0 and .set != true) | .name' <<<"$points")
[ "$counted" -gt 10 ] || fail "only $counted points found"
echo "$counted points looked at, $failures failures"
[ "$failures" = 0 ]
