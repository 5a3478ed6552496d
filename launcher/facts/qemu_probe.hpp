// Asking a QEMU binary what it can do, by starting it without a machine. The rule: it answers over QMP, and is ended whatever it
// answers; what it said is kept by qemu_features.cpp.
#pragma once

#include <expected>
#include <set>
#include <string>

#include "launcher/facts/qemu_features.hpp"

namespace launcher::inline facts {

constexpr int probe_generation = 6;  // of what is asked

// Errors say what QEMU printed, too.
std::expected<QemuFeatures, std::string> ask_qemu(const std::string& binary);
std::expected<std::set<std::string>, std::string> ask_host_cpu(const std::string& binary);  // what "host" has, with KVM

}  // namespace launcher::facts
