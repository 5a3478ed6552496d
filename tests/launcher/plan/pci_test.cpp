// Passing PCI functions on: what is read of them (over a tree like sysfs), which one a VM takes, and what is planned.
#include "launcher/devices/pci.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "launcher/devices/usb.hpp"
#include "launcher/facts/default_route.hpp"
#include "launcher/host/vf_mac.hpp"
#include "launcher/plan/plan.hpp"
#include "launcher/text/render_problem.hpp"
#include "tests/fakes/fake_host.hpp"
#include "tests/fakes/temp_dir.hpp"
#include "tests/launcher/plan/spec_of.hpp"
#include "tests/topology/scratch.hpp"
#include "tests/topology/sysfs_truth.hpp"
#include "tests/topology/trees.hpp"
#include "topology/read_host.hpp"

namespace {

using namespace launcher;
namespace fs = std::filesystem;

// A root port on node 1 with an NVMe, a network card with two virtual functions possible, and a sound card beside it.
class Machine {
 public:
  Machine() {
    add("0000:80:01.0", "0x060400", "pcieport", 20, "");
    add("0000:81:00.0", "0x010802", "nvme", 20, "0000:80:01.0");
    scratch.write(real("0000:81:00.0") + "/nvme/nvme0/nvme0n1/size", "32768\n");
    add_class("block", "nvme0n1", real("0000:81:00.0") + "/nvme/nvme0/nvme0n1");
    scratch.write(real("0000:81:00.0") + "/nvme/nvme0/nvme0n1/dev", "259:0\n");
    add_class("block", "nvme0n1p1", real("0000:81:00.0") + "/nvme/nvme0/nvme0n1/nvme0n1p1");
    scratch.write(real("0000:81:00.0") + "/nvme/nvme0/nvme0n1/nvme0n1p1/dev", "259:1\n");
    add("0000:82:00.0", "0x020000", "ice", 21, "");
    for (const auto& [name, value] :
         {std::pair("sriov_totalvfs", "2\n"), std::pair("sriov_numvfs", "0\n"), std::pair("sriov_offset", "8\n"),
          std::pair("sriov_stride", "1\n"), std::pair("current_link_width", "8\n"), std::pair("max_link_width", "16\n"),
          std::pair("current_link_speed", "8.0 GT/s PCIe\n"), std::pair("max_link_speed", "16.0 GT/s PCIe\n")})
      scratch.write(real("0000:82:00.0") + "/" + name, value);
    scratch.write(real("0000:82:00.0") + "/net/ens1/flags", "0x1002\n");
    add_class("net", "ens1", real("0000:82:00.0") + "/net/ens1");
    fs::create_directory_symlink(fs::path("../../../0000:82:00.0"), at(real("0000:82:00.0") + "/net/ens1/device"));
    add("0000:83:00.0", "0x040300", "snd_hda_intel", 21, "");
    scratch.write("/proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n");
  }
  Pci::Facts look(const std::string& keys) const { return look_at(read(keys), topology::Sysfs(scratch.root())); }
  static Pci read(const std::string& keys) {
    return std::get<Pci>(spec_of("name = \"a\"\n[memory]\nsize = \"1G\"\n[[pci]]\n" + keys).devices.back());
  }
  static std::string real(const std::string& address) {
    return "/sys/devices/pci0000:80/" + (address == "0000:81:00.0" ? "0000:80:01.0/" + address : address);
  }
  fs::path at(const std::string& path) const { return scratch.root() / path.substr(1); }
  void add(const std::string& address, const std::string& kind, const std::string& driver, unsigned group,
           const std::string&) const {
    scratch.write(real(address) + "/class", kind + "\n");
    scratch.write(real(address) + "/numa_node", "1\n");
    scratch.write(real(address) + "/driver_override", "(null)\n");
    fs::create_directories(at("/sys/bus/pci/devices"));
    fs::create_directory_symlink(at(real(address)), at("/sys/bus/pci/devices/" + address));
    if (!driver.empty()) fs::create_symlink("/x/" + driver, at(real(address) + "/driver"));
    const fs::path members = at(fmt::format("/sys/kernel/iommu_groups/{}/devices", group));
    fs::create_directories(members);
    fs::create_directory_symlink(at(real(address)), members / address);
    fs::create_directory_symlink(members.parent_path(), at(real(address) + "/iommu_group"));
  }
  void add_class(const std::string& kind, const std::string& name, const std::string& device) const {
    fs::create_directories(at("/sys/class/" + kind));
    fs::create_directories(at(device));
    fs::create_directory_symlink(at(device), at("/sys/class/" + kind + "/" + name));
  }
  Scratch scratch;
};

using Uses = std::vector<std::string>;

void choose(const Pci& pci, Pci::Facts& facts, const std::map<std::string, std::string>& owners = {},
            const std::set<std::string>& makers = {}) {
  choose_functions({{&pci, &facts}}, owners, makers);
}

struct Case {
  Spec spec;
  topology::HostTopology host;
  Facts facts;
  QemuFeatures qemu;
  topology::Reservations taken = {};

  explicit Case(const std::string& toml, const std::string& version = "10.0")
      : spec(spec_of("name = \"db\"\n" + toml)),
        host(topology::read_host_argument((fs::path(VMRUN_TESTS) / "hosts/xeon-2s-144.json").string()).value()),
        facts(assumed_facts(spec, host)),
        qemu(features_from_json(fakes::read_file(fs::path(VMRUN_TESTS) / "qemu" / (version + ".json"))).value()) {}
  Pci::Facts& pci() { return std::get<Pci::Facts>(facts.devices.back()); }
  std::expected<LaunchPlan, Problems> make() const { return make_plan(spec, host, {}, taken, qemu, facts); }
  LaunchPlan plan() const {
    auto made = make();
    REQUIRE_MESSAGE(made.has_value(), (made ? "" : render(made.error(), nullptr, false)));
    return *made;
  }
  std::string problems() const {
    const auto made = make();
    return made ? "none" : render(made.error(), nullptr, false);
  }
};

const std::string small = "[cpu]\ncount = 2\n[memory]\nsize = \"1G\"\npage = \"4K\"\n";

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string text_of(const LaunchPlan& plan, const Case& one) { return to_text(plan, one.host, true); }

}  // namespace

TEST_CASE("a function is named by domain, bus, device and function, in any usual form") {
  CHECK(pci_function_address("0000:81:00.0") == "0000:81:00.0");
  CHECK(pci_function_address("81:1F.7") == "0000:81:1f.7");
  for (const char* bad : {"", "81", "81:00", "0000:81:00", "0000:81:00.8", "0000:81:20.0", "0000:81:00.0 ", "g1:00.0",
                          "../../etc", "0000:81:00.0/..", "00000:81:00.0"})
    CHECK_MESSAGE(!pci_function_address(bad), bad);
}

TEST_CASE(
    "a mediated device is looked at where the kernel lists it, and hangs where the card does that it is a part of") {
  const Machine machine;
  const std::string uuid = "53764d0e-85a0-42b4-af5c-2046b460b1dc", keys = "mdev = \"" + uuid + "\"\n";
  CHECK(machine.look(keys).candidates.empty());
  const fs::path real = machine.at(Machine::real("0000:82:00.0") + "/" + uuid);
  fs::create_directories(real);
  fs::create_directories(machine.at("/sys/bus/mdev/devices"));
  fs::create_directory_symlink(real, machine.at("/sys/bus/mdev/devices/" + uuid));
  const Pci::Facts without_group = machine.look(keys);
  REQUIRE(without_group.candidates.size() == 1);
  CHECK(!without_group.candidates[0].iommu);
  CHECK(without_group.candidates[0].node == 1);
  fs::create_directory_symlink(machine.at("/sys/kernel/iommu_groups/21"), real / "iommu_group");
  Pci::Facts facts = machine.look(keys);
  CHECK(facts.candidates[0].iommu);
  choose(Machine::read(keys), facts);
  CHECK(facts.chosen == 0);
  CHECK(facts.neighbours_taken.empty());
  CHECK(needs(Machine::read(keys), facts, 2).locked_memory);
}

TEST_CASE("a mediated device that is not there, has no group or belongs to another VM is refused") {
  const std::string keys = "[[pci]]\nmdev = \"53764d0e-85a0-42b4-af5c-2046b460b1dc\"\n";
  Case gone(small + keys);
  gone.pci().candidates.clear();
  CHECK(has(gone.problems(), "this host has no mediated device 53764d0e-85a0-42b4-af5c-2046b460b1dc"));
  CHECK(has(gone.problems(), "help: `ls /sys/bus/mdev/devices` lists what it has"));
  Case bare(small + keys);
  bare.pci().candidates[0].iommu = false;
  CHECK(has(bare.problems(), "has no IOMMU group, by which QEMU would open it"));
  Case taken(small + keys);
  taken.taken.vms.push_back({"web", {}, {}, {"mediated device 53764d0e-85a0-42b4-af5c-2046b460b1dc"}});
  CHECK(has(taken.problems(), "belongs to VM web"));
}

TEST_CASE("virtual functions lie where the physical one's offset and stride say, across buses too") {
  PciFunction physical;
  physical.address = "0000:3b:00.1";
  physical.vf_offset = 15, physical.vf_step = 2;
  CHECK(vf_address(physical, 0) == "0000:3b:02.0");
  CHECK(vf_address(physical, 1) == "0000:3b:02.2");
  physical.vf_offset = 0x180;
  CHECK(vf_address(physical, 0) == "0000:3c:10.1");
}

TEST_CASE("what sysfs says of a function") {
  const Machine machine;
  const Pci::Facts facts = machine.look("address = \"81:00.0\"\n");
  REQUIRE(facts.candidates.size() == 1);
  const PciFunction& nvme = facts.candidates[0];
  CHECK(nvme.class_id == "010802");
  CHECK(nvme.driver == "nvme");
  CHECK(nvme.driver_override == "");
  CHECK(nvme.node == 1u);
  CHECK(nvme.iommu);
  CHECK(nvme.neighbours == std::vector<PciNeighbour>{{"0000:80:01.0", "pcieport", true}});
  CHECK(nvme.uses == Uses{});
  CHECK(!facts.vfio_loaded);
  CHECK(machine.look("address = \"0000:99:00.0\"\n").candidates.empty());
  const PciFunction net = machine.look("address = \"0000:82:00.0\"\n").candidates.at(0);
  CHECK(net.slow_link == "width 8 of 16, 8 of 16 GT/s");
  CHECK(net.neighbours == std::vector<PciNeighbour>{{"0000:83:00.0", "snd_hda_intel", false}});
  CHECK(machine.look("address = \"0000:80:01.0\"\n").candidates.at(0).uses ==
        Uses{"it is a bridge, which only hosts have"});
}

TEST_CASE("a function that the host uses is refused with what uses it") {
  const Machine machine;
  const auto uses = [&](const char* address) {
    return machine.look(fmt::format("address = \"{}\"\n", address)).candidates.at(0).uses;
  };
  machine.scratch.write("/proc/self/mountinfo", "30 22 259:1 / /srv rw,noatime shared:1 - ext4 /dev/nvme0n1p1 rw\n");
  CHECK(uses("0000:81:00.0") == Uses{"nvme0n1p1 is mounted on /srv"});
  machine.scratch.write("/proc/self/mountinfo", "30 22 0:44 / / rw - btrfs /dev/nvme0n1 rw\n");
  CHECK(uses("0000:81:00.0") == Uses{"nvme0n1 is mounted on /"});
  machine.scratch.write("/proc/self/mountinfo", "");
  machine.scratch.write("/proc/swaps", "Filename\n/dev/nvme0n1p1 partition 1 0 -2\n");
  CHECK(uses("0000:81:00.0") == Uses{"nvme0n1p1 is swap space"});
  machine.scratch.write("/proc/swaps", "");
  machine.scratch.write("/sys/class/block/nvme0n1/holders/dm-3", "");
  CHECK(uses("0000:81:00.0") == Uses{"nvme0n1 is part of dm-3"});
  fs::remove_all(machine.at("/sys/class/block/nvme0n1/holders"));
  machine.scratch.write("/proc/42/comm", "qemu-system-x86\n");
  fs::create_directories(machine.at("/proc/42/fd"));
  fs::create_symlink("/dev/nvme0n1", machine.at("/proc/42/fd/12"));
  CHECK(uses("0000:81:00.0") == Uses{"process 42 (qemu-system-x86) has /dev/nvme0n1 open"});

  CHECK(uses("0000:82:00.0") == Uses{});
  machine.scratch.write(Machine::real("0000:82:00.0") + "/net/ens1/flags", "0x1003\n");
  CHECK(uses("0000:82:00.0") == Uses{"interface ens1 is up (`ip link set ens1 down` frees it)"});
  fs::create_symlink("../br0", machine.at(Machine::real("0000:82:00.0") + "/net/ens1/master"));
  CHECK(uses("0000:82:00.0") == Uses{"interface ens1 is part of br0"});
  const std::string head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
  machine.scratch.write("/proc/net/route", head + "ens1\t00000000\t0102A8C0\t0003\t0\t0\t0\t0000FFFF\t0\t0\t0\n");
  CHECK(uses("0000:82:00.0") == Uses{"interface ens1 is part of br0"});  // a net that begins with zeros is no default
  machine.scratch.write("/proc/net/route", head + "ens1\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n");
  CHECK(uses("0000:82:00.0") == Uses{"interface ens1 carries the default route"});
  machine.scratch.write("/proc/net/route", head);
  const std::string zeros(32, '0');
  const auto six = [&](const std::string& interface) {
    return zeros + " 00 " + zeros + " 00 " + zeros + " ffffffff 00000001 00000000 00200200 " + interface + "\n";
  };
  machine.scratch.write("/proc/net/ipv6_route", six("      lo"));
  CHECK(default_routes(topology::Sysfs(machine.scratch.root())) == std::set<std::string>{});
  machine.scratch.write("/proc/net/ipv6_route", six("      lo") + six("    ens1"));
  CHECK(uses("0000:82:00.0") == Uses{"interface ens1 carries the default route"});
}

TEST_CASE("an NVMe disk of two paths is found through its subsystem") {
  const Machine machine;
  const std::string subsystem = "/sys/devices/virtual/nvme-subsystem/nvme-subsys0";
  fs::remove(machine.at("/sys/class/block/nvme0n1"));
  fs::remove(machine.at("/sys/class/block/nvme0n1p1"));
  machine.add_class("block", "nvme0n1", subsystem + "/nvme0n1");
  machine.add_class("block", "nvme0n1p1", subsystem + "/nvme0n1/nvme0n1p1");
  machine.scratch.write(subsystem + "/nvme0n1/nvme0n1p1/dev", "259:1\n");
  fs::create_directory_symlink(machine.at(Machine::real("0000:81:00.0") + "/nvme/nvme0"),
                               machine.at(subsystem + "/nvme0"));
  machine.scratch.write("/proc/self/mountinfo", "30 22 259:1 / /srv rw - ext4 /dev/nvme0n1p1 rw\n");
  CHECK(machine.look("address = \"0000:81:00.0\"\n").candidates.at(0).uses == Uses{"nvme0n1p1 is mounted on /srv"});
}

TEST_CASE("the first of a class that is free, on the node asked for, and alone in its IOMMU group") {
  const Machine machine;
  machine.add("0000:84:00.0", "0x010802", "nvme", 30, "");
  const Pci pci = Machine::read("class = \"nvme\"\nnode = 1\n");
  Pci::Facts facts = look_at(pci, topology::Sysfs(machine.scratch.root()));
  REQUIRE(facts.candidates.size() == 2);
  Pci::Facts first = facts;
  choose(pci, first);
  CHECK(first.chosen == 0u);
  Pci::Facts second = facts;
  choose(pci, second, {{"PCI function 0000:81:00.0", "other"}});
  CHECK(second.chosen == 1u);
  CHECK(second.against == Uses{"0000:81:00.0: it belongs to VM other"});
  Pci::Facts used = facts;
  used.candidates[0].uses = {"nvme0n1 is swap space"};
  used.candidates[1].neighbours = {{"0000:84:00.1", "ahci", false}};
  choose(pci, used);
  CHECK(!used.chosen);
  CHECK(used.against ==
        Uses{"0000:81:00.0: nvme0n1 is swap space",
             "0000:84:00.0: its IOMMU group also holds 0000:84:00.1, which the host's driver ahci has"});
  Pci::Facts one = facts, two = facts;
  choose_functions({{&pci, &one}, {&pci, &two}}, {}, {});
  CHECK(one.chosen == 0u);
  CHECK(two.chosen == 1u);  // no VM takes one twice
  const Pci elsewhere = Machine::read("class = \"nvme\"\nnode = 0\n");
  choose(elsewhere, facts);
  CHECK(facts.against.size() == 2);
}

TEST_CASE("virtual functions: where they will be, or those there are; made by vmrun or not") {
  const Machine machine;
  for (const char* of : {"vf_of = \"0000:82:00.0\"\n", "vf_of = \"ens1\"\n"}) {
    Pci::Facts facts = machine.look(of);
    REQUIRE(facts.physical);
    REQUIRE(facts.candidates.size() == 2);
    CHECK(facts.candidates[1].address == "0000:82:01.1");
    CHECK(facts.candidates[1].node == 1u);
    CHECK(!facts.candidates[1].driver);
    CHECK(facts.interface == "ens1");
    choose(Machine::read(of), facts);
    CHECK(facts.chosen == 0u);
    CHECK(facts.removes_vfs);
  }
  machine.scratch.write(Machine::real("0000:82:00.0") + "/sriov_numvfs", "2\n");
  for (const char* vf : {"0000:82:01.0", "0000:82:01.1"}) {
    machine.add(vf, "0x020000", "iavf", vf[11] == '0' ? 40 : 41, "");
    fs::create_directory_symlink(machine.at(Machine::real(vf)),
                                 machine.at(Machine::real("0000:82:00.0") + "/virtfn" + vf[11]));
  }
  const Pci pci = Machine::read("vf_of = \"ens1\"\n");
  Pci::Facts facts = machine.look("vf_of = \"ens1\"\n");
  REQUIRE(facts.candidates.size() == 2);
  CHECK(facts.candidates[0].driver == "iavf");
  Pci::Facts others = facts;
  choose(pci, others, {{"PCI function 0000:82:01.0", "a"}}, {"0000:82:00.0"});
  CHECK(others.chosen == 1u);
  CHECK(others.removes_vfs);  // a VM of ours made them
  choose(pci, facts);
  CHECK(!facts.removes_vfs);  // an administrator did
  CHECK(machine.look("address = \"0000:82:00.0\"\n").candidates.at(0).uses == Uses{"it has 2 virtual functions"});
}

TEST_CASE("plan: an NVMe near the VM, its memory locked, QEMU's view of /dev/vfio its own") {
  const Case one(small + "[[pci]]\nclass = \"nvme\"\n");
  const LaunchPlan plan = one.plan();
  const std::string text = text_of(plan, one);
  REQUIRE(plan.functions.size() == 1);
  CHECK(plan.functions[0].address == "0000:b1:00.0");
  CHECK(plan.placement.cells.at(0).host_nodes == std::vector<unsigned>{1});
  CHECK(plan.reservation.things.front() == "PCI function 0000:b1:00.0");
  CHECK(has(text, "vfio-pci,id=pci0,host=0000:b1:00.0,bus=pci0-port,bootindex=65"));
  CHECK(has(text, "pcie-root-port,id=pci0-port,bus=pcie.0,addr=05.0,multifunction=on,chassis=1,hotplug=off"));
  CHECK(plan.start().child.memlock == ~std::uint64_t{0});  // unlimited
  CHECK(plan.start().child.private_dev == "/run/vmrun/db");
  CHECK(plan.start().child.private_nodes.back() == "/dev/vfio/vfio");
  CHECK(!has(text, "modprobe"));
}

TEST_CASE("plan: a device's node is shown by a bus of its own") {
  const std::string two = "[cpu]\ncount = 4\n[memory]\nsize = \"2G\"\npage = \"4K\"\nnodes = [0, 1]\n";
  const Case both(two + "[[pci]]\naddress = \"0000:b1:00.0\"\n[[pci]]\naddress = \"0000:31:00.0\"\n");
  const std::string text = text_of(both.plan(), both);
  CHECK(has(text, "pxb-pcie,id=node1,bus=pcie.0,addr=02.0,multifunction=on,bus_nr=60,numa_node=1"));
  CHECK(has(text, "pcie-root-port,id=pci0-port,bus=node1,addr=00.0,multifunction=on,chassis=1"));
  CHECK(has(text, "pxb-pcie,id=node0,bus=pcie.0,addr=02.1,bus_nr=32,numa_node=0"));
  CHECK(has(text, "pcie-root-port,id=pci1-port,bus=node0,addr=00.0,multifunction=on,chassis=2"));
  const Case hidden(two + "[[pci]]\naddress = \"0000:b1:00.0\"\nexpose_node = false\n");
  CHECK(!has(text_of(hidden.plan(), hidden), "pxb-pcie"));
  const Case single(small + "[[pci]]\naddress = \"0000:b1:00.0\"\nexpose_node = true\n");
  const std::string alone = text_of(single.plan(), single);
  CHECK(has(alone, "numa_node=0"));
  CHECK(has(alone, "-numa node,nodeid=0,memdev=ram0"));
  CHECK(!has(alone, "memory-backend=ram0"));
  const Case far(
      "[cpu]\ncount = 2\n[memory]\nsize = \"1G\"\npage = \"4K\"\nnodes = [0]\n[[pci]]\naddress = "
      "\"0000:b1:00.0\"\n");
  CHECK(has(text_of(far.plan(), far), "0000:b1:00.0 hangs on node 1, the VM is on node 0"));
  Case refused = far;
  std::get<Pci>(refused.spec.devices.back()).expose_node = true;
  CHECK(has(refused.problems(), "expose_node"));
}

TEST_CASE("plan: eight ports on the board, fifteen on a second bus, and no more") {
  Case one(small + "[[pci]]\naddress = \"0000:b1:00.0\"\n");
  const Device device = one.spec.devices.back();
  const DeviceFacts facts = one.facts.devices.back();
  for (unsigned i = 1; i < 23; ++i) {
    one.spec.devices.push_back(device);
    one.facts.devices.push_back(facts);
    const std::string address = fmt::format("0000:b2:{:02x}.{}", i / 8, i % 8);
    std::get<Pci>(one.spec.devices.back()).address = address;
    one.pci().candidates[0].address = address;
  }
  const std::string text = text_of(one.plan(), one);
  CHECK(has(text, "id=pci7-port,bus=pcie.0,addr=05.7,chassis=8"));
  CHECK(has(text, "pxb-pcie,id=more,bus=pcie.0,addr=02.0,multifunction=on,bus_nr=16"));
  CHECK(has(text, "id=pci8-port,bus=more,addr=00.0,multifunction=on,chassis=9"));
  CHECK(has(text, "id=pci22-port,bus=more,addr=01.6,chassis=23"));
  one.spec.devices.push_back(device);
  one.facts.devices.push_back(facts);
  std::get<Pci>(one.spec.devices.back()).address = one.pci().candidates[0].address = "0000:b3:00.0";
  CHECK(has(one.problems(), "more functions than the board has ports"));
}

TEST_CASE("plan: everything that speaks against a function is said") {
  Case one(small + "[[pci]]\naddress = \"0000:b1:00.0\"\n");
  one.pci().candidates[0].uses = {"nvme0n1p2 is mounted on /"};
  one.pci().candidates[0].neighbours = {{"0000:b1:00.1", "ahci", false}, {"0000:b0:01.0", "pcieport", true}};
  CHECK(has(one.problems(), "this host uses 0000:b1:00.0: nvme0n1p2 is mounted on /"));
  CHECK(
      has(one.problems(), "the IOMMU group of 0000:b1:00.0 also holds 0000:b1:00.1, which the host's driver ahci has"));
  CHECK(!has(one.problems(), "pcieport"));
  one.pci().candidates[0].uses.clear();
  one.pci().candidates[0].neighbours.pop_back();
  one.pci().candidates[0].neighbours[0].driver = "vfio-pci";
  CHECK(one.problems() == "none");
  one.taken.vms.push_back({"other", {}, {}, {"PCI function 0000:b1:00.1"}});
  CHECK(has(one.problems(), "0000:b1:00.1, which belongs to VM other"));
  one.taken.vms[0].things = {"PCI function 0000:b1:00.0"};
  CHECK(has(one.problems(), "PCI function 0000:b1:00.0 belongs to VM other"));
  one.taken.vms.clear();
  one.pci().candidates[0].iommu = false;
  CHECK(has(one.problems(), "has no IOMMU group"));
  one.pci().candidates.clear();
  CHECK(has(one.problems(), "this host has no PCI function 0000:b1:00.0"));
}

TEST_CASE("plan: an ordinary user may pass on what is bound already") {
  Case one(small + "[[pci]]\naddress = \"0000:b1:00.0\"\n");
  one.facts.root = false;
  one.facts.uid = 1000;
  one.pci().candidates[0].driver = "nvme";
  CHECK(has(one.problems(), "is not bound to vfio-pci, and binding it needs root"));
  one.pci().candidates[0].driver = "vfio-pci";
  const LaunchPlan plan = one.plan();
  CHECK(plan.start().child.private_dev == "");
  for (const PlannedStep& step : plan.steps) CHECK(!std::holds_alternative<BindVfio>(step.step));
  one.facts.memlock = 1 << 20;
  CHECK(has(one.problems(), "memlock limit"));
}

TEST_CASE("plan: iommufd by open files, where QEMU and the kernel know it") {
  const std::string keys = small + "[[pci]]\naddress = \"0000:b1:00.0\"\niommufd = true\n";
  Case one(keys);
  const LaunchPlan plan = one.plan();
  const std::string text = text_of(plan, one);
  CHECK(has(text, "-object iommufd,id=iommufd0,fd="));
  CHECK(has(text, "vfio-pci,id=pci0,iommufd=iommufd0,fd="));
  CHECK(!has(text, "host=0000"));
  CHECK(plan.start().child.private_dev == "");
  CHECK(has(Case(keys, "7.2").problems(), "QEMU 7.2.22 knows no iommufd"));
  one.pci().iommufd_there = false;
  CHECK(has(one.problems(), "this kernel offers no /dev/iommu"));
}

TEST_CASE("plan: iommufd and memory that is a file, with a QEMU that maps it by the file") {
  const std::string head = "[cpu]\ncount = 2\n[memory]\nsize = \"1G\"\n",
                    pci = "[[pci]]\naddress = \"0000:b1:00.0\"\niommufd = true\n";
  const auto on_old_kernel = [](const std::string& keys, const std::string& qemu = "11.1") {
    Case one(keys, qemu);
    one.pci().maps_files = false;
    return one;
  };
  // "auto" avoids what would not start, and says so; without iommufd, with an older QEMU or a newer kernel it is as ever
  const LaunchPlan plan = on_old_kernel(head + pci).plan();
  CHECK(plan.placement.page == topology::kib(4));
  CHECK(has(fmt::format("{}", fmt::join(plan.notes, "\n")),
            "memory.page = \"auto\" became 4K: with pci.iommufd QEMU 11.1"));
  CHECK(Case(head + pci, "11.1").plan().placement.page == topology::mib(2));
  CHECK(on_old_kernel(head + pci, "10.0").plan().placement.page == topology::mib(2));
  CHECK(on_old_kernel(head + "[[pci]]\naddress = \"0000:b1:00.0\"\n").plan().placement.page == topology::mib(2));
  // what was asked for is refused, with ways out that work
  const std::string huge = on_old_kernel(head + "page = \"2M\"\n" + pci).problems();
  CHECK(has(huge, "pci[0].iommufd: true, but QEMU 11.1"));
  CHECK(has(huge, "for which this kernel has no call (Linux 6.13 has), and the guest's memory is huge pages"));
  CHECK(has(huge, "remove iommufd: IOMMU groups take any memory, or set memory.page = \"4K\""));
  CHECK(on_old_kernel(head + "page = \"4K\"\n" + pci).plan().placement.page == topology::kib(4));
  CHECK(Case(head + "page = \"2M\"\n" + pci, "11.1").plan().placement.page == topology::mib(2));
  const std::string shared = on_old_kernel(head + "shared = true\n" + pci).problems();
  CHECK(has(shared, "and the guest's memory is shared"));
  CHECK(!has(shared, "memory.page = \"4K\""));
  // an NVDIMM's file is none that any kernel maps so
  const std::string nvdimm = "[[nvdimm]]\npath = \"/srv/pmem\"\nsize = \"1G\"\n";
  CHECK(has(Case(head + pci + nvdimm, "11.1").problems(), "and [[nvdimm]] is a file on a disk or a device"));
  CHECK(Case(head + pci + nvdimm).plan().placement.page == topology::mib(2));
}

TEST_CASE("plan: virtual functions and their addresses") {
  Case one(small + "[[pci]]\nvf_of = \"ens1f0\"\nvfs = 4\nmac = \"52:54:00:AA:00:01\"\n");
  const std::string text = text_of(one.plan(), one);
  CHECK(has(text, "have 4 virtual functions of 0000:31:00.0, number 0 at 0000:31:01.0\n      undo: remove"));
  CHECK(has(text, "give virtual function 0 of ens1f0 MAC address 52:54:00:aa:00:01"));
  one.pci().sets_macs = false;
  CHECK(has(one.problems(), "the driver of ens1f0 cannot set"));
  one.pci().sets_macs = true;
  one.pci().physical->total_vfs = 2;
  CHECK(has(one.problems(), "4 of them, but 0000:31:00.0 can have 2"));
  one.pci().physical->vfs = {"0000:31:01.0"};
  CHECK(has(one.problems(), "4 of them, but 0000:31:00.0 has 1 already"));
  one.pci().physical->driver = "";
  one.pci().physical->vfs.clear();
  CHECK(has(one.problems(), "has no driver, and only a driver can make virtual functions"));
}

TEST_CASE("plan: a virtual function's port in the card") {
  Case one(small + "[[pci]]\nvf_of = \"ens1f0\"\nvlan = 100\ntrust = false\nspoof_check = true\n");
  CHECK(
      has(text_of(one.plan(), one),
          "give virtual function 0 of ens1f0 VLAN 100, trust off, spoof check on\n      undo: goes with the function"));
  one.pci().physical->vfs = {"0000:31:01.0"};  // made by somebody else: given back as it was
  one.pci().removes_vfs = false;
  one.pci().candidates[0].address = "0000:31:01.0";
  one.pci().vf_ports = {{7, true, {}}};
  CHECK(has(text_of(one.plan(), one),
            "VLAN 100, trust off, spoof check on\n      undo: give virtual function 0 of ens1f0 VLAN "
            "7, trust on\n"));
  one.pci().sets_macs = false;
  CHECK(has(one.problems(), "pci[0].vlan: the driver of ens1f0 knows nothing of its virtual functions' ports"));
  CHECK(has(one.problems(), "pci[0].spoof_check: "));
}

TEST_CASE("an interface whose driver has no virtual functions is told from one that can set their addresses") {
  CHECK(!vf_macs("lo"));
  CHECK(!vf_macs("no-such-interface"));
  CHECK(vf_ports("lo").empty());
  CHECK_THROWS_AS(set_vf_port("lo", 0, {100, {}, {}}), std::system_error);
  CHECK_NOTHROW(set_vf_port("no-such-interface", 0, {}));  // nothing to set
  CHECK_THROWS_AS(set_vf_mac("no-such-interface", 0, "52:54:00:00:00:01"), std::system_error);
  CHECK_THROWS_AS(set_vf_mac("lo", 0, "52:54:00:00:00:01"), std::system_error);
}

TEST_CASE("USB devices by id and by port, over a tree like sysfs") {
  const Scratch scratch;
  const topology::Sysfs sysfs(scratch.root());
  const auto plug = [&](const std::string& port, const std::string& vendor, const std::string& product,
                        unsigned number) {
    const std::string at = "/sys/bus/usb/devices/" + port + "/";
    scratch.write(at + "idVendor", vendor + "\n");
    scratch.write(at + "idProduct", product + "\n");
    scratch.write(at + "bDeviceClass", (port == "1-1" ? "09" : "00") + std::string("\n"));
    scratch.write(at + "busnum", "1\n");
    scratch.write(at + "devnum", fmt::format("{}\n", number));
  };
  plug("usb1", "1d6b", "0002", 1);
  plug("1-1", "8087", "0024", 2);
  plug("1-1.4", "046d", "c52b", 14);
  scratch.write("/sys/bus/usb/devices/1-1.4:1.0/bInterfaceNumber", "00\n");
  const Usb by_id{"046d:c52b", ""}, by_port{"", "1-1"};
  const Usb::Facts mouse = look_at(by_id, sysfs);
  REQUIRE(mouse.found.size() == 1);
  CHECK(mouse.found[0] == Usb::Found{"1-1.4", "046d:c52b", "/dev/bus/usb/001/014", false, {}});
  CHECK(look_at(by_port, sysfs).found.at(0).hub);
  CHECK(look_at(Usb{"1d6b:0002", ""}, sysfs).found.empty());  // a root hub is the host's
  plug("1-2", "046d", "c52b", 15);
  CHECK(look_at(by_id, sysfs).found.size() == 2);
}

TEST_CASE("plan: USB devices on one controller, each refused for what speaks against it") {
  Case one(small + "[[usb]]\nid = \"046D:C52B\"\n[[usb]]\nport = \"2-1.4\"\n");
  const LaunchPlan plan = one.plan();
  const std::string text = text_of(plan, one);
  CHECK(has(text, "qemu-xhci,id=xhci,p2=15,p3=15,addr=03.7"));
  CHECK(text.find("qemu-xhci") == text.rfind("qemu-xhci"));
  CHECK(has(text, "usb-host,id=usb0,bus=xhci.0,hostdevice=/dev/fdset/"));
  CHECK(has(text, "undo: give the USB device at port 2-1.4 back to its drivers"));
  CHECK(plan.reservation.things == std::vector<std::string>{"USB device at port 1-1", "USB device at port 2-1.4",
                                                            "uid " + std::to_string(plan.uid.value())});
  auto& facts = std::get<Usb::Facts>(one.facts.devices.back());
  facts.found[0].uses = {"sdb1 is mounted on /media"};
  CHECK(has(one.problems(), "this host uses USB device at port 2-1.4: sdb1 is mounted on /media"));
  facts.found[0].hub = true;
  CHECK(has(one.problems(), "is a hub"));
  facts.found.push_back(facts.found[0]);
  CHECK(has(one.problems(), "2 USB devices are at port 2-1.4: at ports 2-1.4, 2-1.4"));
  facts.found.clear();
  CHECK(has(one.problems(), "this host has no USB device at port 2-1.4"));
  one.qemu.known.erase("usb-host.hostdevice");
  CHECK(has(one.problems(), "was built without USB passthrough"));
}

TEST_CASE("plan: functions behind an IOMMU of the guest's, which many vCPUs need") {
  const std::string two = "[[pci]]\naddress = \"0000:31:00.0\"\n[[pci]]\naddress = \"0000:b1:00.0\"\n";
  Case one("[cpu]\ncount = 256\npin = \"off\"\nsockets = 2\n[memory]\nsize = \"1G\"\npage = \"4K\"\n" + two);
  auto& first = std::get<Pci::Facts>(one.facts.devices[one.facts.devices.size() - 2]);
  for (Pci::Facts* facts : {&first, &one.pci()}) facts->candidates.at(0).driver = "vfio-pci";
  const std::string text = text_of(one.plan(), one);
  const std::size_t iommu = text.find("intel-iommu,intremap=on,eim=on,caching-mode=on");
  REQUIRE(iommu != text.npos);
  CHECK(iommu < text.find("vfio-pci,"));
  CHECK(has(text, "kernel-irqchip=split"));
  one.facts.root = false;  // each function counts the guest's memory
  one.facts.uid = 1000;
  one.facts.memlock = topology::gib(3).count - 1;
  CHECK(has(one.problems(), "needs a memlock limit of 3G"));
  one.facts.memlock = topology::gib(3).count;
  CHECK(one.problems() == "none");
  first.candidates[0].neighbours = {{one.pci().candidates[0].address, "vfio-pci", false}};
  CHECK(has(one.problems(),
            "0000:b1:00.0 is in the IOMMU group of 0000:31:00.0, and with APIC ids above 254 each needs"));
  one.spec.cpu.count = 2;
  one.spec.cpu.sockets.reset();
  CHECK(one.problems() == "none");
  CHECK(!has(text_of(one.plan(), one), "intel-iommu"));
}

static const std::string tiny = "[cpu]\ncount = 1\n[memory]\nsize = \"64M\"\npage = \"4K\"\n";

// A host of kernel files, with a network card on this node (-1: not told), and a VM of one vCPU that gets it.
static Case card_on_node(const topology::HostTopology& machine, int node, const std::string& tables = tiny) {
  Case one(tables + "[[pci]]\naddress = \"0000:ca:00.0\"\n");
  one.host = machine;
  one.host.devices = {{"0000:ca:00.0", "a card", "0200", node, {}}};
  one.facts = assumed_facts(one.spec, one.host);
  return one;
}

TEST_CASE("a function's node leads to the place on every machine, and where it cannot, that is told") {
  unsigned own = 0, near = 0, unknown = 0, isolated = 0;
  std::vector<std::string> names = tree_names();
  for (const std::string& older : older_captures()) names.push_back(older);
  for (const std::string& name : names) {
    const auto files = tree_files(name);
    const SysfsTruth truth(files);
    if (truth.nodes.size() < 2) continue;
    const topology::HostTopology machine = tree(name);
    if (machine.allowed.cpus || machine.allowed.nodes) continue;
    const auto complete = [&](unsigned node) {
      return !truth.nodes.at(node).empty() && truth.memory_kib.at(node) != 0;
    };
    const bool some_complete =
        std::ranges::any_of(truth.nodes, [&](const auto& one) { return complete(one.first); });  // else: HBM only
    const auto has_isolated = [&](unsigned node) {
      return std::ranges::any_of(truth.nodes.at(node), [&](unsigned cpu) { return truth.isolated.contains(cpu); });
    };
    for (const auto& [node, cpus] : truth.nodes) {
      CAPTURE(name);
      CAPTURE(node);
      const Case one = card_on_node(machine, static_cast<int>(node));
      const LaunchPlan plan = one.plan();
      REQUIRE(plan.placement.cells.size() == 1);
      const unsigned got = plan.placement.cells[0].host_nodes[0];
      if (complete(node) && !truth.isolated.empty() &&
          !has_isolated(node)) {  // isolated CPUs come first, and that is told
        CHECK(has_isolated(got));
        CHECK(has(text_of(plan, one),
                  fmt::format("0000:ca:00.0 hangs on node {}, the VM is on node {}: DMA", node, got)));
        ++isolated;
        continue;
      }
      if (complete(node) || (!some_complete && truth.memory_kib.at(node) != 0)) {
        CHECK(got == node);
        CHECK_FALSE(has(text_of(plan, one), "hangs on node"));
        ++own;
        continue;
      }
      unsigned least = ~0u;
      for (const auto& [other, ignored] : truth.nodes)
        if (some_complete ? complete(other) : truth.memory_kib.at(other) != 0)
          least = std::min(least, machine.distance(node, other));
      CHECK(machine.distance(node, got) == least);
      CHECK(has(text_of(plan, one),
                fmt::format("0000:ca:00.0 hangs on node {}, which has no {}: the VM is on node {}, the "
                            "nearest to it",
                            node, cpus.empty() ? "CPUs" : "memory that may be had", got)));
      if (!cpus.empty()) {  // whom these CPUs' memory comes from, serves the card
        Case there(tiny);
        there.host = machine;
        there.spec.cpu.pin = topology::Pinning::listed;
        there.spec.cpu.pin_list = {*cpus.begin()};
        CHECK(there.plan().placement.cells[0].host_nodes == std::vector<unsigned>{got});
      }
      ++near;
    }
    const Case silent = card_on_node(machine, -1);
    CHECK(has(text_of(silent.plan(), silent), "it is not known which node 0000:ca:00.0 hangs on"));
    ++unknown;
  }
  CHECK(own > 40);
  CHECK(near >= 25);  // 2990WX's dies 1 and 3, CXL, HBM, Grace
  CHECK(unknown > 15);
  CHECK(isolated >= 2);
}

TEST_CASE("where there is one node, nothing is to be told of it") {
  const Case one = card_on_node(topology::read_synthetic("pack:1 [numa] l3:1 core:4 pu:2").value(), -1);
  CHECK_FALSE(has(text_of(one.plan(), one), "hangs on"));
}

TEST_CASE("a card of a node without memory is shown on the guest node that serves it") {
  const Case one = card_on_node(tree("2990wx"), 3, small + "nodes = [0, 2]\n");
  const LaunchPlan plan = one.plan();
  REQUIRE(plan.placement.cells.size() == 2);
  const std::string text = text_of(plan, one);
  CHECK(has(text,
            "0000:ca:00.0 hangs on node 3, which has no memory that may be had: the VM is on node 0, 2, of which 2 is "
            "nearest to it"));
  CHECK(has(text, "numa_node=1"));
  const Case away = card_on_node(tree("2990wx"), 3, small + "nodes = [0]\n");
  CHECK(has(text_of(away.plan(), away), "0000:ca:00.0 hangs on node 3, the VM is on node 0: DMA and interrupts cross"));
  const Case lost = card_on_node(tree("2990wx"), 9);
  CHECK(has(text_of(lost.plan(), lost), "(node 9 is none of this host's)"));
}
