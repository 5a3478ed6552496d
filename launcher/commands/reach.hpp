// A VM by its name, and a line to its QEMU. The rule: who names none is told which there are, and how to reach those of others.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "launcher/commands/options.hpp"
#include "launcher/steps/vm_dir.hpp"
#include "qmp/client.hpp"

namespace launcher::commands {

// The VM named by the first word; throws std::runtime_error with the names there are, and whose it is if it is not ours.
VmDir named_vm(const Options& options);
VmDir named_vm(const std::string& name);
bool is_file_name(const std::string& name);       // it can be a VM's; the name of nothing outside
std::string spec_named(const std::string& name);  // NAME.toml here or for a unit, or that file; "": there is none

// How long QEMU may take to answer a command of ours.
inline constexpr std::chrono::seconds patience{5};

::qmp::Client connect_monitor(const VmDir& dir);                   // its public QMP socket, hands shaken
std::unique_ptr<::qmp::Client> monitor_if_free(const VmDir& dir);  // nullptr: somebody else holds it, or QEMU is gone
// The same in two halves: between them QEMU answers what was asked, and we do something else. The second may find nullptr, too.
std::unique_ptr<::qmp::Client> monitor_to_ask(const VmDir& dir, const std::vector<::qmp::Command>& ahead);
std::unique_ptr<::qmp::Client> if_it_answers(std::unique_ptr<::qmp::Client> monitor,
                                             const std::vector<::qmp::Command>& more);
::qmp::Command command_of(const std::string& text);  // a name, or {"execute": ..., "arguments": ...}

}  // namespace launcher::commands
