// Device: one alternative per kind. The rule: a kind is one file pair under devices/ with its struct, read(), check(),
// prepare() and emit(); std::visit over this variant makes the compiler list what a new kind lacks.
#pragma once

#include <variant>

#include "launcher/devices/console.hpp"
#include "launcher/devices/disk.hpp"
#include "launcher/devices/nic.hpp"

namespace launcher {

using Device = std::variant<Disk, Nic, Console>;

}  // namespace launcher
