// `vmrun view`: the guest's screen, in the viewer that is there. The rule: this process becomes the viewer.
#include "launcher/guest/view.hpp"

#include <fmt/format.h>

#include <filesystem>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/guest.hpp"
#include "launcher/commands/reach.hpp"
#include "launcher/facts/host_config.hpp"

namespace launcher::commands {

int view(const Options& options) {
  const VmDir dir = named_vm(options);
  const auto plan = dir.read_plan();
  const auto screen = plan ? screen_of(*plan) : std::nullopt;
  if (!screen) throw std::runtime_error("VM " + dir.name() + " has no screen: its spec needs a table [display]");
  for (const Viewer& viewer : viewers(*screen))
    if (const auto program = find_program(viewer.program)) {
      std::vector<std::string> argv{*program};
      argv.insert(argv.end(), viewer.words.begin(), viewer.words.end());
      return become(argv);
    }
  throw std::runtime_error(fmt::format("no viewer is here for {} (Debian: apt install virt-viewer)", *screen));
}

}  // namespace launcher::commands
