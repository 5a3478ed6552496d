// `vmrun replay`: the run that a lock tells of, once more: the same placement and command line on the same host, or a refusal that
// names each drift.
#include "launcher/commands/commands.hpp"
#include "launcher/commands/locking.hpp"
#include "launcher/commands/run.hpp"

namespace launcher::commands {

int replay(const Options& options) {
  const std::string& path = options.word(0, "a lock that `vmrun lock` or --record wrote");
  Launching launching;
  launching.expected = expected_of(options, path);
  launching.file = spec_of_lock(launching.expected->lock, path, options);
  if (!launching.file) return problems;
  return supervise(options, std::move(launching));
}

}  // namespace launcher::commands
