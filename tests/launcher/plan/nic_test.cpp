// Network cards and vsock: what this host or QEMU cannot do is refused by its key; what is handed over is opened once; and
// what only one VM may have is claimed.
#include "launcher/devices/nic.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "launcher/plan/plan.hpp"
#include "launcher/text/render_problem.hpp"
#include "tests/fakes/temp_dir.hpp"
#include "tests/launcher/plan/spec_of.hpp"
#include "topology/read_host.hpp"

namespace {

using namespace launcher;
namespace fs = std::filesystem;

// A VM with these tables, on a host that has everything; a test takes something away.
struct Case {
  Spec spec;
  topology::HostTopology host;
  topology::Reservations taken = {};
  QemuFeatures qemu;
  Facts facts;

  explicit Case(const std::string& tables) {
    spec = spec_of("name = \"db\"\n[cpu]\ncount = 4\n[memory]\nsize = \"1G\"\npage = \"4K\"\n" + tables);
    host = topology::read_host_argument((fs::path(VMRUN_TESTS) / "hosts" / "rocky-2s.json").string()).value();
    qemu = features_from_json(fakes::read_file(fs::path(VMRUN_TESTS) / "qemu" / "10.0.json")).value();
    facts = assumed_facts(spec, host);
  }
  Nic::Facts& nic(std::size_t index = 0) { return std::get<Nic::Facts>(facts.devices.at(index)); }
  LaunchPlan plan() const {
    auto made = make_plan(spec, host, {}, taken, qemu, facts);
    REQUIRE_MESSAGE(made.has_value(), (made ? "" : render(made.error(), nullptr, false)));
    return *made;
  }
  std::string problems() const {
    const auto made = make_plan(spec, host, {}, taken, qemu, facts);
    return made ? "none" : render(made.error(), nullptr, false);
  }
};

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string value_of(const LaunchPlan& plan, const std::string& option, const std::string& with) {
  for (const Arg& arg : plan.args)
    if (arg.option == option && has(arg.value, with)) return arg.value;
  return "";
}

template <class S>
const S* step_of(const LaunchPlan& plan) {
  for (const PlannedStep& planned : plan.steps)
    if (const S* step = std::get_if<S>(&planned.step)) return step;
  return nullptr;
}

}  // namespace

TEST_CASE("what a card needs of the host is refused by its key where it is not there") {
  {
    Case one("[[net]]\nmode = \"passt\"\n");
    one.nic().passt.clear();
    CHECK(has(one.problems(), "error: net[0].mode: \"passt\", but this host has no passt"));
  }
  {
    Case one("[[net]]\nover = \"eth0\"\nmtu = 9000\n");
    one.nic().over_is_port = true;
    one.nic().link_mtu = 1500;
    one.facts.root = false;
    const std::string text = one.problems();
    CHECK(has(text, "error: net[0].over: 'eth0' is a port of a bridge or bond"));
    CHECK(has(text, "error: net[0].over: making a macvtap needs root"));
    CHECK(has(text, "error: net[0].mtu: 9000, but eth0 passes at most 1500 bytes"));
  }
  {
    Case one("[[net]]\nsocket = \"/run/a.sock\"\n");
    one.nic().socket_open_to_all = false;
    one.nic().socket_uid = 7;
    CHECK(has(one.problems(), "error: net[0].socket: '/run/a.sock' is uid 7's alone"));
    one.nic().socket_uid = uid_of("db");
    CHECK(one.problems() == "none");
    one.nic().socket_misfit = "there is no socket '/s'";
    CHECK(has(one.problems(), "error: net[0].socket: there is no socket '/s'; wanted the socket on which"));
  }
  {
    Case one("[[net]]\nbridge = \"br0\"\npoll_us = 50\n");
    CHECK(has(value_of(one.plan(), "-netdev", "tap"), ",poll-us=50"));
    one.nic().vhost_available = false;
    CHECK(has(one.problems(), "error: net[0].poll_us: it is the vhost worker that polls"));
  }
  {
    Case one("[[net]]\nbridge = \"br0\"\nrss = true\nhash = true\n");
    const std::string text = one.problems();
    CHECK(has(text, "error: net[0].rss: true, but kernel vhost serves this card"));
    CHECK(has(text, "error: net[0].hash: true, but kernel vhost serves this card"));
    one.nic().vhost_available = false;
    CHECK(has(value_of(one.plan(), "-device", "virtio-net"), ",rss=on,hash=on"));
    one.qemu.known.erase("virtio-net-pci.rss");
    CHECK(has(one.problems(), "error: net[0].rss: QEMU "));
  }
  {
    Case one("[vsock]\n");
    CHECK(one.plan().vhost_workers == 1);
    for (DeviceFacts& facts : one.facts.devices)
      if (auto* vsock = std::get_if<Vsock::Facts>(&facts)) vsock->available = false;
    CHECK(has(one.problems(), "error: vsock.cid: /dev/vhost-vsock cannot be opened"));
  }
}

TEST_CASE("a port of the host that needs rights is refused, as this host's kernel draws the line") {
  Case one("[[net]]\nmode = \"user\"\nforward = [\"tcp:80:80\"]\n");
  CHECK(has(one.problems(), "error: net[0].forward[0]: port 80 of the host needs rights"));
  one.nic().first_free_port = 80;
  CHECK(has(value_of(one.plan(), "-netdev", "user"), ",hostfwd=tcp::80-:80"));
}

TEST_CASE("passt gets its end of the pair, QEMU's user and CPUs; QEMU gets the other end") {
  const Case one("[[net]]\nmode = \"passt\"\nforward = [\"udp:127.0.0.1:5353:53\"]\n");
  const LaunchPlan plan = one.plan();
  const Pair* pair = step_of<Pair>(plan);
  const StartHelper* passt = step_of<StartHelper>(plan);
  REQUIRE(pair);
  REQUIRE(passt);
  CHECK(value_of(plan, "-netdev", "stream") ==
        "stream,id=net0-host,server=off,addr.type=fd,addr.str=" + std::to_string(pair->fd));
  CHECK(passt->fds == std::vector<HandedFd>{{3, pair->other}});
  CHECK(passt->child.uid == plan.uid);
  CHECK(passt->child.affinity == plan.placement.emulator);
  CHECK(passt->child.argv == std::vector<std::string>{"/usr/bin/passt", "--foreground", "--fd", "3", "--no-map-gw",
                                                      "-u", "127.0.0.1/5353:53"});
}

TEST_CASE("the guest's memory is shared where another process serves its card") {
  for (const char* card :
       {"socket = \"/run/a.sock\"", "mode = \"vhost-user\"\nserver = true", "device = \"/dev/vhost-vdpa-0\""})
    CHECK(has(value_of(Case("[[net]]\n" + std::string(card) + "\n").plan(), "-object", "ram0"), "\"share\":true"));
  const LaunchPlan tap = Case("[[net]]\nbridge = \"br0\"\n").plan();
  CHECK(!has(value_of(tap, "-object", "ram0"), "share"));
}

TEST_CASE("CIDs, ports, passthru interfaces, sockets and vDPA devices belong to one VM") {
  const Case one(
      "[[net]]\nmode = \"user\"\nforward = [\"tcp:2222:22\"]\n[[net]]\nover = \"eth0\"\nmacvtap = \"passthru\"\n"
      "[[net]]\nsocket = \"/run/a.sock\"\n[[net]]\ndevice = \"/dev/vhost-vdpa-0\"\n[vsock]\ncid = 77\n");
  const auto things = one.plan().reservation.things;
  for (const char* thing : {"TCP port 2222", "interface eth0", "vhost-user socket /run/a.sock",
                            "vDPA device /dev/vhost-vdpa-0", "vsock CID 77"}) {
    INFO(std::string(thing));
    CHECK(std::find(things.begin(), things.end(), thing) != things.end());
    Case other = one;
    other.taken.vms.push_back({"other", {}, {}, {thing}});
    CHECK(has(other.problems(), std::string(thing) + " belongs to VM other"));
  }
}

TEST_CASE("a port of a bridge in a VLAN of its own, where the bridge tells VLANs apart") {
  Case one("[[net]]\nbridge = \"br0\"\nvlan = 100\n");
  const LaunchPlan plan = one.plan();
  const TagPort* tag = step_of<TagPort>(plan);
  REQUIRE(tag != nullptr);
  CHECK(*tag == TagPort{step_of<MakeTap>(plan)->name, "br0", 100});
  CHECK(
      has(to_text(plan, one.host, false), "into VLAN 100, and nothing else pass\n      undo: goes with the interface"));
  one.nic().bridge_filters = false;
  CHECK(has(one.problems(), "net[0].vlan: 100, but bridge br0 does not tell VLANs apart (vlan_filtering is off)"));
  CHECK(has(one.problems(), "help: run `ip link set br0 type bridge vlan_filtering 1`"));
}

TEST_CASE("a vhost-user process that starts again is found again, by what this QEMU knows") {
  const auto chardev = [](const std::string& version, bool found_by_all) {
    Case one("[[net]]\nsocket = \"/run/sw/a.sock\"\n");
    one.qemu = features_from_json(fakes::read_file(fs::path(VMRUN_TESTS) / "qemu" / (version + ".json"))).value();
    one.nic().socket_found_by_all = found_by_all;
    const LaunchPlan plan = one.plan();
    const HoldPath& held = *step_of<HoldPath>(plan);
    std::string option = value_of(plan, "-chardev", "net0-peer");
    const std::string fd = fmt::format("/fd/{}", held.fd);
    REQUIRE(has(option, fd));
    option.replace(option.find(fd), fd.size(), "/fd/N");
    return option + " of " + held.path +
           (has(to_text(plan, one.host, false), "the guest stays cut off") ? ", told" : "");
  };
  const std::string again = "socket,id=net0-peer,path=/proc/self/fd/N/a.sock,";
  CHECK(chardev("7.2", true) == again + "reconnect=1 of /run/sw");
  CHECK(chardev("10.0", true) == again + "reconnect-ms=1000 of /run/sw");
  CHECK(chardev("11.1", true) == again + "reconnect-ms=1000 of /run/sw");
  CHECK(chardev("10.0", false) == "socket,id=net0-peer,path=/proc/self/fd/N of /run/sw/a.sock, told");
}
