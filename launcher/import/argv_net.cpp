// Network cards of a command line: -netdev with its device, -nic, and the old -net.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/import/argv.hpp"
#include "launcher/text/problem.hpp"

namespace launcher::inline import {

namespace {

struct ArgvNic {
  ArgvWalk& walk;
  ArgvOption& host;    // -netdev, or what stands for it
  ArgvOption* device;  // nullptr: of -nic, which is both
  std::string handle;
  bool tap = false;

  void text(const char* key, std::string_view of, const std::string& value) {
    walk.spec.text(handle, key, value);
    host.kept(of, fmt::format("{}.{}", handle, key));
  }
};

// hostfwd=tcp:127.0.0.1:2222-:22
void forward(ArgvNic& of) {
  for (std::size_t i = 0; i < of.host.members.size(); ++i) {
    const auto [key, value] = of.host.members[i];
    if (!key.starts_with("hostfwd")) continue;
    const std::size_t first = value.find(':'), dash = value.find('-', first == value.npos ? 0 : first);
    if (first == value.npos || dash == value.npos) {
      of.host.tell(key, Verb::dropped, "not PROTOCOL:ADDRESS:PORT-ADDRESS:PORT");
      continue;
    }
    const std::string protocol = first == 0 ? "tcp" : value.substr(0, first),
                      host = value.substr(first + 1, dash - first - 1), guest = value.substr(dash + 1);
    const std::size_t colon = host.rfind(':');
    const std::string address = colon == host.npos ? "" : host.substr(0, colon),
                      port = host.substr(colon == host.npos ? 0 : colon + 1),
                      to = guest.substr(guest.rfind(':') == guest.npos ? 0 : guest.rfind(':') + 1);
    const auto from_port = number_of(port), to_port = number_of(to);
    const bool good = (protocol == "tcp" || protocol == "udp") && from_port && to_port && *from_port > 0 &&
                      *from_port < 65536 && *to_port > 0 && *to_port < 65536;
    if (good)
      of.walk.spec.add_to_list(
          of.handle, "forward",
          fmt::format("{}:{}{}:{}", protocol, address.empty() ? "" : address + ":", *from_port, *to_port));
    of.host.kept_if(good, key, of.handle + ".forward", "no port that vmrun can forward");
  }
}

void tap(ArgvNic& of) {
  const std::string script = of.host.get("script"), name = of.host.get("ifname"), bridge = of.host.get("br");
  const bool own = script == "no" && is_interface_name(name);
  of.tap = true;
  if (is_interface_name(bridge)) {
    of.text("bridge", "br", bridge);
  } else if (own) {
    of.text("tap", "ifname", name);
  } else {
    of.walk.spec.text(of.handle, "mode", "user", "set bridge = \"...\" in its place");
    of.host.tell("type", Verb::dropped,
                 script.empty()
                     ? "which bridge it is is in nobody's words here: mode \"user\" without a way out; set bridge"
                     : fmt::format("which bridge it is says {}: mode \"user\" without a way out; set bridge", script));
    of.tap = false;
  }
  if (of.host.is("type", "bridge") && bridge.empty())
    of.host.tell("type", Verb::changed, "QEMU's helper takes br0; set bridge");
  if (of.tap && of.host.has("vhost")) of.walk.spec.flag(of.handle, "vhost", of.host.on("vhost"));
  of.host.kept_if(of.tap, "vhost", of.handle + ".vhost", "no tap, so no vhost of the kernel");
  of.host.tell("ifname", own ? Verb::kept : Verb::changed,
               own ? of.handle + ".tap" : "vmrun names the tap itself, from the VM's name");
  for (const char* key : {"script", "downscript"})
    of.host.tell(key, of.host.is(key, "no") ? Verb::kept : Verb::changed,
                 "no script is run: the tap joins its bridge at the start");
  for (const char* key : {"fd", "fds", "vhostfd", "vhostfds"})
    of.host.tell(key, Verb::better, "vmrun opens them itself");
}

void host_side(ArgvNic& of) {
  const std::string type = of.host.get("type");
  of.host.kept("type", of.handle);
  of.host.kept("id", of.handle);
  if (type == "tap" || type == "bridge") return tap(of);
  if (type == "user") {
    of.walk.spec.text(of.handle, "mode", "user");
    const bool closed = of.host.on("restrict");
    if (!closed) of.walk.spec.flag(of.handle, "host_loopback", true, "as QEMU's: it leads out, and to the host");
    of.host.kept("restrict", "mode \"user\" leads nowhere by itself");
    return forward(of);
  }
  if (type == "vhost-user") {
    ArgvOption* line = of.walk.by_id("chardev", of.host.get("chardev"));
    const bool server = line != nullptr && line->on("server");
    of.walk.spec.text(of.handle, "mode", "vhost-user");
    if (server) of.walk.spec.flag(of.handle, "server", true);
    if (line != nullptr && !server) of.walk.spec.text(of.handle, "socket", line->get("path"));
    if (line != nullptr)
      line->tell_rest(server ? Verb::changed : Verb::kept,
                      server ? fmt::format("QEMU listens at /run/vmrun/NAME/{}/vhost-user.sock", of.handle)
                             : of.handle + ".socket");
    of.walk.spec.flag("memory", "shared", true, "the other process maps the guest's memory");
    return of.host.kept("chardev", of.handle + ".socket");
  }
  if (type == "vhost-vdpa" && is_file_path(of.host.get("vhostdev"))) {
    of.walk.spec.text(of.handle, "mode", "vdpa");
    return of.text("device", "vhostdev", of.host.get("vhostdev"));
  }
  const bool passt = type == "passt" || type == "stream";
  of.walk.spec.text(of.handle, "mode", passt ? "passt" : "user");
  of.host.tell(
      "type", passt ? Verb::changed : Verb::dropped,
      passt ? "mode = \"passt\": vmrun starts a passt of its own; its forwarded ports are net.forward"
            : fmt::format("vmrun has no such network ('{}'): mode \"user\" without a way out in its place", type));
  if (passt) of.host.tell_rest(Verb::changed, "of the passt that was there; vmrun starts its own");
}

void model_of(ArgvNic& of, ArgvOption& card, const char* key, const std::string& model) {
  const bool virtio = model.starts_with("virtio"), intel = model.starts_with("e1000");
  if (!virtio) of.walk.spec.text(of.handle, "model", "e1000e");
  card.tell(key, virtio || model == "e1000e" ? Verb::kept : Verb::changed,
            virtio || model == "e1000e" ? of.handle + ".model"
            : intel                     ? "model = \"e1000e\": another Intel card, with another driver"
                    : "model = \"e1000e\" in its place, an Intel card that every guest has a driver for");
}

void guest_side(ArgvNic& of) {
  ArgvOption& card = of.device != nullptr ? *of.device : of.host;
  const std::string mac = lowered(card.get(of.device != nullptr ? "mac" : card.has("mac") ? "mac" : "macaddr"));
  if (!mac.empty()) of.walk.spec.text(of.handle, "mac", mac);
  for (const char* key : {"mac", "macaddr"}) card.kept(key, of.handle + ".mac");
  if (const auto mtu = card.number("host_mtu"); mtu && *mtu >= 68 && *mtu <= 65535)
    of.walk.spec.number(of.handle, "mtu", *mtu);
  card.kept("host_mtu", of.handle + ".mtu");
  const auto queues = of.host.number("queues");
  const bool fits = queues && *queues >= 1 && *queues <= of.walk.vcpus;
  const bool virtio = of.walk.spec.find(of.handle, "model") == nullptr;
  if (virtio && of.tap)
    of.walk.spec.number(of.handle, "queues", fits ? *queues : 1,
                        queues ? "" : "QEMU's default; \"auto\" is one for each vCPU");
  const bool kept = fits && virtio && of.tap;
  of.host.tell("queues", kept ? Verb::kept : Verb::changed,
               kept ? of.handle + ".queues" : "queues = 1, as without a tap");
  for (const char* key : {"mq", "vectors"})
    card.tell(key, kept || !queues ? Verb::kept : Verb::changed, of.handle + ".queues");
  if (virtio) of.walk.spec.flag(of.handle, "packed", card.on("packed"));
  card.kept("packed", of.handle + ".packed");
  const bool kernel = of.tap && of.host.on("vhost"),
             user = of.host.is("type", "vhost-user") || of.host.is("type", "vhost-vdpa");
  for (const char* key : {"rss", "hash"}) {
    if (card.on(key) && !kernel) of.walk.spec.flag(of.handle, key, true);
    card.kept_if(!card.on(key) || !kernel, key, fmt::format("{}.{}", of.handle, key), "not with vhost");
  }
  for (const char* key : {"rx_queue_size", "tx_queue_size"}) {
    const bool good = (card.is(key, "256") || card.is(key, "512") || card.is(key, "1024")) &&
                      (user || card.is(key, "256") || key[0] == 'r') && virtio;
    if (good) of.walk.spec.number(of.handle, key, *card.number(key));
    card.kept_if(good, key, fmt::format("{}.{}", of.handle, key),
                 "256, 512 or 1024, and of the transmit ring only with vhost-user: QEMU's own 256");
  }
  if (const auto index = card.number("bootindex")) of.walk.boots.emplace_back(*index, "net", of.handle);
  card.kept("bootindex", "boot.order");
}

void card_of(ArgvWalk& walk, ArgvOption& host, ArgvOption* device) {
  ArgvNic of{walk, host, device, walk.spec.add("net")};
  host_side(of);
  if (device != nullptr) {
    model_of(of, *device, "driver", device->kind());
    device->kept("netdev", of.handle);
  } else if (host.has("model")) {
    model_of(of, host, "model", host.get("model"));
  } else {
    walk.spec.text(of.handle, "model", "e1000e", "QEMU's default on this board");
  }
  guest_side(of);
}

bool is_card(const std::string& kind) {
  constexpr std::string_view others[] = {"e1000",    "e1000e",  "e1000-82545em", "igb",    "rtl8139",
                                         "vmxnet3",  "pcnet",   "ne2k_pci",      "i82551", "i82557b",
                                         "i82559er", "usb-net", "tulip"};
  return kind.starts_with("virtio-net") || std::ranges::find(others, kind) != std::end(others);
}

}  // namespace

void argv_networks(ArgvWalk& walk) {
  bool any = false;
  for (ArgvOption& option : walk.all) {
    if (option.name == "device" && is_card(option.kind())) {
      ArgvOption* host = walk.by_id("netdev", option.get("netdev"));
      if (host != nullptr)
        card_of(walk, *host, &option);
      else
        option.tell_rest(Verb::dropped, "no -netdev of that id: a card without a network; the guest lacks it");
    }
    if (option.name == "nic") {
      option.is("type", "none") ? option.tell_rest(Verb::kept, "no card") : card_of(walk, option, nullptr);
    } else if (option.name == "net" && option.is("type", "none")) {
      option.tell_rest(Verb::kept, "no card");
    } else if (option.name == "net" && option.is("type", "nic")) {
      ArgvOption* host = nullptr;
      for (ArgvOption* one : walk.every("net"))
        if (!one->is("type", "nic") && !one->is("type", "none")) host = one;
      if (host != nullptr) {
        const std::string handle = fmt::format("net[{}]", walk.spec.count("net"));
        if (option.has("model")) host->members.emplace_back("model", option.get("model"));
        if (option.has("macaddr")) host->members.emplace_back("mac", option.get("macaddr"));
        card_of(walk, *host, nullptr);
        option.tell_rest(Verb::kept, handle);
      }
    }
    any = any || option.name == "netdev" || option.name == "nic" || option.name == "net";
  }
  if (any || !walk.defaults) return;
  const std::string handle = walk.spec.add("net");
  walk.spec.text(handle, "model", "e1000e", "QEMU's default card, for there was no -net, -nic or -nodefaults");
  walk.spec.flag(handle, "host_loopback", true, "it leads out, and to the host");
  walk.missing("-nic", Verb::kept, "net[0]: QEMU's default card and network");
}

}  // namespace launcher::import
