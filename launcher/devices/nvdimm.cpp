// An NVDIMM's keys, and what it becomes on the command line. The rule: QEMU maps the file by its path (it takes no fd for
// it), so the file is given to QEMU's user while the VM lives.
#include "launcher/devices/nvdimm.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <boost/json.hpp>

#include "launcher/devices/device_context.hpp"
#include "launcher/facts/in_use.hpp"
#include "launcher/facts/path_look.hpp"
#include "launcher/text/printable.hpp"
#include "launcher/text/toml_reader.hpp"
#include "topology/sysfs.hpp"

namespace launcher::inline devices {

namespace {

constexpr topology::Bytes least_label = {128 * 1024};  // MIN_NAMESPACE_LABEL_SIZE in QEMU
constexpr std::uint64_t file_align = 2 * 1024 * 1024;  // the guest maps it in 2M pages

topology::Bytes align_of(const Nvdimm& nvdimm, const Nvdimm::Facts& facts) {
  if (nvdimm.align) return *nvdimm.align;
  return facts.align.count != 0 ? facts.align : topology::Bytes{file_align};
}

topology::Bytes size_of(const Nvdimm& nvdimm, const Nvdimm::Facts& facts) { return nvdimm.size.value_or(facts.size); }

void check_file(const Nvdimm& nvdimm, const Nvdimm::Facts& facts, const DeviceContext& context) {
  if (!facts.misfit.empty()) {
    context.problem("path", facts.misfit + "; wanted a regular file or a devdax device",
                    "make one with `truncate -s 4G FILE`, or check the path and its permissions");
    return;
  }
  if (!facts.used_by_host.empty())
    context.problem("path",
                    fmt::format("'{}' is in use by this host: {}; wanted one that only this VM writes to",
                                printable(nvdimm.path), facts.used_by_host),
                    "have the host let go of it (swapoff, losetup -d), or set read_only = true");
  const topology::Bytes size = size_of(nvdimm, facts), align = align_of(nvdimm, facts);
  if (size > facts.size)
    context.problem(
        "size",
        fmt::format("{}, but '{}' has {}; wanted at most that", to_string(size), nvdimm.path, to_string(facts.size)),
        "remove size, or make the file larger");
  else if (size.count == 0 || size.count % align.count != 0)
    context.problem(nvdimm.size ? "size" : "path",
                    fmt::format("{} of '{}' are no multiple of the alignment, {}; wanted whole blocks", to_string(size),
                                nvdimm.path, to_string(align)),
                    fmt::format("set size to a multiple of {}", to_string(align)));
  // what the labels leave, rounded down, has to be something (hw/mem/nvdimm.c)
  const std::uint64_t labels = nvdimm.label_size.count;
  if (labels != 0 && size.count != 0 && size.count % align.count == 0 && size.count < labels + align.count) {
    const std::uint64_t least = (labels + 2 * align.count - 1) / align.count * align.count;
    context.problem("label_size",
                    fmt::format("{} of labels and one block of {} do not fit into the {} of '{}'; wanted at least {}",
                                to_string(nvdimm.label_size), to_string(align), to_string(size), printable(nvdimm.path),
                                to_string(topology::Bytes{least})),
                    "make the file (and size) larger, or remove label_size");
  }
  if (facts.align.count != 0 && align.count % facts.align.count != 0)
    context.problem("align",
                    fmt::format("{}, but '{}' is mapped in blocks of {}; wanted a multiple of that", to_string(align),
                                nvdimm.path, to_string(facts.align)),
                    "remove align");
}

}  // namespace

Nvdimm Nvdimm::read(TableReader& table) {
  Nvdimm nvdimm;
  nvdimm.path = table.path("path", true);
  if (const auto size = table.size("size", {0}, topology::mib(2), topology::gib(1u << 20)); size.count != 0)
    nvdimm.size = size;
  nvdimm.align = table.size_or_auto("align", {topology::kib(4), topology::mib(2), topology::gib(1)});
  nvdimm.label_size = table.size("label_size", {0}, {0}, topology::gib(1));
  nvdimm.read_only = table.flag("read_only", false);
  nvdimm.pmem = table.flag("pmem", false);
  if (nvdimm.label_size.count != 0 && nvdimm.label_size < least_label)
    table.problem(
        "label_size",
        fmt::format("{}; wanted 0 (no labels) or at least {}", to_string(nvdimm.label_size), to_string(least_label)),
        "set label_size = \"128K\": guests then divide it into namespaces");
  return nvdimm;
}

Nvdimm::Facts look_at(const Nvdimm& nvdimm) {
  Nvdimm::Facts facts;
  struct stat info {};
  facts.misfit = misfit(nvdimm.path, {S_IFREG, S_IFCHR}, nvdimm.read_only ? R_OK : R_OK | W_OK);
  if (stat(nvdimm.path.c_str(), &info) < 0) return facts;
  facts.is_device = S_ISCHR(info.st_mode);
  facts.id = file_id(info);
  if (facts.misfit.empty() && !facts.is_device) {
    facts.locked_by = locked_by(nvdimm.path, !nvdimm.read_only);
    if (!nvdimm.read_only) facts.used_by_host = use_by_host(info);
  }
  facts.uid = info.st_uid;
  facts.gid = info.st_gid;
  facts.mode = info.st_mode & 07777u;
  facts.size = {static_cast<std::uint64_t>(info.st_size)};
  const topology::Sysfs sysfs;
  if (facts.is_device) {
    const std::string device = fmt::format("/sys/dev/char/{}:{}", major(info.st_rdev), minor(info.st_rdev));
    facts.size = {sysfs.read_number(device + "/size").value_or(0)};
    if (facts.misfit.empty() && facts.size.count == 0)
      facts.misfit = fmt::format("'{}' is a character device other than devdax", printable(nvdimm.path));
    facts.align = {sysfs.read_number(device + "/align").value_or(file_align)};
    facts.node = sysfs.node_of(device);
  } else {
    facts.node = sysfs.node_of(fmt::format("/sys/dev/block/{}:{}", major(info.st_dev), minor(info.st_dev)));
  }
  return facts;
}

Nvdimm::Facts assumed(const Nvdimm& nvdimm) {
  Nvdimm::Facts facts;
  facts.is_device = nvdimm.path.starts_with("/dev/dax");
  facts.size = nvdimm.size.value_or(topology::gib(4));
  if (facts.is_device) facts.align = topology::mib(2);
  facts.mode = 0644;
  return facts;
}

DeviceNeeds needs(const Nvdimm& nvdimm, const Nvdimm::Facts& facts, unsigned) {
  return {.node = facts.node, .machine = {{"nvdimm", true}}, .memory_slots = 1, .more_memory = size_of(nvdimm, facts)};
}

void plan_device(const Nvdimm& nvdimm, const Nvdimm::Facts& facts, DeviceContext& context) {
  check_file(nvdimm, facts, context);
  if (!context.qemu.has("nvdimm"))
    context.problem("path", "QEMU " + context.qemu.version + " has no nvdimm; wanted one that has",
                    "remove [[nvdimm]], or set another qemu in /etc/vmrun/host.toml");
  constexpr unsigned others_may_read = 04;
  claim_image(context, nvdimm.path, facts.id.empty() ? "NVDIMM " + nvdimm.path : facts.id, {}, nvdimm.read_only,
              facts.locked_by);
  if (nvdimm.read_only && context.root && context.uid != facts.uid && (facts.mode & others_may_read) == 0)
    context.problem("path",  // it cannot be given away: several VMs may read it at once
                    fmt::format("QEMU runs as uid {}, which may not read '{}'; wanted a file that others may read",
                                context.uid, nvdimm.path),
                    "chmod o+r it, or set user in /etc/vmrun/host.toml to its owner");
  if (!nvdimm.read_only && context.root && context.uid != facts.uid)
    context.steps.push_back({GiveFile{nvdimm.path, context.uid, context.uid, facts.uid, facts.gid},
                             "QEMU opens it again, as its own user", context.origin("path")});
  const std::string id = fmt::format("nvdimm{}", context.index);
  const int fd = context.fds.take(id);
  context.steps.push_back(
      {HoldPath{nvdimm.path, fd}, "so that nothing on the way to it must be open to QEMU", context.origin("path")});
  boost::json::object back{{"qom-type", "memory-backend-file"},
                           {"id", id + "-file"},
                           {"mem-path", fmt::format("/proc/self/fd/{}", fd)},
                           {"size", size_of(nvdimm, facts).count},
                           {"align", align_of(nvdimm, facts).count},
                           {"share", true}};
  if (nvdimm.read_only) back["readonly"] = true;
  if (nvdimm.pmem) {
    if (!context.qemu.has("memory-backend-file.pmem"))
      context.problem("pmem", "true, but this QEMU was built without libpmem; wanted one that has it", "remove pmem");
    back["pmem"] = true;
  }
  context.args.add("-object", back, facts.is_device ? "the device's memory, as it is" : "the file is what persists",
                   context.origin("path"));
  Opts device("nvdimm");
  device.set("id", id).set("memdev", id + "-file");
  if (nvdimm.label_size.count != 0) device.set("label-size", nvdimm.label_size.count);
  if (nvdimm.read_only) device.set("unarmed", true);
  context.args.add("-device", device, "persistent memory for the guest", "guide 001");
}

}  // namespace launcher::devices
