// Locks of composed machines: the same bytes twice, nothing that names the machine, and every planted drift by its name.
#include "launcher/record/lock.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <utime.h>

#include <algorithm>
#include <filesystem>
#include <functional>

#include "launcher/checks/check.hpp"
#include "launcher/record/drift.hpp"
#include "launcher/record/identity.hpp"
#include "tests/launcher/record/machine.hpp"
#include "topology/sysfs.hpp"

using launcher::Drift;
using launcher::Grade;
namespace fs = std::filesystem;
using record_tests::Machine;

namespace {

std::vector<Drift> drifts(const launcher::LaunchLock& was, const launcher::LaunchLock& is) {
  return launcher::compare(was, is).drifts;
}

}  // namespace

TEST_CASE("a lock is the same bytes twice, and reads back as itself") {
  const Machine machine;
  const std::string first = to_document(machine.lock()), second = to_document(machine.lock());
  CHECK(first == second);
  const auto read = launcher::lock_from_document(first);
  REQUIRE_MESSAGE(read, read.error());
  CHECK(to_document(*read) == first);
  CHECK(drifts(*read, machine.lock()).empty());
  CHECK(first.find("\"_type\": \"https://in-toto.io/Statement/v1\"") != first.npos);
}

TEST_CASE("nothing names the machine unless it is asked for") {
  const Machine machine;
  const std::string hidden = to_document(machine.lock());
  for (const char* name : {"1234-5678", "hunter2", "SERIAL-9"}) CHECK_MESSAGE(hidden.find(name) == hidden.npos, name);
  CHECK(hidden.find("\"isolcpus\": \"2-3\"") != hidden.npos);
  const launcher::LaunchLock shown = machine.lock(launcher::Naming::shown);
  CHECK(shown.facts.at("boot line").at("root") == "UUID=1234-5678");
  CHECK(drifts(machine.lock(), shown).empty());  // the same machine, told in two ways
  machine.file("/proc/cmdline", "ro root=UUID=other isolcpus=2-3 mitigations=off secret_token=hunter2");
  CHECK(drifts(shown, machine.lock()).size() == 1);
}

TEST_CASE("what stands for init on the boot line is told apart, and not shown") {
  const Machine machine;
  machine.file("/proc/cmdline", "quiet -- --token abc host7");
  const launcher::LaunchLock before = machine.lock();
  CHECK(before.facts.at("boot line").size() == 2);
  CHECK(to_document(before).find("host7") == std::string::npos);
  machine.file("/proc/cmdline", "quiet -- --token abd host7");
  CHECK(drifts(before, machine.lock()).size() == 1);
}

TEST_CASE("what the kernel made of a word stands beside it") {
  const auto effective = Machine().lock().effective;
  const auto isolated = std::ranges::find(effective, "isolcpus=2-3", &launcher::Effective::requested);
  REQUIRE(isolated != effective.end());
  CHECK(isolated->effective == "2");  // the word was not taken as it stands
  CHECK(isolated->where == "/sys/devices/system/cpu/isolated");
}

TEST_CASE("each planted drift is named with both values, and nothing else with it") {
  struct Planted {
    std::string group, name, was, is;
    Grade grade;
    std::function<void(Machine&)> plant;
  };
  const auto set = [](const char* path, const char* text) {
    return [path, text](Machine& machine) { machine.file(path, text); };
  };
  const std::vector<Planted> all{
      {"boot line", "mitigations", "off", "auto", Grade::changes,
       set("/proc/cmdline", "ro root=UUID=1234-5678 isolcpus=2-3 mitigations=auto secret_token=hunter2")},
      {"sysctl", "vm.page-cluster", "", "0", Grade::may, set("/proc/sys/vm/page-cluster", "0")},
      {"kernel", "kvm's source", "", "0A1B", Grade::changes, set("/sys/module/kvm/srcversion", "0A1B")},
      {"kernel", "live patches", "", "fix", Grade::changes, set("/sys/kernel/livepatch/fix/enabled", "1")},
      {"memory", "transparent hugepages-64kB", "", "always", Grade::changes,
       set("/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled", "[always] inherit madvise never")},
      {"power", "uncore package_00 max_freq_khz", "", "2000000", Grade::changes,
       set("/sys/devices/system/cpu/intel_uncore_frequency/package_00/max_freq_khz", "2000000")},
      {"isolation", "cache and bandwidth of all others", "", "L3:0=7ff", Grade::changes,
       set("/sys/fs/resctrl/schemata", "L3:0=7ff")},
      {"boot line", "nokaslr", "", "given", Grade::changes,
       set("/proc/cmdline", "ro root=UUID=1234-5678 isolcpus=2-3 mitigations=off secret_token=hunter2 nokaslr")},
      {"power", "governor", "performance on 0-3", "performance on 0-2; powersave on 3", Grade::changes,
       [](Machine& machine) { machine.per_cpu(3, "cpufreq/scaling_governor", "powersave"); }},
      {"cpu", "microcode", "0xd6 on 0-3", "0xd7 on 0-3", Grade::changes,
       [](Machine& machine) {
         for (unsigned cpu = 0; cpu < 4; ++cpu) machine.per_cpu(cpu, "microcode/version", "0xd7");
       }},
      {"kernel", "release", "6.1.0-56-amd64", "6.12.0-1-amd64", Grade::changes,
       set("/proc/sys/kernel/osrelease", "6.12.0-1-amd64")},
      {"cpu", "flags", "avx2 fpu vme", "fpu vme", Grade::changes,
       set("/proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: vme fpu\n")},
      {"cpu", "SMT", "on", "off", Grade::changes, set("/sys/devices/system/cpu/smt/control", "off")},
      {"power", "boost", "1", "0", Grade::changes, set("/sys/devices/system/cpu/cpufreq/boost", "0")},
      {"memory", "transparent huge pages", "madvise", "always", Grade::changes,
       set("/sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never")},
      {"memory", "KSM", "0", "1", Grade::changes, set("/sys/kernel/mm/ksm/run", "1")},
      {"memory", "NUMA balancing", "1", "0", Grade::changes, set("/proc/sys/kernel/numa_balancing", "0")},
      {"sysctl", "vm.swappiness", "60", "1", Grade::may, set("/proc/sys/vm/swappiness", "1")},
      {"kvm", "kvm.halt_poll_ns", "200000", "0", Grade::changes, set("/sys/module/kvm/parameters/halt_poll_ns", "0")},
      {"clock", "source", "tsc", "hpet", Grade::changes,
       set("/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet")},
      {"vulnerabilities", "spectre_v2", "Vulnerable", "Mitigation: Retpolines", Grade::changes,
       set("/sys/devices/system/cpu/vulnerabilities/spectre_v2", "Mitigation: Retpolines")},
      {"firmware", "version", "1.2.3", "1.2.4", Grade::changes, set("/sys/class/dmi/id/bios_version", "1.2.4")},
      {"isolation", "tuned profile", "virtual-host", "balanced", Grade::changes,
       set("/etc/tuned/active_profile", "balanced")},
      {"spec", "cpu.count", "2", "4", Grade::changes,
       [](Machine& machine) { machine.spec = "name = \"a\"\n[cpu]\ncount = 4\n"; }},
      {"placement", "placement.vcpus[1].cpu", "3", "1", Grade::changes,
       [](Machine& machine) { machine.plan.at("placement").at("vcpus").as_array()[1].as_object()["cpu"] = 1; }},
      {"argv", "-device disk0: num-queues", "2", "1", Grade::changes,
       [](Machine& machine) { machine.plan["argv"].as_array()[6] = "virtio-blk-pci,id=disk0,num-queues=1"; }},
      {"steps", "raise_pool 1.pages", "128", "64", Grade::cosmetic,
       [](Machine& machine) {
         machine.plan["steps"].as_array()[0].at("step").at("raise_pool").as_object()["pages"] = 64;
       }},
      {"topology", "node 0 memory", "8G", "16G", Grade::changes,
       [](Machine& machine) { machine.topology.nodes[0].memory_total = topology::gib(16); }},
  };
  for (const Planted& planted : all) {
    CAPTURE(planted.group + ": " + planted.name);
    Machine machine;
    const launcher::LaunchLock before = machine.lock();
    planted.plant(machine);
    const std::vector<Drift> found = drifts(before, machine.lock());
    REQUIRE(found.size() == 1);
    CHECK(found[0].group == planted.group);
    CHECK(found[0].name == planted.name);
    CHECK(found[0].was == planted.was);
    CHECK(found[0].is == planted.is);
    CHECK(found[0].grade == planted.grade);
  }
}

TEST_CASE("a node's memory is what the firmware gave it, not what the kernel's tables leave of it at the moment") {
  Machine machine;
  const auto zones = [&](unsigned normal) {
    machine.file("/proc/zoneinfo", fmt::format("Node 0, zone      DMA\n  pages free     2816\n        present  3998\n"
                                               "Node 0, zone   Normal\n        min      42\n        present  {}\n",
                                               normal));
  };
  zones(2093154);
  const launcher::LaunchLock before = machine.lock();
  CHECK(before.facts.at("topology").at("node 0 memory") == "8G");
  machine.topology.nodes[0].memory_total = topology::mib(8100);
  CHECK(drifts(before, machine.lock()).empty());
  zones(2093154 - 1024);
  const std::vector<Drift> found = drifts(before, machine.lock());
  REQUIRE(found.size() == 1);
  CHECK(found[0].name == "node 0 memory");
}

TEST_CASE("one byte of an image, of the kernel and of QEMU is a drift of that file") {
  for (const auto& [name, group] : {std::pair("disk.raw", "images"), {"vmlinuz", "files"}, {"qemu", "files"}}) {
    CAPTURE(name);
    Machine machine;
    const auto path = machine.dir / name;
    const launcher::LaunchLock before = machine.lock();
    std::string bytes = fakes::read_file(path);
    bytes.back() ^= 1;
    fakes::write_file(path, bytes);
    std::vector<Drift> found = drifts(before, machine.lock());
    std::erase_if(found, [](const Drift& drift) { return drift.name == "build id"; });
    REQUIRE(found.size() == 1);
    CHECK(found[0].group == group);
    CHECK(found[0].name == path.string());
    CHECK(found[0].was != found[0].is);
  }
}

TEST_CASE("a module's word that the kernel did not take is a drift, though the boot line is the same") {
  const Machine machine;
  machine.file("/proc/cmdline", "ro nvme.poll_queues=4");
  machine.file("/sys/module/nvme/parameters/poll_queues", "4");
  const launcher::LaunchLock before = machine.lock();
  machine.file("/sys/module/nvme/parameters/poll_queues", "0");
  const std::vector<Drift> found = drifts(before, machine.lock());
  REQUIRE(found.size() == 1);
  CHECK(found[0].name == "nvme.poll_queues, in effect");
  CHECK(found[0].is == "0");
}

TEST_CASE("what an image lies on: the mount that it is reached by, without paths, and the device's queue") {
  const Machine machine;
  struct stat info {};
  REQUIRE(stat((machine.dir / "disk.raw").c_str(), &info) == 0);
  const std::string number = fmt::format("{}:{}", major(info.st_dev), minor(info.st_dev));
  const std::string place = machine.dir.path().string();
  machine.file("/proc/self/mountinfo",
               fmt::format("1 0 {} / / rw,noatime shared:1 - ext4 /dev/sda rw,resuid=7\n"
                           "2 1 {} / {} rw,relatime - ext4 /dev/sda rw,lowerdir=/secret\n3 1 {} / {}s ro - ext4 x ro",
                           number, number, place, number, place));
  machine.file("/sys/dev/block/" + number + "/queue/scheduler", "none [mq-deadline]");
  const launcher::LaunchLock before = machine.lock();
  CHECK(before.facts.at("storage") == launcher::Values{{"file system of disk[0].path", "ext4 rw,relatime"},
                                                       {"scheduler of disk[0].path", "mq-deadline"}});
  machine.file("/sys/dev/block/" + number + "/queue/scheduler", "[none] mq-deadline");
  const auto found = drifts(before, machine.lock());
  REQUIRE(found.size() == 1);
  CHECK(found[0].group == "storage");
  CHECK(found[0].grade == Grade::changes);
}

TEST_CASE("a byte of the BIOS that QEMU takes by itself is a drift; with another firmware it is none of the VM's") {
  Machine machine;
  fs::create_directories(machine.dir / "usr/bin");
  for (const char* file : {"usr/bin/qemu", "usr/share/seabios/bios-256k.bin", "usr/share/qemu/linuxboot_dma.bin"})
    fakes::write_file(machine.dir / file, "bytes");
  machine.plan["qemu"] = (machine.dir / "usr/bin/qemu").string();
  const launcher::LaunchLock before = machine.lock();
  const fs::path bios = fs::canonical(machine.dir / "usr/share/seabios/bios-256k.bin");
  fakes::write_file(bios, "bytez");
  fakes::write_file(machine.dir / "usr/share/qemu/linuxboot_dma.bin", "of a VM with a kernel");
  const auto found = drifts(before, machine.lock());
  REQUIRE(found.size() == 1);
  CHECK(found[0].name == bios.string());
  auto& argv = machine.plan["argv"].as_array();
  argv.push_back("-bios");
  argv.push_back("x");
  const auto other = machine.lock();
  CHECK(std::ranges::find(other.files, bios.string(), &launcher::LockedFile::path) == other.files.end());
}

TEST_CASE("another order of the same options is a drift, and told only when nothing else is") {
  Machine machine;
  const launcher::LaunchLock before = machine.lock();
  auto& argv = machine.plan["argv"].as_array();
  std::swap(argv[1], argv[3]);
  std::swap(argv[2], argv[4]);
  const auto found = drifts(before, machine.lock());
  REQUIRE(found.size() == 1);
  CHECK(found[0].name == "order of the options");
}

TEST_CASE("a drift says what it does where a host check knows") {
  Machine machine;
  const launcher::LaunchLock before = machine.lock();
  machine.file("/sys/kernel/mm/ksm/run", "1");
  machine.file("/sys/module/kvm/parameters/halt_poll_ns", "0");
  for (const Drift& drift : drifts(before, machine.lock())) CHECK_MESSAGE(!drift.effect.empty(), drift.name);
}

TEST_CASE("every check that a fact names is there") {
  for (const launcher::FactRow& row : launcher::fact_table())
    if (!row.check.empty())
      CHECK_MESSAGE(std::ranges::any_of(launcher::all_checks(), [&](const auto& one) { return one.name == row.check; }),
                    row.check);
}

TEST_CASE("a document that is torn, another's or of another version is refused with why") {
  const std::string whole = to_document(Machine().lock());
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = whole;
    return text.replace(text.find(from), from.size(), to);
  };
  for (const auto& [text, why] :
       {std::pair<std::string, std::string>{whole.substr(0, whole.size() / 2), "it is no JSON"},
        {"[]", "it is no JSON object"},
        {with("urn:x-vmrun:launch:v1", "https://slsa.dev/provenance/v1"), "this is no record of a launch"},
        {with("\"version\": 1", "\"version\": 2"), "its version is 2"},
        {with("\"argv\"", "\"arg\""), "argv"}}) {
    const auto read = launcher::lock_from_document(text);
    REQUIRE(!read);
    CHECK_MESSAGE(read.error().find(why) != read.error().npos, read.error());
  }
}

TEST_CASE("a file that stands still is read once, and one that was just written is not believed") {
  const Machine machine;
  const std::string path = (machine.dir / "disk.raw").string();
  const auto first = launcher::identity_of_file(path);
  REQUIRE(first);
  CHECK(first->algorithm == "xxh3_128");
  CHECK(first->read == 100'000);
  const auto young = launcher::identity_of_file(path);
  REQUIRE(young);
  CHECK(!young->cached);              // written a moment ago: it may change within the same tick
  const std::string old = "/bin/sh";  // this program may have been linked a moment ago
  REQUIRE(launcher::identity_of_file(old));
  const auto again = launcher::identity_of_file(old);
  REQUIRE(again);
  CHECK(again->cached);
  CHECK(again->read == 0);
  CHECK(!launcher::identity_of_file((machine.dir / "none").string()));
  CHECK(!launcher::identity_of_file("/dev/null"));
}

TEST_CASE("the digest is XXH3's, as xxh128sum prints it") {
  const fakes::TempDir dir;
  fakes::write_file(dir / "empty", "");
  const auto identity = launcher::identity_of_file((dir / "empty").string());
  REQUIRE(identity);
  CHECK(identity->digest == "99aa06d3014798d86001c324468d497f");
}

// Or the target looks at nothing but refusals, as it did when the form of a lock had changed and the corpus had not.
TEST_CASE("the locks that fuzzing begins with are read, and differ from nothing of their own") {
  for (const char* name : {"run", "small"}) {
    const auto text = topology::Sysfs{}.read(std::string(VMRUN_TESTS "/fuzz/corpus/lock/") + name);
    REQUIRE(text);
    const auto lock = launcher::lock_from_document(*text + "\n");
    REQUIRE_MESSAGE(lock, lock.error());
    CHECK(drifts(*lock, *lock).empty());
    CHECK_FALSE(drifts(launcher::LaunchLock{}, *lock).empty());
  }
}
