// `vmrun set NAME cdrom[N]=FILE`: another medium, or none.
#pragma once

#include <string>

#include "launcher/steps/vm_dir.hpp"
#include "qmp/client.hpp"

namespace launcher::commands {

bool is_cdrom_key(const std::string& key);  // "cdrom[0]"

// file "": taken out. Throws UsageError, or what QEMU refused.
void set_cdrom(::qmp::Client& client, const VmDir& dir, const std::string& key, const std::string& file);

}  // namespace launcher::commands
