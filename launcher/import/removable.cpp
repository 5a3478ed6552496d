// CD and DVD drives, and the order in which a domain's devices are booted.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/import/walk.hpp"

namespace launcher::inline import {

void import_cdrom(Walk& walk, const XmlElement& drive) {
  const auto at = [&](const char* way) { return walk.at(drive, way); };
  const Leaf file = at("source/@file"), block = at("source/@dev"), bus = at("target/@bus"), order = at("boot/@order");
  const Leaf& path = file.there() ? file : block;
  if (walk.sata_full())
    return walk.tell_all(drive, Verb::dropped,
                         "the board has six SATA ports, and others have them: the guest lacks it");
  const std::string handle = walk.spec.add("cdrom");
  if (is_file_path(path.value())) {
    walk.spec.text(handle, "path", path.value());
    path.kept(handle + ".path");
  } else if (const XmlElement* source = drive.find("source"); source != nullptr) {
    walk.tell_all(*source, Verb::dropped, "a medium that is no local file: nothing is in the drive");
  }
  const bool same = bus.is("sata") || bus.is("ide");
  bus.tell(same ? Verb::kept : Verb::changed, same ? handle + ", on the board's SATA controller"
                                                   : handle + ", on the board's SATA controller: /dev/sr0 as before");
  if (const auto number = order.number()) walk.boot_order.emplace_back(*number, handle);
  order.kept("boot.order");
  if (at("target/@tray").is("open")) at("target/@tray").tell(Verb::changed, "closed, with what is in it");
  const std::string drive_words = handle + ": `vmrun set NAME cdrom[N]=FILE` changes what is in it";
  for (const char* way : {"@type", "@device", "target/@dev", "driver/@name", "driver/@type", "target/@tray"})
    at(way).kept(drive_words);
  if (const XmlElement* readonly = drive.find("readonly")) walk.tell(*readonly, "", Verb::kept, "only read");
  if (const XmlElement* driver = drive.find("driver"))
    walk.tell_all(*driver, Verb::better, "only read, by QEMU's defaults");
  at("serial").tell(Verb::dropped, "a drive has no serial of its own");
}

namespace {

std::string table_of(const std::string& handle) { return handle.substr(0, handle.find('[')); }

// Of <os><boot dev=.../>, where no device has an order.
std::vector<std::string> tables_of_os(Walk& walk) {
  std::vector<std::string> tables;
  const XmlElement* os = walk.root.find("os");
  if (os == nullptr) return tables;
  for (const XmlElement* boot : os->all("boot")) {
    const Leaf dev = walk.at(*boot, "@dev");
    const char* table = dev.is("hd") ? "disk" : dev.is("cdrom") ? "cdrom" : dev.is("network") ? "net" : nullptr;
    if (table != nullptr && std::ranges::find(tables, table) == tables.end()) tables.emplace_back(table);
  }
  return tables;
}

}  // namespace

// vmrun tries whole tables one after the other, and the disks in the spec's order.
void import_boot_order(Walk& walk) {
  std::ranges::stable_sort(walk.boot_order);
  std::vector<std::string> tables;
  std::string first;
  for (const auto& [order, handle] : walk.boot_order) {
    const std::string table = table_of(handle);
    if (std::ranges::find(tables, table) == tables.end()) tables.push_back(table);
    if (table == "disk" && first.empty()) first = handle;
  }
  if (tables.empty()) tables = tables_of_os(walk);
  if (!first.empty() && first != "disk[0]") {
    walk.spec.move_first(first);
    walk.tell_missing("devices/disk", Verb::changed,
                      "the disk that the guest boots from stands first: with virtio-blk it is /dev/vda now");
  }
  if (tables.empty() || tables == std::vector<std::string>{"disk"} ||
      tables == std::vector<std::string>{"disk", "cdrom"})
    return;
  walk.spec.set("boot", "order", toml_texts(tables));
}

}  // namespace launcher::import
