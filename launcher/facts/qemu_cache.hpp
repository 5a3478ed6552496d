// What has been found out about a QEMU, kept in a file until that QEMU changes ($VMRUN_CACHE_DIR, /var/cache/vmrun for root, else
// $XDG_CACHE_HOME/vmrun). The rule: a cache that cannot be read or written costs a start its 0.3 s, and is no error.
#pragma once

#include <string>
#include <vector>

namespace launcher::inline facts {

// Same path, inode, size and time of change: the same binary. "": there is none.
std::string identity_of(const std::string& binary);

// What is kept under a key (of one line), as JSON of one line each: our own, and what root has found out.
// place: of what only the last is kept of, whose file it shares with all keys of that place; "": each key has a file of its own.
std::vector<std::string> read_cache(const std::string& key, const std::string& place = {});
void write_cache(const std::string& key, const std::string& json, const std::string& place = {});

}  // namespace launcher::facts
