// `vmrun plan`: the first half of `vmrun run`, by the same calls. A pure dry run.
#include "launcher/commands/commands.hpp"
#include "launcher/commands/inputs.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/planned.hpp"
#include "launcher/plan/json.hpp"

namespace launcher::commands {

int plan(const Options& options) {
  const std::optional<SpecFile> file = read_spec_or_print(options);
  if (!file) return problems;
  const std::optional<Planned> planned = plan_or_print(*file, options);
  if (!planned) return problems;
  if (options.flag("json"))
    print_json(plan_json(planned->plan));
  else if (options.flag("shell"))
    print(shell_line(argv_of(planned->plan.qemu, planned->plan.args)));
  else
    print(to_text(planned->plan, planned->host, options.flag("explain")));
  return done;
}

}  // namespace launcher::commands
