// extra_args at the end of the command line. The rule: none names a thing of the plan's own, by its id or as a property that the
// plan sets.
#include <fmt/format.h>

#include <set>
#include <string_view>

#include "launcher/devices/qemu_members.hpp"
#include "launcher/plan/parts.hpp"
#include "launcher/spec/qemu_options.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::parts {

namespace {

struct Taken {
  std::set<std::string> ids;
  std::set<std::string> properties;  // "virtio-net-pci.mq"
};

Taken taken_by(const std::vector<Arg>& args) {
  Taken taken;
  for (const Arg& arg : args) {
    const Members members = members_of(arg.value);
    for (const char* key : {"id", "node-name"})
      if (const std::string id = member(members, key); !id.empty()) taken.ids.insert(id);
    const std::string named = member(members, "driver");
    const std::string driver = arg.option != "-device" ? "" : named.empty() ? member(members, "") : named;
    for (const auto& [key, ignored] : members)
      if (!driver.empty()) taken.properties.insert(driver + "." + key);
    if (arg.option == "-global") taken.properties.insert(member(members, "driver") + "." + member(members, "property"));
  }
  return taken;
}

// What of this option's value is the plan's own; "": nothing.
std::string own_thing(const std::string& option, const std::string& value, const Taken& taken) {
  const Members members = members_of(value);
  if (option == "global") {
    const std::string by_name = member(members, "property");
    const std::string property =
        by_name.empty() ? value.substr(0, value.find('=')) : member(members, "driver") + "." + by_name;
    return taken.properties.contains(property) ? property : "";
  }
  for (const char* key : {"id", "node-name"})
    if (const std::string id = member(members, key); !id.empty() && taken.ids.contains(id)) return id;
  // a monitor or port of the user's on a line of vmrun's
  std::string line = member(members, "chardev");
  if (option == "qmp" || option == "monitor" || option == "qmp-pretty")
    line = value.starts_with("chardev:") ? value.substr(8) : "";
  if (option == "mon" && line.empty()) line = member(members, "");
  return !line.empty() && taken.ids.contains(line) ? line : "";
}

}  // namespace

void add_extra_args(Draft& draft) {
  const std::vector<std::string>& extra = draft.spec.extra_args;
  const Taken taken = taken_by(draft.args.list());
  for (std::size_t i = 0; i < extra.size(); ++i) {
    draft.args.add_extra(extra[i]);
    const std::string name = extra[i].substr(std::min(extra[i].find_first_not_of('-'), extra[i].size()));
    const QemuOption* option = find_qemu_option(name);
    if (!extra[i].starts_with('-') || option == nullptr || !option->takes_value || i + 1 == extra.size()) continue;
    draft.args.add_extra(extra[++i]);
    if (const std::string own = own_thing(name, extra[i], taken); !own.empty())
      draft.problem(fmt::format("extra_args[{}]", i), fmt::format("\"{}\" is in this plan already", printable(own)),
                    name == "global" ? "set the spec's key for it instead"
                                     : "name yours differently: `vmrun plan` shows what vmrun has made");
  }
  if (!extra.empty())
    draft.note(
        fmt::format("extra_args: {} argument{} passed on unchecked", extra.size(), extra.size() == 1 ? "" : "s"));
}

}  // namespace launcher::parts
