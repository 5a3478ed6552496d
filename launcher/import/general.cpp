// Name, identity, power and crash: what a domain says beside its devices, CPUs and memory.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "launcher/import/walk.hpp"
#include "launcher/spec/qemu_options.hpp"
#include "launcher/text/problem.hpp"

namespace launcher::inline import {

namespace {

void accel_of(Walk& walk) {
  const Leaf type = walk.at("@type");
  if (type.is("kvm")) {
    walk.spec.text("", "accel", "kvm");
    type.kept("accel");
  } else if (type.is("qemu")) {
    walk.spec.text("", "accel", "tcg");
    type.kept("accel = \"tcg\"");
  } else {
    type.tell(Verb::refused, "vmrun starts QEMU, under KVM or TCG; this domain is another hypervisor's");
  }
}

}  // namespace

std::string name_of_vm(std::string_view text) {
  std::string good(text.substr(0, 63));
  for (char& c : good)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '_') c = '-';
  good.erase(0, std::min(good.find_first_not_of("-._"), good.size()));
  return good.empty() ? "imported" : good;
}

void import_name(Walk& walk, const XmlElement& element) {
  accel_of(walk);
  const Leaf name = walk.at(element, "");
  const std::string good = name_of_vm(name.value());
  walk.spec.text("", "name", good);
  if (good == name.value())
    name.kept("name");
  else
    name.tell(Verb::changed, fmt::format("name = \"{}\": letters, digits, '.', '_', '-', at most 63", good));
}

void import_uuid(Walk& walk, const XmlElement& element) {
  const Leaf uuid = walk.at(element, "");
  walk.spec.text("", "uuid", lowered(uuid.value()), "the guest's board keeps it");
  uuid.kept("uuid");
}

void import_notes(Walk& walk, const XmlElement& element) {
  walk.spec.comment(fmt::format("{}: {}", element.name, element.text));
  walk.at(element, "").kept("a comment at the spec's head");
}

void import_metadata(Walk& walk, const XmlElement& element) {
  for (const XmlElement& child : element.children) {
    const bool libosinfo = child.name == "libosinfo:libosinfo";
    if (!libosinfo) {
      walk.tell_all(child, Verb::dropped, "a note of the tool that wrote it, which neither QEMU nor the guest sees");
      continue;
    }
    const XmlElement* os = child.find("libosinfo:os");
    if (os != nullptr && os->attribute("id") != nullptr) walk.spec.comment("guest: " + *os->attribute("id"));
    walk.tell_all(child, Verb::kept, "a comment at the spec's head");
  }
}

void import_pm(Walk& walk, const XmlElement& element) {
  const Leaf memory = walk.at(element, "suspend-to-mem/@enabled"), disk = walk.at(element, "suspend-to-disk/@enabled");
  const bool sleep = !memory.is("no") || !disk.is("no");
  walk.spec.flag("", "sleep", sleep, "S3 and S4, as libvirt offered them");
  const bool alike = memory.is("no") == disk.is("no");
  for (const Leaf& leaf : {memory, disk}) {
    leaf.kept(fmt::format("sleep = {}", sleep));
    if (!alike && leaf.is("no"))
      leaf.tell(Verb::changed, "sleep = true: one key for both S3 and S4, so that what was offered stays");
  }
}

void import_crash(Walk& walk, const XmlElement& element) {
  const Leaf what = walk.at(element, "");
  const bool poweroff = element.name == "on_poweroff", reboot = element.name == "on_reboot";
  if (poweroff || reboot) {
    what.kept_if(what.is(poweroff ? "destroy" : "restart"), "vmrun does the same",
                 poweroff ? "a guest that powers off ends its VM; a unit with Restart=always starts it again"
                          : "a guest that reboots reboots");
    if (reboot && what.is("destroy")) {
      walk.spec.extra("-no-reboot");
      what.tell(Verb::kept, "extra_args: -no-reboot");
    }
    return;
  }
  if (walk.root.find("devices/panic") == nullptr && !what.is("preserve"))
    return what.kept("panic.action = \"none\": without a panic device nobody hears of it, as before");
  if (what.is("preserve")) {
    walk.spec.text("panic", "action", "pause");
    what.kept("panic.action = \"pause\"");
  } else if (what.is("destroy")) {
    walk.spec.text("panic", "action", "exit");
    what.kept("panic.action = \"exit\"");
  } else {
    walk.spec.text("panic", "action", "exit");
    what.tell(what.is("restart") ? Verb::changed : Verb::dropped,
              what.is("restart") ? "panic.action = \"exit\": vmrun fails, and its unit starts the VM again"
                                 : "panic.action = \"exit\", and no dump of the guest's memory is written");
  }
}

void import_genid(Walk& walk, const XmlElement& element) {
  const Leaf guid = walk.at(element, "");
  const bool shaped =
      guid.value().size() == 36 && guid.value().find_first_not_of("0123456789abcdefABCDEF-") == std::string::npos;
  if (shaped) {
    walk.spec.extra("-device");
    walk.spec.extra("vmgenid,guid=" + guid.value());
    guid.kept("extra_args: -device vmgenid");
  } else {
    walk.tell(element, "", Verb::dropped,
              "libvirt makes a new one at each start, by which a guest knows that it is a copy; add -device "
              "vmgenid,guid=auto to extra_args");
  }
}

namespace {

// How many arguments the option has, itself among them, and what became of it.
std::size_t sort_out(Walk& walk, const std::vector<Leaf>& args, std::size_t i) {
  const Leaf& option = args[i];
  std::string_view name = option.value();
  name.remove_prefix(name.starts_with("--") ? 2 : 1);
  const QemuOption* known = find_qemu_option(name);
  const bool has_value =
      i + 1 < args.size() && (known != nullptr ? known->takes_value : !args[i + 1].value().starts_with('-'));
  const std::size_t taken = has_value ? 2 : 1;
  const auto tell = [&](Verb verb, const std::string& words) {
    for (std::size_t k = i; k < i + taken; ++k) args[k].tell(verb, words);
    return taken;
  };
  if (name.find_first_of(" =,") != name.npos)
    return tell(Verb::dropped, "not an option by itself; wanted it and its value apart");
  if (known != nullptr && *known->instead != '\0')
    return tell(Verb::dropped, std::string("vmrun decides this itself: ") + known->instead);
  if (known != nullptr && known->takes_value && !has_value) return tell(Verb::dropped, "no value stands behind it");
  if (const OwnValue own = has_value ? own_value(name, args[i + 1].value()) : OwnValue{}; !own.what.empty())
    return tell(Verb::dropped, fmt::format("{} is what vmrun decides itself: {}", own.what, own.instead));
  for (std::size_t k = i; k < i + taken; ++k) walk.spec.extra(args[k].value());
  return tell(Verb::kept, "extra_args; what it needs of files must be open to QEMU's user");
}

}  // namespace

void import_commandline(Walk& walk, const XmlElement& element) {
  std::vector<Leaf> args;
  for (const XmlElement* arg : element.all("qemu:arg")) args.push_back(walk.at(*arg, "@value"));
  for (std::size_t i = 0; i < args.size();) {
    if (args[i].value().starts_with('-')) {
      i += sort_out(walk, args, i);
    } else {
      args[i].tell(Verb::dropped, "no option stands before it; QEMU took it for a disk's image");
      ++i;
    }
  }
  for (const XmlElement* env : element.all("qemu:env"))
    walk.tell_all(*env, Verb::dropped, "QEMU gets an environment of vmrun's own");
}

}  // namespace launcher::import
