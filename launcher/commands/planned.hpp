// A spec's plan, for this machine or, with --host, for another: what `plan` and `export` show.
#pragma once

#include <optional>

#include "launcher/commands/options.hpp"
#include "launcher/life/world.hpp"
#include "launcher/spec/read_spec.hpp"

namespace launcher::commands {

std::optional<Planned> plan_or_print(const SpecFile& file, const Options& options);  // nullopt: problems were printed

}  // namespace launcher::commands
