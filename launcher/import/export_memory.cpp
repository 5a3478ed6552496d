// What can be plugged, or is beside the guest's own memory: virtio-mem and NVDIMMs, as libvirt's <memory> devices. The rule: sizes are
// those of the plan's own arguments.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/devices/qemu_members.hpp"
#include "launcher/import/export_parts.hpp"
#include "launcher/import/walk.hpp"

namespace launcher::inline import {

namespace {

std::string kibibytes(std::uint64_t bytes) { return std::to_string(bytes >> 10); }

// What stands of it among the plan's objects, by its id.
std::string of_object(const Domain& to, const std::string& id, std::string_view key) {
  for (const Arg& arg : to.plan.args) {
    if (arg.option != "-object") continue;
    const Members members = members_of(arg.value);
    if (member(members, "id") == id) return member(members, key);
  }
  return {};
}

struct Plugged {
  Members device;
  std::uint64_t size = 0;  // of what is behind it
};

std::vector<Plugged> all_of(const Domain& to, std::string_view driver) {
  std::vector<Plugged> all;
  for (const Arg& arg : to.plan.args) {
    if (arg.option != "-device") continue;
    Members members = members_of(arg.value);
    if (members.empty() || members.front().second != driver) continue;
    const std::uint64_t size = number_of(of_object(to, member(members, "memdev"), "size")).value_or(0);
    all.push_back({std::move(members), size});
  }
  return all;
}

constexpr const char* hot = "virtio-mem-pci";

}  // namespace

std::uint64_t plugged_memory(const Domain& to) {
  std::uint64_t sum = 0;
  for (const char* driver : {hot, "nvdimm"})
    for (const Plugged& one : all_of(to, driver)) sum += one.size;
  return sum;
}

void export_max_memory(Domain& to, std::uint64_t board) {
  const std::uint64_t plugged = plugged_memory(to);
  if (plugged == 0) return;
  constexpr std::uint64_t gibi = 1 << 30;  // each is aligned to as much at most
  const std::uint64_t slots = all_of(to, hot).size() + all_of(to, "nvdimm").size();
  to.root.add("maxMemory", kibibytes(board + plugged + slots * gibi))
      .set("slots", std::to_string(slots))
      .set("unit", "KiB");
}

void export_hot_memory(Domain& to, XmlElement& devices) {
  for (const Plugged& one : all_of(to, hot)) {
    const std::uint64_t block = number_of(member(one.device, "block-size")).value_or(2 * mebi);
    XmlElement& element = devices.add("memory").set("model", "virtio-mem");
    XmlElement& target = element.add("target");
    target.add("size", kibibytes(one.size)).set("unit", "KiB");
    target.add("node", member(one.device, "node"));
    target.add("block", kibibytes(block)).set("unit", "KiB");
    target.add("requested", "0").set("unit", "KiB");
  }
  if (to.spec.memory.max)
    to.row("memory.max", Verb::changed,
           "libvirt's virtio-mem: `virsh update-memory-device` in place of `vmrun set NAME memory=SIZE`; nothing is "
           "reserved for it");
}

void export_nvdimm(Domain& to, XmlElement& devices, const Nvdimm& nvdimm, const std::string& id) {
  const std::uint64_t size = number_of(of_object(to, id + "-file", "size")).value_or(0);
  XmlElement& element = devices.add("memory").set("model", "nvdimm").set("access", "shared");
  XmlElement& source = element.add("source");
  source.add("path", nvdimm.path);
  if (const auto align = number_of(of_object(to, id + "-file", "align")); align && *align > 0)
    source.add("alignsize", kibibytes(*align)).set("unit", "KiB");
  if (nvdimm.pmem) source.add("pmem");
  XmlElement& target = element.add("target");
  target.add("size", kibibytes(size)).set("unit", "KiB");
  target.add("node", "0");
  if (nvdimm.label_size.count != 0)
    target.add("label").add("size", kibibytes(nvdimm.label_size.count)).set("unit", "KiB");
  if (nvdimm.read_only) target.add("readonly");
}

}  // namespace launcher::import
