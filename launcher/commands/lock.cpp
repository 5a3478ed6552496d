// `vmrun lock`: all that would decide a run of this spec here, as one document.
#include <fmt/format.h>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/inputs.hpp"
#include "launcher/commands/locking.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/steps/records.hpp"

namespace launcher::commands {

int lock(const Options& options) {
  const std::optional<SpecFile> file = read_spec_or_print(options);
  if (!file) return problems;
  const auto lock = lock_of_spec(*file, options, lock_telling(true));
  if (!lock) return problems;
  if (const auto output = options.value("output"))
    write_file(*output, to_document(*lock));
  else
    print(to_document(*lock));
  return done;
}

}  // namespace launcher::commands
