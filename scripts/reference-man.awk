# configs/reference.toml as a manual page, vmrun.toml(5): awk -f scripts/reference-man.awk configs/reference.toml. Lines that begin with
# "# " are sentences; keys and tables stand as they are, a "#" away from use.
function safe(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    if (text ~ /^[.']/) text = "\\\\\\&" text
    return text
}
function verbatim(wanted) {
    if (wanted == in_keys) return
    print wanted ? ".nf" : ".fi"
    in_keys = wanted
}
BEGIN {
    print ".TH VMRUN.TOML 5\n.SH NAME\nvmrun.toml \\- a virtual machine, as vmrun reads it\n.SH DESCRIPTION"
}
/^# / { verbatim(0); print safe(substr($0, 3)); next }
/^#?\[/ {
    verbatim(0)
    name = $0
    sub(/^#/, "", name)
    sub(/[ \t]+#.*/, "", name)
    print ".SH " safe(name)
    next
}
/^$/ { verbatim(0); print ".PP"; next }
/^#/ { verbatim(1); print safe(substr($0, 2)); next }
{ verbatim(1); print safe($0) }
END { verbatim(0); print ".SH SEE ALSO\n.BR vmrun (1)" }
