#include "launcher/commands/inputs.hpp"

#include <cstdlib>

#include "launcher/commands/output.hpp"

namespace launcher::commands {

std::optional<SpecFile> read_spec_or_print(const Options& options) {
  auto read = read_spec(options.word(0, "the spec's file"), options.all("set"));
  if (read) return std::move(*read);
  print_problems(read.error().problems, read.error().document ? &*read.error().document : nullptr,
                 options.flag("json"));
  return std::nullopt;
}

HostConfig host_config_or_throw(const Options&) {
  const char* given = std::getenv("VMRUN_HOST_TOML");
  auto config = read_host_config(given != nullptr ? given : "");
  if (!config) throw UsageError(config.error());
  return *config;
}

}  // namespace launcher::commands
