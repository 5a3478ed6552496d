// [host]: what is planned for the VM's own CPUs, what is refused where it was asked for and told where it was not; and the
// steps that keep CPUs for one VM, over a fake host.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "launcher/plan/plan.hpp"
#include "launcher/plan/tuning_facts.hpp"
#include "launcher/text/render_problem.hpp"
#include "tests/fakes/fake_host.hpp"
#include "tests/fakes/temp_dir.hpp"
#include "tests/launcher/plan/spec_of.hpp"
#include "tests/launcher/steps/doing.hpp"
#include "topology/read_host.hpp"

namespace {

using namespace launcher;
using topology::CpuSet;
namespace fs = std::filesystem;

const std::string top = "/sys/fs/cgroup", slice = top + "/system.slice/cpuset.cpus";

struct Tuned {
  Spec spec;
  topology::HostTopology host =
      topology::read_host_argument((fs::path(VMRUN_TESTS) / "hosts/xeon-2s-144.json").string()).value();
  Facts facts;

  explicit Tuned(const std::string& keys) {
    spec = spec_of(
        "name = \"db\"\n[cpu]\ncount = 4\npin = [2, 3, 4, 5]\nemulator = \"0-1\"\n[memory]\nsize = \"1G\"\n" + keys);
    facts = assumed_facts(spec, host);
  }
  std::expected<LaunchPlan, Problems> made() const {
    static const QemuFeatures qemu =
        features_from_json(fakes::read_file(fs::path(VMRUN_TESTS) / "qemu/11.1.json")).value();
    return make_plan(spec, host, {}, {}, qemu, facts);
  }
  LaunchPlan plan() const {
    auto plan = made();
    REQUIRE_MESSAGE(plan.has_value(), (plan ? "" : render(plan.error(), nullptr, false)));
    return *plan;
  }
  std::string problems() const {
    const auto plan = made();
    return plan ? "none" : render(plan.error(), nullptr, false);
  }
  CpuSettings& cpu(unsigned number) { return facts.tuning.cpus.at(number); }
};

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

bool noted(const LaunchPlan& plan, const std::string& part) {
  return std::any_of(plan.notes.begin(), plan.notes.end(), [&](const std::string& note) { return has(note, part); });
}

// Those of the plan that are of this kind, as they are described.
template <class Kind>
std::vector<std::string> texts_of(const LaunchPlan& plan) {
  std::vector<std::string> found;
  for (const PlannedStep& planned : plan.steps)
    if (std::holds_alternative<Kind>(planned.step)) found.push_back(describe(planned.step));
  return found;
}

// The same of the changes of this kind to kernel files whose names end like that.
template <class Kind>
std::vector<std::string> changes_of(const LaunchPlan& plan, const std::string& of = "") {
  std::vector<std::string> found;
  for (const PlannedStep& planned : plan.steps)
    if (const auto* change = std::get_if<ChangeFile>(&planned.step))
      if (std::holds_alternative<Kind>(change->change) && change->path.ends_with(of))
        found.push_back(describe(planned.step));
  return found;
}

using Texts = std::vector<std::string>;

using Kernel = Doing;

}  // namespace

TEST_CASE("isolate: a partition within the VM's group, or beside it where the kernel wants that") {
  Tuned one("[host]\nisolate = true\n");
  LaunchPlan plan = one.plan();
  CHECK(plan.partition == top + "/vmrun-db/vcpus");
  CHECK(plan.start().child.cgroup == top + "/vmrun-db");
  CHECK(changes_of<Partition>(plan) == Texts{"write isolated to " + top + "/vmrun-db/vcpus/cpuset.cpus.partition"});
  CHECK(noted(plan, "the cpuset controller is turned on in /sys/fs/cgroup/cgroup.subtree_control, and stays on"));
  CHECK(noted(plan, "beside isolcpus= and nohz_full="));
  one.facts.tuning.isolation.nested = false;
  plan = one.plan();
  CHECK(plan.partition == top + "/vmrun-db:vcpus");
  CHECK(plan.start().child.cgroup == top + "/vmrun-db");
  const Texts writes = changes_of<Word>(plan);
  CHECK(std::count(writes.begin(), writes.end(), "write threaded to " + top + "/vmrun-db/cgroup.type") == 1);
  CHECK(std::count(writes.begin(), writes.end(),
                   "write " + plan.placement.exclusive.to_string() + " to " + plan.partition + "/cpuset.cpus") == 1);
}

TEST_CASE("isolate: beside a weight and a quota") {
  Tuned one("[host]\nisolate = true\n[schedule]\nweight = 300\nquota = 150\n");
  CHECK(changes_of<Cpus>(one.plan(), "/cpuset.cpus").empty());
  one.facts.tuning.isolation.nested = false;
  const LaunchPlan plan = one.plan();  // then the groups of others lose the CPUs
  CHECK(plan.partition.empty());
  CHECK(noted(plan, "one schedule.quota over a partition and the VM's other threads came with Linux 6.8"));
  CHECK(changes_of<Cpus>(plan, "/cpuset.cpus").size() == 2);
  one.facts.tuning.isolation.no_cpu = "the cpu controller is not in /sys/fs/cgroup";
  CHECK(has(one.problems(), "error: schedule.weight: the cpu controller is not in /sys/fs/cgroup"));
}

TEST_CASE("isolate: refused, or told where it is \"auto\", with the reason") {
  Tuned one("[host]\nisolate = true\n");
  const auto refused = [&](const std::string& why) {
    one.spec.host.isolate = Wish::yes;
    CHECK(has(one.problems(), "error: host.isolate: " + why));
    one.spec.host.isolate = Wish::maybe;
    const LaunchPlan plan = one.plan();
    CHECK(noted(plan, "host.isolate: not done: " + why));
    CHECK(plan.partition.empty());
    CHECK(texts_of<MakeGroup>(plan).empty());
  };
  one.facts.tuning.isolation.why = "this host has no cgroups of version 2";
  refused("this host has no cgroups of version 2");
  one.facts.tuning.isolation.why = "";
  one.facts.tuning.isolation.no_partition = "isolated partitions came with Linux 6.1";
  one.facts.tuning.isolation.groups.clear();
  refused("isolated partitions came with Linux 6.1, and there are no groups to take CPUs from");
  one.facts.tuning.isolation.groups = {{top + "/a.slice", "2-3"}};
  refused("isolated partitions came with Linux 6.1, and /sys/fs/cgroup/a.slice has no other CPUs than 2-3");
  one.facts.tuning.isolation.partitioned = CpuSet{8, 9};
  refused("isolated partitions came with Linux 6.1, and a partition has CPUs 8-9");
  one.spec.cpu.emulator = CpuSet{0, 2};
  refused("QEMU's main loop shares CPUs 2 with vCPUs");
  one.spec.cpu.emulator = CpuSet{0, 1};
  one.spec.cpu.pin = topology::Pinning::off;
  refused("this VM has no CPUs of its own");
  one.facts.root = false;
  one.facts.tuning.isolation.why = "";
  refused("that needs root");
}

TEST_CASE("isolate: groups of others lose the CPUs where a partition would not be valid") {
  Tuned one("[host]\nisolate = true\n");
  one.facts.tuning.isolation.nested = false;
  one.facts.tuning.isolation.groups = {{top + "/system.slice", ""}, {top + "/a.slice", "0-3"}, {top + "/b.slice", "9"}};
  const LaunchPlan plan = one.plan();
  CHECK(noted(plan, "no partition (/sys/fs/cgroup/a.slice has CPUs 2-3 in its cpuset.cpus)"));
  const std::string own = plan.placement.exclusive.to_string();
  CHECK(changes_of<Cpus>(plan, "/cpuset.cpus") ==
        Texts{"take CPUs " + own + " out of " + slice, "take CPUs 2-3 out of " + top + "/a.slice/cpuset.cpus"});
}

TEST_CASE("governor, energy: on the VM's own CPUs, once for those that share a clock, and not for others' CPUs") {
  Tuned one("[host]\ngovernor = \"performance\"\nenergy = \"performance\"\n");
  const CpuSet own = one.plan().placement.exclusive;
  one.cpu(3).governor = "performance";
  one.cpu(4).shared = one.cpu(5).shared = CpuSet{4, 5};
  Texts governors;
  for (const std::string& text : changes_of<Value>(one.plan()))
    if (has(text, "governor")) governors.push_back(text);
  CHECK(governors.size() == own.size() - 2);
  CHECK(governors.front() ==
        "set /sys/devices/system/cpu/cpu2/cpufreq/scaling_governor from 'schedutil' to 'performance'");
  one.cpu(4).shared = CpuSet{4, 70};
  CHECK(has(one.problems(), "error: host.governor: it would be set for CPUs 70 as well"));
  one.spec.host.governor = one.spec.host.energy = Wish::maybe;
  CHECK(noted(one.plan(), "host.energy: not done: it would be set for CPUs 70 as well"));
  one.cpu(4).shared = CpuSet{4};
  one.cpu(2).energies = "default power";
  one.cpu(5).governor.reset();
  CHECK(noted(one.plan(), "host.energy: not done: CPUs 2 have no cpufreq/energy_performance_preference with"));
  one.spec.host.governor = Wish::yes;
  CHECK(has(one.problems(), "error: host.governor: CPUs 5 have no cpufreq/scaling_governor with \"performance\""));
}

TEST_CASE("max_latency_us: the kernel's limit for a CPU, else its idle states") {
  Tuned one("[host]\nmax_latency_us = 1\n");
  const CpuSet own = one.plan().placement.exclusive;
  CHECK(changes_of<Value>(one.plan()).front() ==
        "set /sys/devices/system/cpu/cpu2/power/pm_qos_resume_latency_us from '0' to '1'");
  one.spec.host.max_latency = 0;
  CHECK(has(changes_of<Value>(one.plan()).front(), "from '0' to 'n/a'"));
  for (const unsigned cpu : own.to_vector()) one.cpu(cpu).latency.reset();
  CHECK(changes_of<Value>(one.plan()).front() ==
        "set /sys/devices/system/cpu/cpu2/cpuidle/state1/disable from '0' to '1'");
  one.spec.host.max_latency = 2;
  CHECK(changes_of<Value>(one.plan()).empty());
  for (const unsigned cpu : own.to_vector()) one.cpu(cpu).idle.clear();
  CHECK(noted(one.plan(), "host.max_latency_us: this host's kernel knows no C-states"));
}

TEST_CASE("interrupts and unbound work leave the VM's CPUs, and never have none") {
  Tuned one("[host]\ninterrupts = \"move\"\n");
  one.facts.tuning.interrupts = {{24, "nvme0q0", CpuSet{0, 1, 2}}, {25, "nvme0q1", CpuSet{3}}, {26, "eth0", CpuSet{9}}};
  one.facts.tuning.default_interrupt = {};
  one.facts.tuning.balanced = true;
  LaunchPlan plan = one.plan();
  CHECK(changes_of<Cpus>(plan) == Texts{"take CPUs 2 out of /proc/irq/24/smp_affinity_list",
                                        "take CPUs 3 out of /proc/irq/25/smp_affinity_list, put CPUs 0-1 into it"});
  CHECK(noted(plan, "irqbalance runs and may move them back"));
  CHECK(noted(plan, "moved: 24 nvme0q0, 25 nvme0q1"));
  one.spec.host = {};
  one.spec.host.isolate = Wish::yes;  // implies both
  CHECK(changes_of<Cpus>(one.plan()).size() == 3);
  one.spec.host.interrupts = false;
  CHECK(changes_of<Cpus>(one.plan()).size() == 1);
  one.spec.host.workqueues = false;
  plan = one.plan();
  CHECK(changes_of<Cpus>(plan).size() == 1);
  CHECK(noted(plan, "host.workqueues: moved all the same"));
  one.facts.tuning.isolation.nested = false;
  CHECK(changes_of<Cpus>(one.plan()).empty());
  one.spec.host.workqueues = true;
  one.facts.tuning.workqueues = {};
  CHECK(has(one.problems(), "error: host.workqueues: this kernel has no mask for unbound workqueues"));
}

TEST_CASE("[host] without root: every key that was asked for is refused") {
  Tuned one(
      "[host]\ngovernor = \"performance\"\nenergy = \"auto\"\nmax_latency_us = 0\ninterrupts = \"move\"\n"
      "workqueues = \"move\"\n");
  one.facts.root = false;
  const std::string problems = one.problems();
  for (const char* key : {"governor", "max_latency_us", "interrupts", "workqueues"})
    CHECK(has(problems, std::string("error: host.") + key + ": that needs root"));
  CHECK(!has(problems, "host.energy"));
}

TEST_CASE("a partition is one only if the kernel says so") {
  Kernel kernel;
  const Step make = ChangeFile{top + "/vmrun-db/vcpus/cpuset.cpus.partition", Partition{}};
  kernel.undo(make);  // its group is not there
  kernel.run(MakeGroup{top + "/vmrun-db/vcpus", false});
  kernel.run(make);
  kernel.undo(make);
  CHECK(kernel.host.control(std::get<ChangeFile>(make).path) == "member");
  kernel.host.set_deaf(std::get<ChangeFile>(make).path);
  CHECK_THROWS_WITH(kernel.run(make), "the kernel makes no isolated partition of it: member");
}

TEST_CASE("CPUs taken from a group by several VMs come back whichever ends first") {
  for (const bool in_order : {true, false}) {
    Kernel kernel;
    kernel.host.add_value(slice, "\n");
    kernel.host.add_value(top + "/cpuset.cpus.effective", "0-7");
    const Step a = ChangeFile{slice, Cpus{{2, 3}, {}}}, b = ChangeFile{slice, Cpus{{4, 5}, {}}};
    kernel.undo(a);  // before it was done
    CHECK(kernel.host.value(slice) == "");
    kernel.run(a);
    kernel.run(b);
    CHECK(kernel.host.value(slice) == "0-1,6-7");
    kernel.undo(in_order ? a : b);
    CHECK(kernel.host.value(slice) == (in_order ? "0-3,6-7" : "0-1,4-7"));
    for (int twice = 0; twice < 2; ++twice) kernel.undo(in_order ? b : a);
    CHECK(kernel.host.value(slice) == "");  // as it was: all of them
    kernel.host.drop_value(slice);
    kernel.run(a);
    kernel.undo(a);
    kernel.host.add_value(slice, "2-3");
    CHECK_THROWS_WITH(kernel.run(a), "no CPU would be left in it");
  }
}
