// `vmrun guest-setup`: the guest's half of a spec as a shell script, from the plan that a VM of it runs by, or would.
#include <boost/json/object.hpp>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/inputs.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/planned.hpp"
#include "launcher/commands/reach.hpp"
#include "launcher/text/json_member.hpp"
#include "launcher/text/out.hpp"
#include "topology/struct_json.hpp"

namespace launcher::commands {

namespace {

using Settings = std::vector<GuestSetting>;

Settings settings_of(const VmDir& dir) {
  const auto plan = dir.read_plan();
  const boost::json::value* guest = plan ? member(*plan, "guest") : nullptr;
  return guest != nullptr ? topology::json::read<Settings>(*guest) : Settings{};
}

}  // namespace

int guest_setup(const Options& options) {
  const std::string& word = options.word(0, "the spec's file, or the name of a VM that runs");
  std::string name = word;
  Settings settings;
  if (const auto running = is_file_name(word) ? VmDir::find(run_base(), word) : std::nullopt) {
    settings = settings_of(*running);
  } else {
    const std::optional<SpecFile> file = read_spec_or_print(options);
    if (!file) return problems;
    name = file->spec.name;
    if (const auto runs = VmDir::find(run_base(), name); runs && options.all("set").empty() && !options.value("host")) {
      settings = settings_of(*runs);
    } else {
      const std::optional<Planned> planned = plan_or_print(*file, options);
      if (!planned) return problems;
      settings = planned->plan.guest;
    }
  }
  if (settings.empty())
    throw UsageError("VM " + name + " asks for nothing inside its guest: it has no [guest], or one that says nothing");
  print(guest_script(name, settings));
  return done;
}

}  // namespace launcher::commands
