# tests/guides.tsv as a manual page, vmrun-guides(7): awk -f scripts/guides-man.awk tests/guides.tsv. A section for each guide, below it its
# headings, and of each statement what answers it.
BEGIN {
    FS = "\t"
    print ".TH VMRUN\\-GUIDES 7\n.SH NAME\nvmrun\\-guides \\- what the tuning guides say, and what of vmrun answers it\n.SH DESCRIPTION"
    print "Each statement of five guides to KVM's performance, in other words. Below it: a check of"
    print ".BR \"vmrun host check\" ,"
    print "a key of"
    print ".BR vmrun.toml (5)"
    print "or what vmrun does by itself, or why there is none."
    words["host"] = "checked by: "
    words["vm"] = "for a VM: "
    words["guest"] = "inside the guest: "
    words["method"] = "no setting: "
    guide = place = "none"
}
function safe(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    if (text ~ /^[.']/) text = "\\\\\\&" text
    return text
}
/^# --- / { title = substr($0, 7); sub(/^[0-9]*: /, "", title); next }
/^#/ { next }
($1 "") != guide { guide = $1 ""; place = "none"; print ".SH GUIDE " guide "\n" safe(title) }
($2 "") != place { place = $2 ""; print ".SS " safe(place) }
{
    gsub(/,/, ", ", $5)
    gsub(/,  /, ", ", $5)
    print ".TP\n" safe($3) "\n" words[$4] safe($5)
}
END { print ".SH SEE ALSO\n.BR vmrun (1),\n.BR vmrun.toml (5)" }
