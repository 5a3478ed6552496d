// The generator's keys, and what it becomes on the command line. The rule: its source is opened by us, not by QEMU.
#include "launcher/devices/rng.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "launcher/devices/device_context.hpp"
#include "launcher/facts/path_look.hpp"
#include "launcher/text/printable.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

Rng Rng::read(TableReader& table) {
  Rng rng;
  if (!table.is_text("source", "builtin")) rng.source = table.path("source", false);
  if (const topology::Bytes rate = table.size("rate", {0}, {1}, topology::gib(1)); rate.count != 0)
    rng.per_second = rate;
  return rng;
}

Rng::Facts look_at(const Rng& rng) {
  if (rng.source.empty()) return {};
  struct stat info {};
  constexpr unsigned memory = 1, random = 8, urandom = 9;  // Documentation/admin-guide/devices.txt
  if (stat(rng.source.c_str(), &info) == 0 && S_ISCHR(info.st_mode) && major(info.st_rdev) == memory &&
      minor(info.st_rdev) != random && minor(info.st_rdev) != urandom)
    return {fmt::format("'{}' gives nothing random", printable(rng.source))};
  return {misfit(rng.source, {S_IFREG, S_IFCHR})};
}
Rng::Facts assumed(const Rng&) { return {}; }
DeviceNeeds needs(const Rng&, const Rng::Facts&, unsigned) { return {}; }

void plan_device(const Rng& rng, const Rng::Facts& facts, DeviceContext& context) {
  if (!facts.misfit.empty())
    context.problem("source", facts.misfit + "; wanted a device such as /dev/hwrng, or a file, to draw from",
                    "remove source: QEMU's own generator draws from the host's getrandom(2)");
  if (rng.source.empty()) {
    context.args.add("-object", Opts("rng-builtin").set("id", "rng0-source"), "drawn from the host's getrandom(2)",
                     "default");
  } else {
    const int fd = context.fds.take("randomness");
    context.steps.push_back(
        {OpenFile{rng.source, false, false, fd}, "QEMU gets the open file, not the path", context.origin("source")});
    context.args.add("-add-fd", Opts().set("fd", fd).set("set", fd).set("opaque", rng.source), "the open source",
                     context.origin("source"));
    context.args.add("-object",
                     Opts("rng-random").set("id", "rng0-source").set("filename", fmt::format("/dev/fdset/{}", fd)),
                     "drawn from it", context.origin("source"));
  }
  Opts device("virtio-rng-pci");
  device.set("id", "rng0").set("rng", "rng0-source");
  set_address(device, Single::rng);
  if (rng.per_second) device.set("max-bytes", rng.per_second->count).set("period", 1000);
  context.args.add("-device", device, rng.per_second ? "randomness, so much in a second" : "randomness for the guest",
                   rng.per_second ? context.origin("rate") : "spec rng");
}

}  // namespace launcher::devices
