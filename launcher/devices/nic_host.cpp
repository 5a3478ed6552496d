// The host's half of a network card: the steps that make what its packets pass, and the -netdev that takes their fds. The
// rule: QEMU and its helpers get everything open, and start nothing themselves (-netdev passt would: it is not used).
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <string_view>

#include "launcher/devices/device_context.hpp"
#include "launcher/devices/identity.hpp"
#include "launcher/devices/nic.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::inline devices {

namespace {

std::string joined(const std::vector<int>& fds) { return fmt::format("{}", fmt::join(fds, ":")); }

std::vector<int> take(DeviceContext& context, unsigned queues, const std::string& what) {
  std::vector<int> fds(queues);
  for (int& fd : fds) fd = context.fds.take(what);
  return fds;
}

std::string host_id(const DeviceContext& context) { return fmt::format("net{}-host", context.index); }

// The tap or macvtap itself, and its limits.
void add_tap_steps(const Nic& nic, const Nic::Facts& facts, const NicChoice& choice, const std::vector<int>& taps,
                   DeviceContext& context) {
  const std::string name = tap_of(context.vm, context.index);
  if (nic.mode == Nic::Mode::macvtap)
    context.steps.push_back({MakeMacvtap{name, nic.over, nic.macvtap, choice.mac, choice.mtu, taps},
                             "one queue per virtqueue pair; its address is the guest's", context.origin("over")});
  else if (nic.tap.empty())
    context.steps.push_back(
        {MakeTap{name, nic.bridge, choice.mtu, taps}, "one queue per virtqueue pair", context.origin("bridge")});
  else
    context.steps.push_back({OpenTap{nic.tap, facts.tap_multi_queue, taps}, "the tap given", context.origin("tap")});
  if (nic.vlan)
    context.steps.push_back(
        {TagPort{name, nic.bridge, *nic.vlan}, "the guest neither sees the tag nor leaves it", context.origin("vlan")});
  if (nic.receive_limit != 0 || nic.send_limit != 0)
    context.steps.push_back({LimitRate{name, nic.receive_limit, nic.send_limit},
                             "the kernel shapes what the guest receives and drops what it sends beyond",
                             context.origin(nic.receive_limit != 0 ? "receive_limit" : "send_limit")});
}

void add_tap(const Nic& nic, const Nic::Facts& facts, const NicChoice& choice, DeviceContext& context) {
  const unsigned queues = choice.queues;
  const std::vector<int> taps = take(context, queues, fmt::format("net{} tap", context.index));
  add_tap_steps(nic, facts, choice, taps, context);
  Opts netdev("tap");
  netdev.set("id", host_id(context)).set(queues > 1 ? "fds" : "fd", joined(taps)).set("vhost", choice.vhost);
  if (choice.vhost) {
    const std::vector<int> workers = take(context, queues, fmt::format("net{} vhost", context.index));
    context.steps.push_back({OpenVhost{workers}, "packets move in the kernel, past QEMU",
                             nic.vhost ? context.origin("vhost") : "guide 004"});
    netdev.set(queues > 1 ? "vhostfds" : "vhostfd", joined(workers));
  }
  if (nic.poll_us) netdev.set("poll-us", *nic.poll_us);
  if (nic.sndbuf) netdev.set("sndbuf", nic.sndbuf->count);
  if (nic.poll_us && context.qemu.loses_poll_us())
    context.note("poll_us",
                 fmt::format("has no effect: QEMU {} hands the kernel 1 us in its place", context.qemu.version));
  else if (nic.poll_us > 100u)
    context.note("poll_us", fmt::format("{}: each vhost worker spins so long on its CPU after every packet; beyond 100 "
                                        "the CPU is mostly lost",
                                        *nic.poll_us));
  const char* key = nic.mode == Nic::Mode::macvtap ? "over" : nic.tap.empty() ? "bridge" : "tap";
  context.args.add("-netdev", netdev,
                   fmt::format("{}{}", nic.mode == Nic::Mode::macvtap ? "macvtap" : "tap",
                               choice.vhost ? " with a vhost worker per queue pair" : ", served by QEMU"),
                   context.origin(key));
}

void claim_ports(const Nic& nic, DeviceContext& context) {
  for (std::size_t i = 0; i < nic.forward.size(); ++i) {
    const Forward& one = nic.forward[i];
    for (unsigned port = one.host_port; port < one.host_port + one.count; ++port)
      context.claim(fmt::format("forward[{}]", i), fmt::format("{} port {}{}", one.udp ? "UDP" : "TCP",
                                                               one.address.empty() ? "" : one.address + ":", port));
  }
}

// QEMU's user networking takes every address of the guest's own network for the host's loopback, and has no word against that but
// `restrict`, which leaves the forwarded ports only.
void add_user(const Nic& nic, DeviceContext& context) {
  Opts netdev("user");
  netdev.set("id", host_id(context));
  if (!nic.host_loopback) {
    netdev.set("restrict", true);
    context.note(
        "host_loopback",
        "false: the guest reaches nothing by this card, and is reached by its forwarded ports only, since QEMU's user "
        "networking leads to the host's 127.0.0.1, too; mode = \"passt\" leads out without it");
  }
  for (const Forward& one : nic.forward)
    for (unsigned i = 0; i < one.count; ++i)
      netdev.set("hostfwd", fmt::format("{}:{}:{}-:{}", one.udp ? "udp" : "tcp", one.address, one.host_port + i,
                                        one.guest_port + i));
  context.args.add("-netdev", netdev, "no rights needed; slower than a tap", context.origin("mode"));
}

std::string ports_text(unsigned first, unsigned count) {
  return count == 1 ? std::to_string(first) : fmt::format("{}-{}", first, first + count - 1);
}

// passt ends with its connection, should vmrun not end it first.
void add_passt(const Nic& nic, const Nic::Facts& facts, const NicChoice& choice, DeviceContext& context) {
  const std::string role = fmt::format("passt net{}", context.index);
  const int qemus = context.fds.take(role), its = context.fds.take(role);
  context.steps.push_back({Pair{qemus, its}, "QEMU at one end, passt at the other", context.origin("mode")});
  constexpr int number = 3;
  StartHelper helper;
  helper.role = role;
  helper.child.argv = {facts.passt, "--foreground", "--fd", std::to_string(number)};
  if (!nic.host_loopback) helper.child.argv.emplace_back("--no-map-gw");  // else its gateway is the host's 127.0.0.1
  if (choice.mtu) helper.child.argv.insert(helper.child.argv.end(), {"--mtu", std::to_string(*choice.mtu)});
  for (const Forward& one : nic.forward)
    helper.child.argv.insert(
        helper.child.argv.end(),
        {one.udp ? "-u" : "-t",
         fmt::format("{}{}:{}", one.address.empty() ? "" : one.address + "/", ports_text(one.host_port, one.count),
                     ports_text(one.guest_port, one.count))});
  if (context.root) helper.child.uid = context.uid;
  helper.child.affinity = context.placement.emulator;
  helper.fds = {{number, its}};
  helper.log = fmt::format("{}/helper-passt-net{}.log", context.run_dir, context.index);
  context.steps.push_back(
      {helper, "the guest's connections become this process's, without rights", context.origin("mode")});
  context.args.add(
      "-netdev",
      Opts("stream").set("id", host_id(context)).set("server", false).set("addr.type", "fd").set("addr.str", qemus),
      "a stream socket to passt, which vmrun starts, binds to its CPUs and ends", context.origin("mode"));
}

// A process that starts again makes another socket of that name: QEMU finds it if it may look into the directory.
void add_socket(const Nic& nic, const Nic::Facts& facts, int fd, Opts& chardev, DeviceContext& context) {
  const std::filesystem::path path(nic.socket);
  const char* option = context.qemu.has("chardev.reconnect-ms") ? "reconnect-ms" : "reconnect";
  const bool again = (facts.socket_found_by_all || !context.root) && context.qemu.has(std::string("chardev.") + option);
  context.steps.push_back({HoldPath{again ? path.parent_path().string() : nic.socket, fd},
                           again ? "the vhost-user process listens in it" : "the vhost-user process listens on it",
                           context.origin("socket")});
  chardev.set("path", fmt::format("/proc/self/fd/{}{}", fd, again ? "/" + path.filename().string() : ""));
  if (again)
    chardev.set(option, option == std::string_view("reconnect") ? 1 : 1000);
  else
    context.note("socket",
                 fmt::format("when the process behind it starts again, the guest stays cut off: QEMU's user may not "
                             "look into {} (`chmod o+x` lets it), or use server = true",
                             path.parent_path().string()));
}

// QEMU's user connects to, or listens on, a path that it could not reach: an fd takes it there. (A connected socket itself
// would not do: QEMU passes the guest's memory only over a socket that has a path.)
void add_vhost_user(const Nic& nic, const Nic::Facts& facts, const NicChoice& choice, DeviceContext& context) {
  const std::string peer = fmt::format("net{}-peer", context.index);
  const int fd = context.fds.take(peer);
  Opts chardev("socket");
  chardev.set("id", peer);
  if (nic.server) {
    const std::string directory = fmt::format("{}/net{}", context.run_dir, context.index);
    context.steps.push_back({MakeDirectory{directory, fd}, "QEMU listens in it, and the vhost-user process connects",
                             context.origin("server")});
    chardev.set("path", fmt::format("/proc/self/fd/{}/vhost-user.sock", fd)).set("server", true);
    context.note("server",
                 fmt::format("the VM starts when a vhost-user process has connected to {}/vhost-user.sock", directory));
  } else {
    add_socket(nic, facts, fd, chardev, context);
  }
  context.args.add("-chardev", chardev, "how QEMU and the vhost-user process agree",
                   context.origin(nic.server ? "server" : "socket"));
  Opts netdev("vhost-user");
  netdev.set("id", host_id(context)).set("chardev", peer);
  if (choice.queues > 1) netdev.set("queues", choice.queues);
  context.args.add("-netdev", netdev, "another process moves the packets, in the guest's own memory",
                   context.origin(nic.server ? "server" : "socket"));
}

void add_vdpa(const Nic& nic, const NicChoice& choice, DeviceContext& context) {
  const int fd = context.fds.take(fmt::format("net{} vdpa", context.index));
  context.steps.push_back(
      {OpenFile{nic.device, true, false, fd}, "QEMU gets the open device", context.origin("device")});
  Opts netdev("vhost-vdpa");
  netdev.set("id", host_id(context)).set("vhostfd", fd);
  if (choice.queues > 1) netdev.set("queues", choice.queues);
  context.args.add("-netdev", netdev, "a device moves the packets, in the guest's own memory",
                   context.origin("device"));
}

}  // namespace

void add_host_side(const Nic& nic, const Nic::Facts& facts, const NicChoice& choice, DeviceContext& context) {
  claim_ports(nic, context);
  switch (nic.mode) {
    case Nic::Mode::user:
      return add_user(nic, context);
    case Nic::Mode::tap:
      context.claim("tap", "tap " + (nic.tap.empty() ? tap_of(context.vm, context.index) : nic.tap));
      return add_tap(nic, facts, choice, context);
    case Nic::Mode::macvtap:
      context.claim("over", "tap " + tap_of(context.vm, context.index));
      if (nic.macvtap == "passthru") context.claim("over", "interface " + nic.over);
      return add_tap(nic, facts, choice, context);
    case Nic::Mode::passt:
      return add_passt(nic, facts, choice, context);
    case Nic::Mode::vhost_user:
      context.claim_path("socket", "vhost-user socket " + printable(nic.socket), facts.path_ids);
      return add_vhost_user(nic, facts, choice, context);
    case Nic::Mode::vdpa:
      context.claim_path("device", "vDPA device " + printable(nic.device), facts.path_ids);
      return add_vdpa(nic, choice, context);
  }
}

}  // namespace launcher::devices
