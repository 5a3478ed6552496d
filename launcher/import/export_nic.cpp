// The plan's network cards as libvirt's: where their packets go, and what the guest sees of them.
#include <fmt/format.h>

#include "launcher/import/export_parts.hpp"
#include "launcher/import/walk.hpp"

namespace launcher::inline import {

namespace {

struct NicWriter {
  Domain& to;
  const Nic& nic;
  std::string id, name;  // "net0", "net[0]"

  void row(const char* key, Verb verb, const std::string& words) const {
    to.row(fmt::format("{}.{}", name, key), verb, words);
  }
};

// libvirt 9.0 starts passt itself.
void user_source(const NicWriter& of, XmlElement& element) {
  const Nic& nic = of.nic;
  element.set("type", "user");
  if (nic.mode != Nic::Mode::passt) {
    if (!nic.forward.empty())
      of.row("forward", Verb::dropped, "libvirt forwards ports with passt only: mode = \"passt\" goes along");
    if (!nic.host_loopback)
      of.row("host_loopback", Verb::changed,
             "libvirt's user networking leads out, and to what listens on the host's 127.0.0.1");
    return;
  }
  element.add("backend").set("type", "passt");
  if (nic.host_loopback) of.row("host_loopback", Verb::changed, "passt as libvirt starts it");
  for (const Forward& forward : nic.forward) {
    XmlElement& port = element.add("portForward").set("proto", forward.udp ? "udp" : "tcp");
    if (!forward.address.empty()) port.set("address", forward.address);
    XmlElement& range = port.add("range").set("start", std::to_string(forward.host_port));
    if (forward.count > 1) range.set("end", std::to_string(forward.host_port + forward.count - 1));
    range.set("to", std::to_string(forward.guest_port));
  }
}

void source(const NicWriter& of, XmlElement& element) {
  using enum Nic::Mode;
  const Nic& nic = of.nic;
  if (nic.mode == tap && !nic.bridge.empty()) {
    element.set("type", "bridge").add("source").set("bridge", nic.bridge);
  } else if (nic.mode == tap) {
    element.set("type", "ethernet").add("target").set("dev", nic.tap).set("managed", "no");
  } else if (nic.mode == macvtap) {
    element.set("type", "direct")
        .add("source")
        .set("dev", nic.over)
        .set("mode", nic.macvtap == "passthru" ? "passthrough" : nic.macvtap);
  } else if (nic.mode == vhost_user) {
    element.set("type", "vhostuser")
        .add("source")
        .set("type", "unix")
        .set("path", nic.server ? fmt::format("{}/{}/vhost-user.sock", of.to.plan.run_dir, of.id) : nic.socket)
        .set("mode", nic.server ? "server" : "client");
    if (nic.server) of.row("server", Verb::changed, "the socket's directory has to be made before libvirt starts it");
  } else if (nic.mode == vdpa) {
    element.set("type", "vdpa").add("source").set("dev", nic.device);
  } else {
    user_source(of, element);
  }
  if (!nic.vlan) return;
  element.add("vlan").add("tag").set("id", std::to_string(*nic.vlan));
  of.row("vlan", Verb::changed,
         "libvirt tags a Linux bridge's port from 11.0 on; one before it refuses to start the domain");
}

// libvirt hands tc its kilobytes as "kbps", which are 1000 bytes a second (virnetdevbandwidth.c, tc(8)).
void rates(const NicWriter& of, XmlElement& element) {
  constexpr std::uint64_t bits = 8000;
  if (of.nic.receive_limit + of.nic.send_limit == 0) return;
  XmlElement& both = element.add("bandwidth");
  for (const auto& [side, key, limit] : {std::tuple("inbound", "receive_limit", of.nic.receive_limit),
                                         std::tuple("outbound", "send_limit", of.nic.send_limit)}) {
    if (limit == 0) continue;
    both.add(side).set("average", std::to_string((limit + bits / 2) / bits));
    if (limit % bits != 0) of.row(key, Verb::changed, "in whole kilobytes a second");
  }
}

// The plan's own choice, for the guest sees it: vectors are two for each pair of queues, and two more.
std::uint64_t queues_of(const NicWriter& of) {
  const auto vectors = number_of(of.to.property(of.id, "vectors"));
  return vectors && *vectors > 2 ? (*vectors - 2) / 2 : 1;
}

void guest_side(const NicWriter& of, XmlElement& element) {
  const Nic& nic = of.nic;
  const bool virtio = nic.model == Nic::Model::virtio;
  element.add("model").set("type", virtio ? "virtio" : "e1000e");
  XmlElement driver;
  driver.name = "driver";
  if (nic.vhost) driver.set("name", *nic.vhost ? "vhost" : "qemu");
  if (const std::uint64_t queues = queues_of(of); queues > 1) driver.set("queues", std::to_string(queues));
  if (nic.rx_queue_size) driver.set("rx_queue_size", std::to_string(*nic.rx_queue_size));
  if (nic.tx_queue_size) driver.set("tx_queue_size", std::to_string(*nic.tx_queue_size));
  if (nic.rss) driver.set("rss", "on");
  if (nic.hash) driver.set("rss_hash_report", "on");
  if (virtio) driver.set("packed", of.to.property(of.id, "packed") == "on" ? "on" : "off");
  if (!driver.attributes.empty()) element.children.push_back(std::move(driver));
  const std::string mtu = of.to.property(of.id, "host_mtu");
  if (nic.mtu || !mtu.empty()) element.add("mtu").set("size", nic.mtu ? std::to_string(*nic.mtu) : mtu);
  if (nic.sndbuf) element.add("tune").add("sndbuf", std::to_string(nic.sndbuf->count));
  if (nic.poll_us > 0u) of.row("poll_us", Verb::dropped, "libvirt has no key for it");
}

}  // namespace

void export_nic(DeviceWriter& writer, const Nic& nic) {
  const std::string id = fmt::format("net{}", writer.counts["net"]);
  const NicWriter of{writer.to, nic, id, writer.key("net")};
  XmlElement& element = writer.devices.add("interface");
  source(of, element);
  element.add("mac").set("address", writer.to.property(id, "mac"));
  guest_side(of, element);
  rates(of, element);
  writer.to.boot_order(element, id);
  writer.to.place(element, id);
}

}  // namespace launcher::import
