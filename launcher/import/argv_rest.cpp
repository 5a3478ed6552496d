// The end of a command line's import: the order of boot, and what goes to extra_args.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/import/argv.hpp"
#include "launcher/spec/qemu_options.hpp"

namespace launcher::inline import {

namespace {

// "order=cd": disks, drives and cards by their letters, where no device has an index
std::vector<std::string> tables_of(std::string_view letters) {
  std::vector<std::string> tables;
  for (const char letter : letters) {
    const char* table = letter == 'c'                    ? "disk"
                        : letter == 'd'                  ? "cdrom"
                        : letter >= 'n' && letter <= 'p' ? "net"
                                                         : nullptr;
    if (table != nullptr && std::ranges::find(tables, table) == tables.end()) tables.emplace_back(table);
  }
  return tables;
}

void boot_order(ArgvWalk& walk) {
  ArgvOption* boot = walk.find("boot");
  std::vector<std::string> tables;
  std::ranges::stable_sort(walk.boots);
  for (const auto& [index, table, handle] : walk.boots)
    if (std::ranges::find(tables, table) == tables.end()) tables.push_back(table);
  const auto first = std::ranges::find_if(walk.boots, [](const auto& one) { return std::get<1>(one) == "disk"; });
  if (first != walk.boots.end() && std::get<2>(*first) != "disk[0]") {
    walk.missing("-device,bootindex", Verb::changed,
                 "the disk that the guest boots from stands first: with virtio-blk it is /dev/vda now");
    walk.spec.move_first(std::get<2>(*first));
  }
  if (boot != nullptr && tables.empty()) tables = tables_of(boot->get("order"));
  if (boot != nullptr) {
    for (const char* key : {"order", "strict"}) boot->kept(key, "boot.order");
    boot->tell("once", Verb::changed, "boot.order at every start; a disk that is empty yet is passed over");
  }
  if (tables.empty() || tables == std::vector<std::string>{"disk", "cdrom"} ||
      tables == std::vector<std::string>{"disk"})
    return;
  walk.spec.set("boot", "order", toml_texts(tables));
}

// Options that nothing of vmrun's answers to, and that need nothing of the board.
constexpr std::string_view passed_on[] = {"acpitable", "d",         "D",          "fw_cfg", "gdb",    "global",
                                          "icount",    "no-reboot", "option-rom", "s",      "smbios", "trace"};

void pass_on(ArgvWalk& walk, ArgvOption& option) {
  const QemuOption* known = find_qemu_option(option.name);
  if (known != nullptr && *known->instead != '\0')
    return option.tell_rest(Verb::dropped, std::string("vmrun decides this itself: ") + known->instead);
  if (std::ranges::find(passed_on, option.name) == std::end(passed_on)) return;
  if (known->takes_value && option.value.empty()) return option.tell_rest(Verb::dropped, "no value stands behind it");
  if (const OwnValue own = own_value(option.name, option.value); !own.what.empty())
    return option.tell_rest(Verb::dropped, fmt::format("{} is what vmrun decides itself: {}", own.what, own.instead));
  walk.spec.extra("-" + option.name);
  if (known->takes_value) walk.spec.extra(option.value);
  option.tell_rest(Verb::kept, "extra_args; what it needs of files must be open to QEMU's user");
}

}  // namespace

namespace {

// Proxmox has its board's controllers and bridges there, which vmrun makes itself; another file's sections may be anything.
void read_configs(ArgvWalk& walk) {
  for (ArgvOption* file : walk.every("readconfig")) {
    const bool proxmox = file->value.find("/qemu-server/") != file->value.npos;
    file->tell("", proxmox ? Verb::changed : Verb::refused,
               proxmox ? "vmrun makes the controllers and bridges that its devices need"
                       : "what stands in that file is not read: write its sections as options here");
  }
}

}  // namespace

void argv_rest(ArgvWalk& walk) {
  read_configs(walk);
  boot_order(walk);
  for (ArgvOption& option : walk.all) {
    const bool listed = find_argv_row(option.name, option.kind(), option.members.front().first) != nullptr;
    if (!option.told() && !listed) pass_on(walk, option);
  }
}

}  // namespace launcher::import
