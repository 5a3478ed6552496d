// `vmrun host tune` over captured machines, whose files a fake host then changes: what is planned, that it reads so
// afterwards, and that a failure or an end at any verb leaves nothing that revert does not put back.
#include "launcher/tune/tuning.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "launcher/steps/kernel_text.hpp"
#include "launcher/steps/ledger.hpp"
#include "launcher/tune/persist.hpp"
#include "tests/fakes/fake_host.hpp"
#include "tests/fakes/temp_dir.hpp"
#include "topology/capture.hpp"

namespace {

using namespace launcher;
using topology::CpuSet;
namespace fs = std::filesystem;

const std::vector<std::string> other_profiles = {"throughput", "database", "windows", "lab"};

// What is kept beside a value, if that is what the step is.
const Beside* beside_of(const Step& step) {
  const auto* change = std::get_if<ChangeFile>(&step);
  return change != nullptr ? std::get_if<Beside>(&change->change) : nullptr;
}

// A captured machine, in the directory where the fake host keeps its values.
struct Machine {
  fakes::TempDir dir;
  fs::path base = dir / "run";
  fakes::FakeHost host{dir / "host"};
  explicit Machine(const std::string& capture) {
    const auto files =
        topology::parse_capture(fakes::read_file(fs::path(VMRUN_TESTS) / "hosts" / (capture + ".capture")));
    REQUIRE(files.has_value());
    fs::create_directories(root());
    fs::create_directories(base);
    topology::unpack_capture(*files, root());
    if (capture == "composed-xeon-untuned")
      for (const char* name : {"tuned", "irqbalance", "ksmtuned"}) stop_service(name);
  }
  fs::path root() const { return dir / "host/values"; }
  // Interrupts as a driver has them: allowed everywhere, and now on that CPU.
  void add_interrupt(unsigned number, const std::string& driver, unsigned cpu) {
    const std::string irq = "/proc/irq/" + std::to_string(number);
    host.add_value(irq + "/smp_affinity_list", topology_cpus());
    host.add_value(irq + "/effective_affinity_list", std::to_string(cpu));
    fs::create_directories(root() / irq.substr(1) / driver);
  }
  std::string topology_cpus() const { return audit().host().all_cpus().to_string(); }
  Audit audit() const { return {topology::Sysfs(root()), topology_below(topology::Sysfs(root()))}; }
  Tuning plan(const std::string& profile, const CpuSet& only = {}) const { return plan_tuning(audit(), profile, only); }
  std::string value(const std::string& path) const { return value_of(host.value(path).value_or("gone")); }
  std::string snapshot() const { return host.snapshot(base); }
  // What the changed files, and those that change beside them, read now.
  std::string state(const Tuning& tuning) const {
    std::string text;
    for (const SettingChange& change : tuning.changes) {
      text += value(change.path) + "\n";
      for (const Step& step : change.steps)
        if (beside_of(step)) text += value(std::get<ChangeFile>(step).path) + "\n";
    }
    return text;
  }
  void stop_service(const std::string& name) {
    fs::remove_all(root() / ("sys/fs/cgroup/system.slice/" + name + ".service"));
  }
  void run_service(const std::string& name) {
    host.add_value("/sys/fs/cgroup/system.slice/" + name + ".service/cgroup.procs", "4711");
  }
};

std::vector<std::string> machines() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(fs::path(VMRUN_TESTS) / "hosts"))
    if (entry.path().extension() == ".capture") names.push_back(entry.path().stem());
  std::ranges::sort(names);
  return names;
}

// The first line that differs.
std::string difference(const std::string& wanted, const std::string& found) {
  std::istringstream a(wanted), b(found);
  std::string left, right;
  do {
    left = right = "";
    std::getline(a, left), std::getline(b, right);
    if (left != right) return left + " | " + right;
  } while (a && b);
  return "";
}

std::set<std::string> settings_of(const Tuning& tuning) {
  std::set<std::string> names;
  for (const SettingChange& change : tuning.changes) names.insert(change.setting);
  return names;
}

// The same as it was when that was planned.
std::string original(const Tuning& tuning) {
  std::string text;
  for (const SettingChange& change : tuning.changes) {
    text += change.from + "\n";
    for (const Step& step : change.steps)
      if (const auto* keep = beside_of(step)) text += keep->value + "\n";
  }
  return text;
}

bool leaves(const Tuning& tuning, const std::string& setting, const std::string& why) {
  return std::ranges::any_of(tuning.left, [&](const LeftAlone& left) {
    return left.setting == setting && left.why.find(why) != std::string::npos;
  });
}

}  // namespace

TEST_CASE("on every captured machine profiles' changes are made, wanted no more, and put back") {
  std::size_t changes = 0, turn = 0;
  for (const std::string& name : machines()) {
    Machine machine(name);
    const std::string before = machine.snapshot();
    // of a large machine some CPUs, as for a VM: the others are alike
    const CpuSet only = machine.audit().host().pus.size() > 16 ? CpuSet{2, 3, 20} : CpuSet{};
    for (const std::string& profile : {std::string("latency"), std::string("density"), other_profiles[turn++ % 4]}) {
      CAPTURE(name);
      CAPTURE(profile);
      const Tuning tuning = machine.plan(profile, only);
      perform_tuning(tuning, machine.host, machine.base);
      const auto wrong = std::ranges::find_if(tuning.changes, [&](const SettingChange& change) {
        return !same_value(change.path, machine.value(change.path), change.to);
      });
      CHECK_MESSAGE(wrong == tuning.changes.end(), wrong->path);
      const Tuning again = machine.plan(profile, only);
      CHECK_MESSAGE(again.changes.empty(), again.changes.front().path);
      changes += tuning.changes.size();
      const Reverted reverted = revert_tuning(machine.host, machine.base);
      CHECK(reverted.left.empty());
      CHECK(reverted.not_ours.empty());
      CHECK(machine.state(tuning) == original(tuning));
    }
    CHECK(difference(before, machine.snapshot()) == "");
  }
  CHECK(changes > 100);  // else the captures have nothing to tune
}

TEST_CASE("a verb that fails, or the end at any verb, leaves what revert puts back") {
  Machine machine("lab-2n-contradictory");
  machine.add_interrupt(24, "nvme0q1", 3);
  machine.add_interrupt(25, "eth0-rx-0", 5);
  machine.host.add_value("/sys/devices/virtual/workqueue/cpumask", "ff");
  machine.host.add_value("/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]");
  const std::string before = machine.snapshot();
  const Tuning tuning = machine.plan("latency", CpuSet{2, 3});
  REQUIRE(settings_of(tuning).size() > 4);
  perform_tuning(tuning, machine.host, machine.base);
  const std::size_t verbs = machine.host.verbs();
  CHECK(verbs >= tuning.changes.size());
  CHECK(machine.state(tuning) != original(tuning));
  revert_tuning(machine.host, machine.base);
  REQUIRE(difference(before, machine.snapshot()) == "");
  const auto as_before = [&] {
    return machine.state(tuning) == original(tuning) && !VmDir::of_host(machine.base, false);
  };
  for (std::size_t verb = 0; verb < verbs; ++verb) {
    CAPTURE(verb);
    machine.host.heal();
    machine.host.fail_at(verb);
    try {
      const std::vector<std::string> passed_over = perform_tuning(tuning, machine.host, machine.base);
      REQUIRE(passed_over.size() == 1);  // that was an interrupt's mask
      revert_tuning(machine.host, machine.base);
    } catch (const std::exception&) {
    }
    REQUIRE(as_before());
    for (const fakes::When when : {fakes::When::before, fakes::When::after}) {
      machine.host.heal();
      machine.host.stop_dead_at(verb, when);
      CHECK_THROWS_AS(perform_tuning(tuning, machine.host, machine.base), fakes::StopDead);
      machine.host.heal();
      CHECK(revert_tuning(machine.host, machine.base).left.empty());
      REQUIRE(as_before());
      CHECK(revert_tuning(machine.host, machine.base).put_back == 0);
    }
  }
  CHECK(difference(before, machine.snapshot()) == "");
}

TEST_CASE("a revert that ends at any verb is ended by the next") {
  Machine machine("lab-2n-contradictory");
  const std::string before = machine.snapshot();
  const Tuning tuning = machine.plan("throughput");
  REQUIRE(tuning.changes.size() > 3);
  for (std::size_t verb = 0;; ++verb) {
    CAPTURE(verb);
    machine.host.heal();
    perform_tuning(tuning, machine.host, machine.base);
    machine.host.heal();
    machine.host.stop_dead_at(verb, fakes::When::after);
    bool ended = false;
    try {
      revert_tuning(machine.host, machine.base);
      ended = true;
    } catch (const fakes::StopDead&) {
    }
    machine.host.heal();
    revert_tuning(machine.host, machine.base);
    REQUIRE(machine.state(tuning) == original(tuning));
    if (ended) break;
  }
  CHECK(difference(before, machine.snapshot()) == "");
}

TEST_CASE("with a VM named, only its CPUs are changed, and interrupts leave them") {
  Machine machine("composed-xeon-untuned");
  machine.add_interrupt(24, "nvme0q1", 3);
  machine.add_interrupt(25, "eth0-rx-0", 50);
  machine.add_interrupt(26, "vfio-msix[0](0000:31:00.0)", 2);
  const Tuning tuning = machine.plan("latency", CpuSet{2, 3});
  for (const SettingChange& change : tuning.changes)
    if (change.path.starts_with("/sys/devices/system/cpu/cpu") && change.path.find("cpufreq/") != std::string::npos)
      CHECK((change.path.find("/cpu2/") != std::string::npos || change.path.find("/cpu3/") != std::string::npos));
  CHECK(settings_of(tuning).contains("governor"));
  CHECK(settings_of(tuning).contains("irq-affinity"));
  CHECK(settings_of(tuning).contains("stray-irqs"));
  perform_tuning(tuning, machine.host, machine.base);
  CHECK(machine.value("/proc/irq/24/smp_affinity_list") == "0-1,4-143");
  CHECK(machine.value("/proc/irq/25/smp_affinity_list") == "0-1,4-143");
  CHECK(machine.value("/proc/irq/26/smp_affinity_list") == "0-143");  // its device is a VM's
  CHECK(machine.value("/proc/irq/default_smp_affinity") == "ffff,ffffffff,ffffffff,ffffffff,fffffff3");
  CHECK(machine.value("/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor") == "performance");
  CHECK(machine.value("/sys/devices/system/cpu/cpu4/cpufreq/scaling_governor") == "powersave");
  machine.host.heal();
  revert_tuning(machine.host, machine.base);
  // the one that was on CPU 3 is brought there again; the other never left CPU 50
  const auto wrote = [&](const std::string& verb) { return std::ranges::count(machine.host.log(), "write " + verb); };
  CHECK(wrote("/proc/irq/24/smp_affinity_list 3") == 1);
  CHECK(wrote("/proc/irq/25/smp_affinity_list 50") == 0);
  CHECK(machine.value("/proc/irq/24/smp_affinity_list") == "0-143");
  machine.run_service("irqbalance");
  const Tuning beside_it = machine.plan("latency", CpuSet{2, 3});
  CHECK_FALSE(settings_of(beside_it).contains("stray-irqs"));
  CHECK(leaves(beside_it, "stray-irqs", "irqbalance runs"));
}

TEST_CASE("what a service owns is left to it, and the service is named") {
  Machine machine("composed-xeon-untuned");
  machine.host.add_value("/sys/kernel/mm/ksm/run", "1");
  machine.host.add_value("/proc/sys/net/bridge/bridge-nf-call-iptables", "1");
  const auto with = [&](const std::string& service) {
    machine.run_service(service);
    Tuning tuning = machine.plan("throughput");
    machine.stop_service(service);
    return tuning;
  };
  const Tuning alone = with("nobody");
  for (const char* setting : {"governor", "ksm", "bridge-netfilter", "min-free"})
    CHECK_MESSAGE(settings_of(alone).contains(setting), std::string(setting));
  CHECK_FALSE(leaves(alone, "governor", "runs"));
  const Tuning tuned = with("tuned");
  CHECK_FALSE(settings_of(tuned).contains("governor"));
  CHECK(leaves(tuned, "governor", "tuned runs and owns it"));
  const Tuning daemon = with("power-profiles-daemon");
  CHECK_FALSE(settings_of(daemon).contains("governor"));
  CHECK(leaves(daemon, "governor", "powerprofilesctl"));
  CHECK(settings_of(daemon).contains("min-free"));  // not its affair
  const Tuning merged = with("ksmtuned");
  CHECK_FALSE(settings_of(merged).contains("ksm"));
  CHECK(leaves(merged, "ksm", "ksmtuned"));
  const Tuning filtered = with("docker");
  CHECK_FALSE(settings_of(filtered).contains("bridge-netfilter"));
  CHECK(leaves(filtered, "bridge-netfilter", "docker runs"));
}

TEST_CASE("advice that does not hold is left, with why") {
  Machine machine("composed-xeon-untuned");
  machine.host.add_value("/sys/module/vhost_net/parameters/experimental_zcopytx", "0");
  fs::remove_all(machine.root() / "proc/sys/net/bridge");
  const Tuning tuning = machine.plan("throughput");
  CHECK(leaves(tuning, "zero-copy-transmit", "since 2019"));
  CHECK(leaves(tuning, "bridge-netfilter", "br_netfilter is not loaded"));
  CHECK(leaves(tuning, "pools", "vmrun raises"));
  Machine small("cloud-vm");  // one node, in a virtual machine
  small.host.add_value("/proc/sys/kernel/numa_balancing", "1");
  small.host.add_value("/sys/devices/system/clocksource/clocksource0/current_clocksource", "kvm-clock");
  CHECK_FALSE(settings_of(small.plan("latency")).contains("numa-balancing"));
  CHECK(leaves(small.plan("latency"), "clocksource", "hypervisor"));
}

TEST_CASE("a file that the kernel lets nobody write is left") {
  Machine machine("lab-2n");
  const std::string path = "/sys/module/kvm/parameters/halt_poll_ns";
  machine.host.add_value(path, "0");
  CHECK(settings_of(machine.plan("latency")).contains("halt-poll"));
  fs::permissions(machine.root() / path.substr(1), fs::perms::owner_read);
  CHECK_FALSE(settings_of(machine.plan("latency")).contains("halt-poll"));
  CHECK(leaves(machine.plan("latency"), "halt-poll", "cannot be written in this kernel"));
}

TEST_CASE("values are wanted only on the side that is wrong") {
  Machine machine("lab-2n");
  const auto wants = [&](const std::string& path, const std::string& now, const std::string& profile) {
    machine.host.add_value(path, now);
    const Tuning tuning = machine.plan(profile);
    const auto found = std::ranges::find(tuning.changes, path, &SettingChange::path);
    return found == tuning.changes.end() ? "" : found->to;
  };
  CHECK(wants("/sys/module/kvm/parameters/halt_poll_ns", "0", "latency") == "200000");
  CHECK(wants("/sys/module/kvm/parameters/halt_poll_ns", "50000", "latency") == "");
  CHECK(wants("/sys/module/kvm/parameters/halt_poll_ns", "2000000", "latency") == "200000");
  CHECK(wants("/sys/module/kvm/parameters/halt_poll_ns", "0", "lab") == "");
  CHECK(wants("/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]", "lab") == "madvise");
  CHECK(wants("/sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never", "latency") == "");
  CHECK(wants("/sys/kernel/mm/ksm/run", "0", "latency") == "");
  CHECK(wants("/sys/kernel/mm/ksm/run", "0", "density") == "1");
  CHECK(wants("/proc/sys/vm/overcommit_memory", "1", "database") == "");
  CHECK(wants("/proc/sys/vm/overcommit_memory", "2", "database") == "0");
  CHECK(wants("/proc/sys/net/core/rmem_max", "33554432", "throughput") == "");
  CHECK(wants("/proc/sys/net/core/rmem_max", "212992", "throughput") == "16777216");
  CHECK(wants("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456", "throughput") == "4096 1048576 16777216");
  CHECK(wants("/proc/sys/kernel/numa_balancing", "1", "latency") == "0");
  CHECK(wants("/proc/sys/kernel/numa_balancing", "0", "density") == "1");
  CHECK(wants("/proc/sys/vm/min_free_kbytes", "90112", "latency") == "");
}

TEST_CASE("what somebody else changed after tune is theirs") {
  Machine machine("lab-2n-contradictory");
  const std::string path = "/proc/sys/vm/compaction_proactiveness";
  machine.host.add_value(path, "20");
  const std::string before = machine.snapshot();
  perform_tuning(machine.plan("latency"), machine.host, machine.base);
  CHECK(machine.value(path) == "0");
  machine.host.add_value(path, "55");
  const Reverted reverted = revert_tuning(machine.host, machine.base);
  REQUIRE(reverted.not_ours.size() == 1);
  CHECK(reverted.not_ours.front() == path + " reads '55', which is not what tune wrote ('0')");
  CHECK(machine.value(path) == "55");
  machine.host.add_value(path, "20");
  CHECK(difference(before, machine.snapshot()) == "");
}

TEST_CASE("a tuned host is no VM") {
  Machine machine("lab-2n-contradictory");
  perform_tuning(machine.plan("latency"), machine.host, machine.base);
  CHECK(VmDir::all(machine.base).empty());
  CHECK_FALSE(VmDir::find(machine.base, ".host").has_value());
  CHECK(VmDir::of_host(machine.base, false).has_value());
  CHECK(read_reservations(machine.base).vms.empty());
}

TEST_CASE("drop-ins are written whole, replaced, and removed unless they were edited") {
  fakes::TempDir dir;
  const fs::path etc = dir / "etc", state = dir / "state";
  const std::vector<DropIn> first = {{"sysctl.d/90-vmrun.conf", "a = 1\n"},
                                     {"tmpfiles.d/vmrun.conf", "w /x - - - - 1\n"},
                                     {"systemd/system/multi-user.target.wants/v.service", "../v.service", true}};
  CHECK(unpersist(etc, state).removed.empty());
  fs::create_directories(etc / "sysctl.d");
  REQUIRE(persist(first, etc, state).has_value());
  CHECK(fakes::read_file(etc / "sysctl.d/90-vmrun.conf") == "a = 1\n");
  CHECK(fs::read_symlink(etc / first[2].path) == "../v.service");
  const std::vector<DropIn> second = {{"sysctl.d/90-vmrun.conf", "a = 2\n"}};
  REQUIRE(persist(second, etc, state).has_value());
  CHECK(fakes::read_file(etc / "sysctl.d/90-vmrun.conf") == "a = 2\n");
  CHECK_FALSE(fs::exists(etc / "tmpfiles.d/vmrun.conf"));
  CHECK_FALSE(fs::is_symlink(etc / first[2].path));
  REQUIRE(persist(first, etc, state).has_value());
  fakes::write_file(etc / "tmpfiles.d/vmrun.conf", "mine\n");
  const auto refused = persist(first, etc, state);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().find("tmpfiles.d/vmrun.conf is there already") != std::string::npos);
  const Unpersisted removed = unpersist(etc, state);
  CHECK(removed.removed.size() == 2);
  REQUIRE(removed.kept.size() == 1);
  CHECK(removed.kept.front().find("tmpfiles.d/vmrun.conf has been edited") != std::string::npos);
  CHECK(fakes::read_file(etc / "tmpfiles.d/vmrun.conf") == "mine\n");
  CHECK_FALSE(fs::exists(etc / "sysctl.d/90-vmrun.conf"));
  CHECK(fs::exists(etc / "sysctl.d"));
  CHECK(fs::is_empty(state));
  CHECK(unpersist(etc, state).removed.empty());
}

TEST_CASE("each kind of setting gets the drop-in that can make it") {
  Machine machine("composed-xeon-untuned");
  machine.host.add_value("/sys/module/kvm/initstate", "live");
  machine.host.add_value("/sys/module/vhost_net/initstate", "live");
  const Lasting lasting = lasting_of(machine.plan("latency"), machine.audit());
  std::string all;
  for (const DropIn& file : lasting.files) all += "== " + file.path + "\n" + file.text;
  CAPTURE(all);
  for (const char* line : {"== sysctl.d/90-vmrun.conf\n", "\nvm.swappiness = 10\n",
                           "\nw /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor - - - - performance\n",
                           "\noptions kvm halt_poll_ns=200000", "== modules-load.d/vmrun.conf\n", "\nvhost_net\n"})
    CHECK_MESSAGE(all.find(line) != std::string::npos, std::string(line));
  CHECK(lasting.boot.starts_with("isolcpus=domain,managed_irq,"));
  fs::remove(machine.root() / "sys/module/kvm/initstate");  // built in: only the command line reaches it
  CHECK(lasting_of(machine.plan("latency"), machine.audit()).boot.find(" kvm.halt_poll_ns=200000") !=
        std::string::npos);
}
