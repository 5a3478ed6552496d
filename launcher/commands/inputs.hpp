// What a command reads before it does anything: the spec and the host's settings.
#pragma once

#include <optional>

#include "launcher/commands/options.hpp"
#include "launcher/facts/host_config.hpp"
#include "launcher/spec/read_spec.hpp"

namespace launcher::commands {

// Reads the spec named by the first word, with --set; prints its problems. nullopt: they were printed (exit 2).
std::optional<SpecFile> read_spec_or_print(const Options& options);
HostConfig host_config_or_throw(const Options& options);

}  // namespace launcher::commands
