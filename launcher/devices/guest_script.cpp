// The script that sets a guest's half and reads it back. The rule: POSIX shell and what every guest has (busybox will do); what cannot be
// set is told, and the rest is set all the same.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/devices/guest_settings.hpp"
#include "launcher/devices/qemu_args.hpp"

namespace launcher::inline devices {

namespace {

constexpr std::string_view functions = R"sh(export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mode=${1:-set} number=0 missed=0
sets() { case $mode in set | boot | set-rows) ;; *) return 1 ;; esac; }
# tell WHAT WANTED IS WHERE
tell() {
    number=$((number + 1))
    case $mode in
        *rows) printf '%s\t%s\t%s\n' "$number" "$3" "$4" ;;
        *) if [ "$3" = "$2" ]; then printf 'held: %s = %s\n' "$1" "$3"; else
            printf 'not held: %s: wanted %s, is %s (%s)\n' "$1" "$2" "$3" "$4"; missed=1
        fi ;;
    esac
}
# value FILE: of "a [b] c" the chosen one; blanks as one
value() {
    line=$(cat "$1" 2>/dev/null) || return 1
    case $line in *\[*\]*) line=${line#*\[} line=${line%%\]*} ;; esac
    set -f; set -- $line; set +f
    printf '%s' "$*"
}
# file WHAT WANTED FILE...: the last that is otherwise is told
file() {
    what=$1 wanted=$2 is='' where=''; shift 2
    for path; do
        [ -e "$path" ] || continue
        got=$(value "$path") || got=unreadable
        if [ "$got" != "$wanted" ] && sets; then
            { printf '%s\n' "$wanted" >"$path"; } 2>/dev/null
            got=$(value "$path") || got=unreadable
        fi
        if [ -z "$where" ] || [ "$got" != "$wanted" ]; then is=$got where=$path; fi
    done
    tell "$what" "$wanted" "${is:-not there}" "${where:-${1:-no such device}}"
}
# card MAC: its name
card() {
    for dir in /sys/class/net/*; do
        [ ! -e "$dir/device" ] || [ "$(value "$dir/address")" != "$1" ] || { printf '%s' "${dir##*/}"; return; }
    done
    printf none
}
mtu() { file "$1" "$2" "/sys/class/net/$(card "$3")/mtu"; }
queues() { got=0; for path in "/sys/class/net/$1/queues/rx-"*; do [ ! -e "$path" ] || got=$((got + 1)); done; }
channels() {
    name=$(card "$3") note=''
    queues "$name"
    if [ "$got" != "$2" ] && sets; then
        if command -v ethtool >/dev/null; then ethtool -L "$name" combined "$2" 2>/dev/null; else note=' (no ethtool there)'; fi
        queues "$name"
    fi
    tell "$1" "$2" "$got" "/sys/class/net/$name/queues$note"
}
interrupts() {
    what=$1 wanted=$2; shift 2
    for mac; do
        shift
        name=$(card "$mac")
        for path in "/sys/class/net/$name/device/msi_irqs/"* "/sys/class/net/$name/device/../msi_irqs/"*; do
            [ ! -e "$path" ] || set -- "$@" "/proc/irq/${path##*/}/smp_affinity_list"
        done
    done
    file "$what" "$wanted" "$@"
}
tuned() {
    command -v tuned-adm >/dev/null || { tell "$1" "$2" 'tuned is not installed' tuned-adm; return; }
    active() { got=$(tuned-adm active 2>/dev/null | sed -n 's/^Current active profile: //p'); }
    active
    if [ "$got" != "$2" ] && sets; then tuned-adm profile "$2" >/dev/null 2>&1; active; fi
    tell "$1" "$2" "${got:-none}" 'tuned-adm active'
}
driver() {
    path=/sys/devices/system/cpu/cpuidle/current_driver
    if [ "$(value $path)" != "$2" ] && sets; then
        modprobe cpuidle_haltpoll 2>/dev/null || modprobe cpuidle_haltpoll force=Y 2>/dev/null
    fi
    got=$(value $path) || got='not there'
    tell "$1" "$2" "$got" "$path"
}
bootword() {
    got=none
    for word in $(cat /proc/cmdline); do case $word in "$3"*) got=$word ;; esac; done
    tell "$1" "$2" "$got" /proc/cmdline
}
)sh";

}  // namespace

std::string guest_script(const std::string& vm, const std::vector<GuestSetting>& settings) {
  std::string text = fmt::format(
      "#!/bin/sh\n# The guest's half of VM {}, by vmrun: `sh FILE` sets it and says what holds, `sh FILE check` only "
      "says so (exit\n"
      "# code 1: not all of it). For root. It lasts until the guest boots again: run it at each boot.\n{}",
      vm, functions);
  for (const GuestSetting& one : settings) {
    std::string words = shell_line({one.what, one.wanted});
    words.pop_back();  // the line's end
    text += fmt::format("\n{} {}", one.how, words);
    for (const std::string& at : one.at) text += " " + at;  // a pattern is the shell's to fill in
  }
  return text + "\ncase $mode in boot | *rows) ;; *) exit $missed ;; esac\n";
}

}  // namespace launcher::devices
