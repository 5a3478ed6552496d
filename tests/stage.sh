# shellcheck shell=bash
# stage_of DIR: how far a VM has come, by what lies in its directory below vmrun's; numbered, so that they sort. For the kill campaigns.
stage_of() {
    if [ ! -d "$1" ]; then echo "0 before or after everything"
    elif [ ! -s "$1/journal" ]; then echo "1 claimed, nothing done"
    elif grep -qs undone "$1/journal"; then echo "7 undoing"
    elif [ ! -s "$1/state.json" ]; then
        if grep -qs end_process "$1/journal"; then echo "3 QEMU forked"; else echo "2 preparing the host"; fi
    elif grep -qs '"running"' "$1/state.json"; then echo "5 running"
    elif grep -qs '"stopping"' "$1/state.json"; then echo "6 stopping"
    else echo "4 QEMU starting"; fi
}
