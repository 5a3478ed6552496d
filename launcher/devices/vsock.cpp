#include "launcher/devices/vsock.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include "launcher/devices/device_context.hpp"
#include "launcher/devices/identity.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

namespace {

constexpr const char* node = "/dev/vhost-vsock";
constexpr std::int64_t first_cid = 3, last_cid = 0xffff'fffe;  // below: hypervisor, loopback, host; above: any

}  // namespace

Vsock Vsock::read(TableReader& table) {
  Vsock vsock;
  if (const auto cid = table.integer_or_auto("cid", first_cid, last_cid)) vsock.cid = static_cast<std::uint32_t>(*cid);
  return vsock;
}

Vsock::Facts look_at(const Vsock&) { return {.available = access(node, R_OK | W_OK) == 0}; }

Vsock::Facts assumed(const Vsock&) { return {.available = true}; }

// The kernel's worker is like that of a network queue.
DeviceNeeds needs(const Vsock&, const Vsock::Facts&, unsigned) { return {.vhost_workers = 1}; }

// As the CID is one VM's alone; below 1024 only root could listen.
unsigned notify_port(std::uint32_t cid) { return cid < 1024 ? cid + 65536 : cid; }

void plan_device(const Vsock& vsock, const Vsock::Facts& facts, DeviceContext& context) {
  if (!facts.available) {
    context.problem(
        "cid", fmt::format("{} cannot be opened; wanted the vhost_vsock module loaded and the right to open it", node),
        "run `modprobe vhost_vsock`, or remove [vsock]");
    return;
  }
  if (!context.qemu.has("vhost-vsock-pci.vhostfd")) {
    context.problem("cid",
                    fmt::format("QEMU {} has no vhost-vsock-pci that takes an open device", context.qemu.version),
                    "remove [vsock]");
    return;
  }
  const std::uint32_t cid = vsock.cid.value_or(cid_of(context.vm));
  context.claim("cid", fmt::format("vsock CID {}", cid));
  if (!vsock.cid) context.note("cid", fmt::format("{}, derived from the VM's name", cid));
  const int fd = context.fds.take("vsock");
  context.steps.push_back({OpenFile{node, true, false, fd}, "QEMU gets the open device", context.origin("cid")});
  Opts device("vhost-vsock-pci");
  device.set("id", "vsock0");
  set_address(device, Single::vsock);
  device.set("guest-cid", cid).set("vhostfd", fd);
  context.args.add("-device", device, "host and guest reach each other without a network", context.origin("cid"));
  constexpr const char* name = "vmm.notify_socket";
  if (context.notified && context.results.credentials.insert(name).second)
    context.args.add(
        "-smbios",
        Opts()
            .set("type", 11)
            .set("value", fmt::format("io.systemd.credential:{}=vsock-stream:2:{}", name, notify_port(cid))),
        "where the guest's systemd says that it is ready", "spec ready");
}

}  // namespace launcher::devices
