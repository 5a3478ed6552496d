// A drive's key, and what it becomes on the command line.
#include "launcher/devices/cdrom.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include "launcher/devices/device_context.hpp"
#include "launcher/facts/path_look.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

Cdrom Cdrom::read(TableReader& table) { return {table.path("path", false)}; }

Cdrom::Facts look_at(const Cdrom& cdrom) {
  if (cdrom.path.empty()) return {};
  struct stat info {};
  Cdrom::Facts facts;
  facts.misfit = misfit(cdrom.path, {S_IFREG, S_IFBLK});
  if (!facts.misfit.empty() || stat(cdrom.path.c_str(), &info) < 0) return facts;
  facts.is_block = S_ISBLK(info.st_mode);
  facts.id = file_id(info);
  facts.names = other_names(info);
  facts.locked_by = locked_by(cdrom.path, false);
  return facts;
}
Cdrom::Facts assumed(const Cdrom&) { return {}; }
DeviceNeeds needs(const Cdrom& cdrom, const Cdrom::Facts&, unsigned) { return {.boots = !cdrom.path.empty()}; }

void plan_device(const Cdrom& cdrom, const Cdrom::Facts& facts, DeviceContext& context) {
  if (!facts.misfit.empty())
    context.problem("path", facts.misfit + "; wanted an image or a block device that this user may read",
                    "correct the path or its permissions, or remove path: the drive is then empty");
  if (context.results.sata_ports == most_sata_ports)
    context.problems.push_back({context.key,
                                fmt::format("the board has {} SATA ports, and others have them", most_sata_ports),
                                "remove a drive, or give a disk another interface"});
  if (!facts.misfit.empty() || context.results.sata_ports == most_sata_ports) return;
  if (!cdrom.path.empty()) claim_image(context, cdrom.path, facts.id, facts.names, true, facts.locked_by);
  const std::string id = fmt::format("cdrom{}", context.index);
  Opts device("ide-cd");
  device.set("id", id).set("bus", fmt::format("ide.{}", context.results.sata_ports++));
  if (!cdrom.path.empty()) {
    const int fd = context.fds.take(id);
    context.steps.push_back(
        {OpenFile{cdrom.path, false, false, fd}, "QEMU gets the open file, not the path", context.origin("path")});
    context.args.add("-add-fd", Opts().set("fd", fd).set("set", fd).set("opaque", cdrom.path), "the open image",
                     context.origin("path"));
    context.args.add("-blockdev",
                     Opts()
                         .set("driver", facts.is_block ? "host_device" : "file")
                         .set("node-name", id + "-medium")
                         .set("filename", "/dev/fdset/" + std::to_string(fd))
                         .set("read-only", true)
                         .set("auto-read-only", false),
                     "only read", context.origin("path"));
    device.set("drive", id + "-medium");
  }
  if (context.boot_base) device.set("bootindex", *context.boot_base + context.index + 1);
  context.args.add("-device", device, "a drive of the board's own SATA controller", context.origin("path"));
}

}  // namespace launcher::devices
