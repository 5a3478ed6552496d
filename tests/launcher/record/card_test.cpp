// The host's network cards in a lock: which of them a VM's packets leave by, and each planted drift of one.
#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <filesystem>
#include <functional>

#include "launcher/facts/card_settings.hpp"
#include "launcher/record/drift.hpp"
#include "tests/lacks.hpp"
#include "tests/launcher/record/machine.hpp"

namespace fs = std::filesystem;
using launcher::Drift;
using launcher::Grade;
using record_tests::Machine;

namespace {

// A bridge over a bond of two cards, and a card of its own beside it.
struct Networked : Machine {
  Networked() {
    fs::create_directories(dir / "root/sys/bus/pci/devices/0000:81:00.0/net/eno3");
    fs::create_directories(dir / "root/sys/class/net");
    fs::create_directory_symlink("../../bus/pci/devices/0000:81:00.0/net/eno3", dir / "root/sys/class/net/eno3");
    for (const char* card : {"eno1", "eno2", "eno3"}) {
      set(card, "mtu", "1500");
      set(card, "speed", "10000");
      set(card, "duplex", "full");
      set(card, "device/numa_node", "0");
      set(card, "queues/rx-0/rps_cpus", "00000000,00000000");
    }
    set("bond0", "bonding/mode", "802.3ad 4");
    set("bond0", "bonding/xmit_hash_policy", "layer2 0");
    set("br0", "mtu", "1500");
    set("vm-of-others", "mtu", "1500");
    below("br0", "bond0"), below("br0", "vm-of-others"), below("bond0", "eno1"), below("bond0", "eno2");
    step(R"({"make_tap": {"name": "va.0", "bridge": "br0"}})", "net[0].bridge");
  }
  void set(const std::string& link, const std::string& name, const std::string& text) const {
    file("/sys/class/net/" + link + "/" + name, text);
  }
  void below(const std::string& upper, const std::string& lower) const {
    fs::create_directory_symlink("../" + lower, dir / ("root/sys/class/net/" + upper + "/lower_" + lower));
  }
  void step(const std::string& json, const std::string& of) {
    plan["steps"].as_array().push_back({{"step", boost::json::parse(json)}, {"origin", "spec " + of}});
  }
};

}  // namespace

TEST_CASE("a lock has the cards that a VM's packets leave by, and no others") {
  Networked machine;
  const launcher::Values cards = machine.lock().facts.at("cards");
  CHECK(cards.at("speed of net[0]") == "10000 Mb/s, full");
  CHECK(cards.at("MTU of net[0], card 2") == "1500");
  CHECK(cards.at("node of net[0]") == "0");
  CHECK(cards.at("bond of net[0]") == "802.3ad 4, layer2 0");
  CHECK(cards.size() == 7);  // speed, MTU and node of two, and the bond
  machine.step(R"({"make_tap": {"name": "va.1", "bridge": "br0"}})", "net[1].bridge");
  CHECK(machine.lock().facts.at("cards") == cards);  // the same cards, named once
  machine.step(R"({"make_macvtap": {"name": "va.2", "over": "eno3"}})", "net[2].over");
  CHECK(machine.lock().facts.at("cards").size() == cards.size() + 3);
  CHECK(machine.lock().facts.at("cards").at("speed of net[2]") == "10000 Mb/s, full");
}

TEST_CASE("a tap of somebody's is followed to its bridge, a virtual function to the card that it is of") {
  Networked machine;
  machine.plan["steps"].as_array().pop_back();
  CHECK(!machine.lock().facts.contains("cards"));
  machine.set("theirs", "mtu", "1500");
  fs::create_directory_symlink("../br0", machine.dir / "root/sys/class/net/theirs/master");
  machine.step(R"({"open_tap": {"name": "theirs"}})", "net[0].tap");
  CHECK(machine.lock().facts.at("cards").size() == 7);
  machine.plan["functions"] = boost::json::parse(R"([{"address": "0000:81:10.0", "cpus": "1"}])");
  machine.file("/sys/bus/pci/devices/0000:81:10.0/vendor", "0x8086");
  fs::create_directory_symlink("../0000:81:00.0", machine.dir / "root/sys/bus/pci/devices/0000:81:10.0/physfn");
  CHECK(machine.lock().facts.at("cards").at("speed of function 0000:81:10.0") == "10000 Mb/s, full");
}

TEST_CASE("each planted drift of a card is named with both values, and nothing else with it") {
  struct Planted {
    std::string name, was, is;
    Grade grade;
    const char *link, *file, *text;
  };
  const std::vector<Planted> all{
      {"speed of net[0]", "10000 Mb/s, full", "1000 Mb/s, full", Grade::changes, "eno1", "speed", "1000"},
      {"MTU of net[0], card 2", "1500", "9000", Grade::changes, "eno2", "mtu", "9000"},
      {"node of net[0]", "0", "1", Grade::changes, "eno1", "device/numa_node", "1"},
      {"bond of net[0]", "802.3ad 4, layer2 0", "802.3ad 4, layer3+4 1", Grade::changes, "bond0",
       "bonding/xmit_hash_policy", "layer3+4 1"},
      {"receive steering of net[0]", "", "rx-0 f", Grade::changes, "eno1", "queues/rx-0/rps_cpus", "f"},
      {"GRO flush timeout of net[0]", "", "20000", Grade::changes, "eno1", "gro_flush_timeout", "20000"},
      {"PCI link's width of net[0]", "", "4", Grade::changes, "eno1", "device/current_link_width", "4"},
      {"send queue of net[0]", "", "1000", Grade::may, "eno1", "tx_queue_len", "1000"},
  };
  for (const Planted& planted : all) {
    CAPTURE(planted.name);
    const Networked machine;
    const launcher::LaunchLock before = machine.lock();
    machine.set(planted.link, planted.file, planted.text);
    const std::vector<Drift> found = launcher::compare(before, machine.lock()).drifts;
    REQUIRE(found.size() == 1);
    CHECK(found[0].group == "cards");
    CHECK(found[0].name == planted.name);
    CHECK(found[0].was == planted.was);
    CHECK(found[0].is == planted.is);
    CHECK(found[0].grade == planted.grade);
  }
  const Networked machine;
  const launcher::LaunchLock before = machine.lock();
  machine.set("eno3", "speed", "100");  // another's
  machine.set("br0", "mtu", "9000");    // a bridge's own follows its ports
  machine.set("eno1", "address", "52:54:00:00:00:01");
  CHECK(launcher::compare(before, machine.lock()).drifts.empty());
}

TEST_CASE("a card's driver says how it is set, and an interface that is none says nothing") {
  CHECK(launcher::card_settings("there-is-none").empty());
  CHECK(launcher::card_settings("a name too long for an interface").empty());
  const auto loopback = launcher::card_settings("lo");  // each kernel has it, and its driver knows of offloads alone
  CHECK(loopback.contains("offload loopback"));
  CHECK(!loopback.contains("rings"));
  const topology::Sysfs sysfs;
  int cards = 0;
  for (const std::string& name : sysfs.list("/sys/class/net")) {
    const auto driver = sysfs.link_name("/sys/class/net/" + name + "/device/driver");
    if (!driver) continue;
    ++cards;
    CAPTURE(name);
    const auto settings = launcher::card_settings(name);
    CHECK(settings.at("driver") == *driver);
    CHECK(settings == launcher::card_settings(name));
  }
  (void)lacks(cards > 0, "a network card");
}
