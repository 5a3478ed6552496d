// `vmrun recover`: puts back what a crash left.
#include <boost/json/object.hpp>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/host/linux_host.hpp"
#include "launcher/life/await_lock.hpp"
#include "launcher/steps/transaction.hpp"
#include "topology/placement_json.hpp"

namespace launcher::commands {

int recover(const Options& options) {
  LinuxHost machine;
  const Lock lock = await_lock(run_base(), say);
  const Recovered recovered = recover_dead(machine, run_base());
  if (options.flag("json")) {
    print_json({{"recovered", topology::json::write(recovered.names)},
                {"left", topology::json::write(recovered.left)},
                {"passed_over", topology::json::write(recovered.passed_over)}});
  } else {
    for (const std::string& name : recovered.names) say("put back what VM " + name + " had left");
    for (const std::string& what : recovered.passed_over) say(what);
    for (const std::string& left : recovered.left) say(left);
    if (recovered.names.empty()) say("nothing to recover");
  }
  return recovered.left.empty() ? done : left_over;
}

}  // namespace launcher::commands
