// A VM by its name, and a line to its QEMU.
#pragma once

#include <string>

#include "launcher/commands/options.hpp"
#include "launcher/steps/run_dir.hpp"
#include "qmp/client.hpp"

namespace launcher::commands {

// The VM named by the first word; throws std::runtime_error with the names there are.
VmDir named_vm(const Options& options);

::qmp::Client connect_monitor(const VmDir& dir);     // its public QMP socket, hands shaken
::qmp::Command command_of(const std::string& text);  // a name, or {"execute": ..., "arguments": ...}

}  // namespace launcher::commands
