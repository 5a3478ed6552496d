// A running VM as its record shows it.
#pragma once

#include "launcher/record/lock.hpp"
#include "launcher/steps/vm_dir.hpp"
#include "qmp/client.hpp"

namespace launcher::inline record {

RunPart look_at_run(const VmDir& dir, ::qmp::Client* monitor, std::int64_t started);

}  // namespace launcher::record
