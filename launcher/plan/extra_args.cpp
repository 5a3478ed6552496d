// extra_args at the end of the command line. The rule: none names a thing of the plan's own, by its id or as a property that the
// plan sets.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <map>
#include <set>
#include <string_view>

#include "launcher/plan/parts.hpp"
#include "launcher/spec/qemu_options.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::parts {

namespace {

// "key=value" parts of an option's value; of JSON, its texts.
std::map<std::string, std::string> members_of(const std::string& value) {
  std::map<std::string, std::string> members;
  if (value.starts_with('{')) {
    boost::system::error_code error;
    const boost::json::value json = boost::json::parse(value, error);
    if (error || !json.is_object()) return members;
    for (const auto& [key, one] : json.get_object())
      members[std::string(key)] = one.is_string() ? std::string(one.get_string()) : "";
    return members;
  }
  std::size_t begin = 0;
  for (std::size_t at = 0; at <= value.size(); ++at) {
    if (at < value.size() && value[at] != ',') continue;
    if (at + 1 < value.size() && value[at + 1] == ',') {
      ++at;
      continue;
    }
    const std::string part = value.substr(begin, at - begin);
    const std::size_t equals = part.find('=');
    if (equals != part.npos)
      members[part.substr(0, equals)] = part.substr(equals + 1);
    else if (begin == 0)
      members[""] = part;  // "virtio-net-pci,..."
    begin = at + 1;
  }
  return members;
}

struct Taken {
  std::set<std::string> ids;
  std::set<std::string> properties;  // "virtio-net-pci.mq"
};

Taken taken_by(const std::vector<Arg>& args) {
  Taken taken;
  for (const Arg& arg : args) {
    const auto members = members_of(arg.value);
    const auto member = [&](const char* key) {
      const auto found = members.find(key);
      return found == members.end() ? std::string() : found->second;
    };
    for (const char* key : {"id", "node-name"})
      if (const std::string id = member(key); !id.empty()) taken.ids.insert(id);
    const std::string driver = arg.option == "-device" ? member(members.contains("driver") ? "driver" : "") : "";
    for (const auto& [key, ignored] : members)
      if (!driver.empty()) taken.properties.insert(driver + "." + key);
    if (arg.option == "-global") taken.properties.insert(member("driver") + "." + member("property"));
  }
  return taken;
}

// What of this option's value is the plan's own; "": nothing.
std::string own_thing(const std::string& option, const std::string& value, const Taken& taken) {
  const auto members = members_of(value);
  const auto member = [&](const char* key) {
    const auto found = members.find(key);
    return found == members.end() ? std::string() : found->second;
  };
  if (option == "global") {
    const std::string property =
        members.contains("property") ? member("driver") + "." + member("property") : value.substr(0, value.find('='));
    return taken.properties.contains(property) ? property : "";
  }
  for (const char* key : {"id", "node-name"})
    if (const std::string id = member(key); !id.empty() && taken.ids.contains(id)) return id;
  // a monitor or port of the user's on a line of vmrun's
  std::string line = member("chardev");
  if (option == "qmp" || option == "monitor" || option == "qmp-pretty")
    line = value.starts_with("chardev:") ? value.substr(8) : "";
  if (option == "mon" && line.empty()) line = member("");
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
