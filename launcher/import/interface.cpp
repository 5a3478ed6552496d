// A network card: where its packets go, and how the guest sees it.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/import/nic_parts.hpp"
#include "launcher/text/problem.hpp"

namespace launcher::inline import {

namespace {

void vhost_user(NicWalk& of) {
  const Leaf path = of.at("source/@path"), mode = of.at("source/@mode");
  of.walk.spec.text(of.handle, "mode", "vhost-user");
  if (mode.is("server")) {
    of.walk.spec.flag(of.handle, "server", true);
    mode.kept(of.key("server"));
    path.tell(Verb::changed, fmt::format("QEMU listens at /run/vmrun/NAME/{}/vhost-user.sock", of.handle));
  } else {
    of.text("socket", path);
    mode.kept(of.key("socket"));
  }
  of.walk.spec.flag("memory", "shared", true, "the other process maps the guest's memory");
  of.at("@type").kept(of.key("mode"));
  of.at("source/@type").kept(of.key("socket"));
}

void ports_of(NicWalk& of) {
  for (const XmlElement* forward : of.nic.all("portForward")) {
    const Leaf proto = of.walk.at(*forward, "@proto"), address = of.walk.at(*forward, "@address"),
               dev = of.walk.at(*forward, "@dev");
    dev.tell(Verb::dropped, "the ports are open on every interface of that address");
    for (const XmlElement* range : forward->all("range")) {
      const Leaf start = of.walk.at(*range, "@start"), end = of.walk.at(*range, "@end"), to = of.walk.at(*range, "@to");
      const auto from = start.number(), last = end.there() ? end.number() : from,
                 guest = to.there() ? to.number() : from;
      const bool good = from && last && guest && *last >= *from && *last < 65536 && *guest + (*last - *from) < 65536 &&
                        !of.walk.at(*range, "@exclude").on() && (proto.is("tcp") || proto.is("udp"));
      const auto ports = [](std::uint64_t first, std::uint64_t count) {
        return count == 0 ? std::to_string(first) : fmt::format("{}-{}", first, first + count);
      };
      if (good) {
        const std::string host = !address.there()                                 ? ""
                                 : address.value().find(':') != std::string::npos ? "[" + address.value() + "]:"
                                                                                  : address.value() + ":";
        of.walk.spec.add_to_list(
            of.handle, "forward",
            fmt::format("{}:{}{}:{}", proto.value(), host, ports(*from, *last - *from), ports(*guest, *last - *from)));
      }
      of.walk.tell_all(*range, good ? Verb::kept : Verb::dropped,
                       good ? of.key("forward") : "not a range of ports that vmrun can forward");
      for (const Leaf& leaf : {proto, address}) leaf.kept(of.key("forward"));
    }
  }
}

// false: there is no such card here.
bool mode_of(NicWalk& of) {
  const Leaf type = of.at("@type");
  SpecText& spec = of.walk.spec;
  if (type.is("network")) {
    network_of(of);
  } else if (type.is("bridge") && is_interface_name(of.at("source/@bridge").value())) {
    of.text("bridge", of.at("source/@bridge"));
    type.kept(of.key("bridge"));
    of.tap = true;
  } else if (type.is("direct") && is_interface_name(of.at("source/@dev").value())) {
    const Leaf mode = of.at("source/@mode");
    of.text("over", of.at("source/@dev"));
    const bool known =
        !mode.there() || mode.is("private") || mode.is("vepa") || mode.is("bridge") || mode.is("passthrough");
    spec.text(of.handle, "macvtap",
              mode.is("passthrough")  ? "passthru"
              : known && mode.there() ? mode.value()
                                      : "vepa");
    mode.tell_default(Verb::kept, of.key("macvtap"));
    type.kept(of.key("over"));
    of.tap = true;
  } else if (type.is("ethernet") && of.at("target/@dev").there() && of.at("target/@managed").is("no")) {
    of.text("tap", of.at("target/@dev"));
    for (const Leaf& leaf : {type, of.at("target/@managed")}) leaf.kept(of.key("tap"));
    of.tap = true;
  } else if (type.is("vhostuser")) {
    vhost_user(of);
  } else if (type.is("vdpa") && is_file_path(of.at("source/@dev").value())) {
    spec.text(of.handle, "mode", "vdpa");
    of.text("device", of.at("source/@dev"));
    type.kept(of.key("mode"));
  } else if (type.is("user")) {
    const Leaf backend = of.at("backend/@type");
    spec.text(of.handle, "mode", backend.is("passt") ? "passt" : "user");
    backend.kept(of.key("mode"));
    type.tell(backend.is("passt") ? Verb::kept : Verb::changed,
              backend.is("passt")
                  ? of.key("mode")
                  : "mode \"user\" leads nowhere by itself: set host_loopback = true, or mode = \"passt\"");
    if (!backend.is("passt"))
      spec.flag(of.handle, "host_loopback", true, "as libvirt's: it leads out, and to the host");
    ports_of(of);
  } else {
    type.tell(Verb::dropped, fmt::format("vmrun has no such network ('{}'): mode \"user\" in its place", type.value()));
    spec.text(of.handle, "mode", "user");
  }
  return true;
}

void rates_of(NicWalk& of) {
  for (const auto& [side, key] : {std::pair("inbound", "receive_limit"), {"outbound", "send_limit"}}) {
    const Leaf average = of.at(fmt::format("bandwidth/{}/@average", side));
    // libvirt hands tc the number as "kbps", which is 1000 bytes a second (virnetdevbandwidth.c, tc(8))
    const std::uint64_t of_group = std::string_view(side) == "inbound" ? of.group_in : of.group_out;
    const std::uint64_t kilobytes = average.there() ? average.number().value_or(0) : of_group, kbit = kilobytes * 8;
    const bool good = of.tap && kbit >= 64 && kbit <= 1'000'000'000;
    if (good)
      of.walk.spec.text(of.handle, key, fmt::format("{}kbit", kbit), fmt::format("{} kbytes a second", kilobytes));
    average.kept_if(good, of.key(key),
                    of.tap ? "from 64 kbit to 1000 Gbit a second only: no limit" : "only of taps: no limit");
    for (const char* other : {"peak", "burst", "floor"})
      of.at(fmt::format("bandwidth/{}/@{}", side, other)).tell(Verb::dropped, "the average holds at every moment");
  }
}

void guest_side(NicWalk& of) {
  SpecText& spec = of.walk.spec;
  const Leaf mac = of.at("mac/@address"), model = of.at("model/@type"), mtu = of.at("mtu/@size"),
             queues = of.at("driver/@queues"), packed = of.at("driver/@packed"), driver = of.at("driver/@name");
  const bool none = mac.there() && mac.value().find_first_not_of("0:") == std::string::npos;
  if (mac.there() && !none) spec.text(of.handle, "mac", lowered(mac.value()));
  mac.tell(none ? Verb::changed : Verb::kept, none ? "no card has this one: from the VM's name" : of.key("mac"));
  // the process or device behind these speaks virtio only, and libvirt takes no other model
  const bool only = of.at("@type").is("vhostuser") || of.at("@type").is("vdpa");
  const bool virtio = model.is("virtio") || model.is("virtio-non-transitional") || (only && !model.there()),
             same = virtio || model.is("e1000e");
  if (!virtio) spec.text(of.handle, "model", "e1000e");
  model.tell_default(same ? Verb::kept : Verb::changed,
                     same ? of.key("model") : "model = \"e1000e\", an Intel card that every guest has a driver for");
  if (const auto size = mtu.number(); size && *size >= 68 && *size <= 65535) spec.number(of.handle, "mtu", *size);
  mtu.kept(of.key("mtu"));
  const auto many = queues.number();
  const bool fits = many && *many >= 1 && *many <= of.walk.vcpus && virtio;
  if (virtio && (fits || !queues.there())) spec.number(of.handle, "queues", fits ? *many : 1);
  queues.tell_default(fits || !queues.there() ? Verb::kept : Verb::changed,
                      fits             ? of.key("queues")
                      : queues.there() ? "queues = \"auto\": at most one for each vCPU"
                                       : of.key("queues") + " = 1, libvirt's default; \"auto\" is one for each vCPU");
  if (virtio) spec.flag(of.handle, "packed", packed.on());
  virtio ? packed.tell_default(Verb::kept, of.key("packed")) : packed.tell(Verb::dropped, "no virtqueue to be packed");
  const bool may = of.tap && virtio;
  if (may && driver.there()) spec.flag(of.handle, "vhost", driver.is("vhost"));
  driver.kept_if(may || driver.is("qemu"), may ? of.key("vhost") : "QEMU, as without it",
                 of.tap ? "of virtio cards only" : "no tap, so no vhost of the kernel");
  const Leaf rss = of.at("driver/@rss"), hash = of.at("driver/@rss_hash_report");
  const bool kernel = of.tap && !driver.is("qemu");
  for (const auto& [leaf, key] : {std::pair(rss, "rss"), {hash, "hash"}}) {
    const bool several = std::string_view(key) != "rss" || (fits && *many > 1);
    const bool good = leaf.on() && !kernel && several;
    if (good) spec.flag(of.handle, key, true);
    leaf.kept_if(good || !leaf.on(), of.key(key), kernel ? "not with vhost" : "of several queues only");
  }
  for (const auto& [way, key] :
       {std::pair("driver/@rx_queue_size", "rx_queue_size"), {"driver/@tx_queue_size", "tx_queue_size"}}) {
    const Leaf leaf = of.at(way);
    const bool user = of.at("@type").is("vhostuser") || of.at("@type").is("vdpa");
    const bool good = (leaf.is("256") || leaf.is("512") || leaf.is("1024")) &&
                      (user || leaf.is("256") || std::string_view(key).starts_with("rx"));
    if (good) spec.number(of.handle, key, *leaf.number());
    leaf.kept_if(good, of.key(key), "256, 512 or 1024, and of the transmit ring only with vhost-user: QEMU's own 256");
  }
}

// A VLAN of a Linux bridge's port, and what the tap lets wait.
void port_of_bridge(NicWalk& of) {
  const Leaf sndbuf = of.at("tune/sndbuf");
  const auto waits = sndbuf.number();
  const bool bounded = of.tap && waits && *waits > 0 && *waits <= (1U << 30);
  if (bounded) of.walk.spec.set(of.handle, "sndbuf", toml_size(*waits));
  sndbuf.kept_if(bounded || waits == 0, of.key("sndbuf"), "only of taps: no limit");
  const XmlElement* vlan = of.nic.find("vlan");
  if (vlan == nullptr && of.group_vlan > 0 && of.group_vlan <= 4094 &&
      of.walk.spec.find(of.handle, "bridge") != nullptr)
    of.walk.spec.number(of.handle, "vlan", of.group_vlan,
                        "of the network's port group; the bridge has to filter by VLAN");
  if (vlan == nullptr) return;
  const auto tags = vlan->all("tag");
  const auto id = tags.size() == 1 ? of.walk.at(*tags.front(), "@id").number() : std::nullopt;
  const bool bridged = of.walk.spec.find(of.handle, "bridge") != nullptr, open = of.nic.find("virtualport") != nullptr;
  if (!id || *id < 1 || *id > 4094 || !bridged || open || of.walk.at(*vlan, "@trunk").on()) return;
  of.walk.spec.number(of.handle, "vlan", *id);
  of.walk.tell_all(*vlan, Verb::kept, of.key("vlan") + ": the bridge has to filter by VLAN");
}

// What Linux names a card after: the slot of the board's own bus, or the bus behind a root port.
void place_of(NicWalk& of, std::size_t index) {
  const Leaf bus = of.at("address/@bus"), slot = of.at("address/@slot");
  const XmlElement* address = of.nic.find("address");
  if (address == nullptr || !of.at("address/@type").is("pci") || !bus.number() || !slot.number()) return;
  const bool function = of.at("address/@function").number().value_or(0) != 0,
             domain = of.at("address/@domain").number().value_or(0) != 0;
  // that board calls slots by numbers of its own
  const bool old = of.walk.at("os/type/@machine").value().find("q35") == std::string::npos;
  if (!old && *bus.number() >= 1 && *bus.number() <= 8 && *slot.number() == 0 && !function && !domain && index < 8) {
    of.walk.spec.number(of.handle, "guest_bus", *bus.number(), fmt::format("enp{}s0, as it was", *bus.number()));
    return of.walk.tell_all(*address, Verb::kept, of.key("guest_bus"));
  }
  const std::string before =
      old ? fmt::format("ens{}", *slot.number()) : fmt::format("enp{}s{}", *bus.number(), *slot.number());
  const std::string after =
      index < 8 ? fmt::format("enp0s{}", 0x10 + index) : fmt::format("enp0s{}f1", 0x10 + index - 8);
  if (before == after) return of.walk.tell_all(*address, Verb::kept, "00:10.0 and on are the PCI places of the cards");
  of.walk.tell_all(
      *address, Verb::changed,
      fmt::format(
          "its PCI place is 00:{:02x}.{}: a Linux guest's {} becomes {}; a guest that finds it by its MAC (netplan "
          "match:, systemd.link) does not notice",
          0x10 + index % 8, index / 8, before, after));
}

}  // namespace

void import_interface(Walk& walk, const XmlElement& nic) {
  NicWalk of{walk, nic};
  if (of.at("@type").is("hostdev")) {
    import_hostdev(walk, nic);
    return;
  }
  const std::size_t index = walk.spec.count("net");
  of.handle = walk.spec.add("net");
  if (!mode_of(of)) return;
  guest_side(of);
  rates_of(of);
  port_of_bridge(of);
  place_of(of, index);
  const Leaf link = of.at("link/@state");
  link.kept_if(link.is("up"), "the link is up", "the link is up from the start");
  const Leaf order = of.at("boot/@order");
  if (const auto number = order.number()) walk.boot_order.emplace_back(*number, of.handle);
  order.kept("boot.order");
}

}  // namespace launcher::import
