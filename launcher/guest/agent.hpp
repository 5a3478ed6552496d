// What is asked of the guest's agent (qemu-ga). The rule: each answer is a guest's: bounded, and believed for nothing on this host.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "qmp/client.hpp"

namespace launcher::inline guest {

// A line to the agent that has answered; nullopt: there is no channel, or nobody answers within that time.
std::optional<::qmp::Client> reach_agent(const std::filesystem::path& run_dir, std::chrono::milliseconds patience);

// Addresses of the guest's interfaces with these MACs: IPv4 first, no link-local ones.
std::vector<std::string> agent_addresses(const std::filesystem::path& run_dir, const std::vector<std::string>& macs);

struct Ran {
  int code = 0;  // its exit code, or 128 + signal
  std::string out, error;
  bool cut = false;  // the agent kept only a part of what it wrote
};

// Runs a program in the guest, as root, and waits for its end. idle: called between looks, and may throw to leave. Throws qmp::Error.
// patience: for each of the agent's answers.
Ran run_by_agent(::qmp::Client& agent, const std::vector<std::string>& command, const std::optional<std::string>& input,
                 const std::function<void()>& idle, std::chrono::milliseconds patience = std::chrono::seconds(10));

}  // namespace launcher::guest
