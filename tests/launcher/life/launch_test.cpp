// The whole launch over a fake host and a fake QEMU. What these tests hold vmrun to: after any failure the host equals its
// start, after any crash recover makes it so, and VMs that share pools and CPUs never take from each other.
#include "launcher/life/launch.hpp"

#include <dirent.h>
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "launcher/host/pci_functions.hpp"
#include "launcher/host/pools.hpp"
#include "launcher/life/last_words.hpp"
#include "launcher/steps/transaction.hpp"
#include "launcher/text/render_problem.hpp"
#include "tests/fakes/fake_host.hpp"
#include "tests/fakes/temp_dir.hpp"
#include "tests/launcher/plan/spec_of.hpp"
#include "topology/read_host.hpp"

namespace {

using namespace launcher;
using fakes::When;
using topology::CpuSet;
using topology::mib;
namespace fs = std::filesystem;

// Every kind of step: a pool, an image, a kernel, a tap with vhost, sockets, /dev/kvm, PCI functions.
Spec rich(const std::string& name) {
  return spec_of("name = \"" + name + R"("
    [cpu]
    count = 4
    [memory]
    size = "1G"
    page = "2M"
    [[disk]]
    path = "/images/db.raw"
    [[net]]
    bridge = "br0"
    queues = 2
    mtu = 9000
    [boot]
    kernel = "/boot/vmlinuz"
    [console]
    mode = "socket"
    [schedule]
    vcpu_fifo = 20
    iothread_fifo = 10
    core = true
    weight = 200
    quota = 350
    l3 = "0=f0;1=f"
    [[pci]]
    address = "0000:32:00.0"
    [[pci]]
    vf_of = "ens1f0"
    vfs = 2
    mac = "52:54:00:aa:bb:cc"
    [[usb]]
    port = "1-2"
  )");
}

Spec plain(const std::string& name, unsigned vcpus, const std::string& size = "256M", const std::string& page = "4K") {
  return spec_of(fmt::format(
      "name = \"{}\"\n[cpu]\ncount = {}\n[memory]\nsize = \"{}\"\npage = \"{}\"\n[console]\nmode = \"none\"\n", name,
      vcpus, size, page));
}

// Every kind of step of [host]; vCPUs in a partition, whose threads have to be moved.
Spec tuned() {
  return spec_of(R"(name = "db"
    [cpu]
    count = 2
    [memory]
    size = "256M"
    page = "4K"
    [console]
    mode = "none"
    [host]
    isolate = true
    governor = "performance"
    max_latency_us = 5
    [schedule]
    weight = 200
  )");
}

QemuFeatures fake_features() {
  auto features = features_from_json(fakes::read_file(fs::path(VMRUN_TESTS) / "qemu/11.1.json")).value();
  features.binary = VMRUN_FAKE_QEMU;
  return features;
}

// A machine of tests/hosts, its pools those of the fake host.
class Lab {
 public:
  explicit Lab(const std::string& machine_name = "xeon-2s-144")
      : machine(topology::read_host_argument((fs::path(VMRUN_TESTS) / "hosts" / (machine_name + ".json")).string())
                    .value()),
        base(dir / "run"),
        host(dir / "host"),
        world{.host = host,
              .base = base,
              .read_host = [this] { return as_it_is(); },
              .facts =
                  [this](const Spec& spec) {
                    Facts facts = assumed_facts(spec, machine);
                    facts.run_base = base;
                    for (DeviceFacts& device : facts.devices) look_at_function(device);
                    return facts;
                  },
              .features = []() -> std::expected<QemuFeatures, std::string> { return fake_features(); },
              .config = {},
              .memory_of = [this](pid_t pid, topology::Bytes) { return memory_of(pid); },
              .patience = std::chrono::seconds(20),
              .start_patience = std::chrono::seconds(20)} {
    fs::create_directories(base);
    for (const topology::Node& node : machine.nodes) {
      for (const topology::HugePagePool& pool : node.pools)
        host.add_pool({.node = node.id, .page = pool.page, .total = pool.total});
    }
    for (const char* file : {"/images/db.raw", "/boot/vmlinuz"}) host.add_file(file);
    machine.devices.push_back({"0000:32:00.0", "", "0108", 0, {}});
    host.add_function("0000:32:00.0", "nvme");
    const std::string cpus = machine.all_cpus().to_mask();
    host.add_value("/proc/irq/default_smp_affinity", cpus);
    host.add_value("/sys/devices/virtual/workqueue/cpumask", cpus);
    for (const unsigned cpu : machine.all_cpus().to_vector()) {
      host.add_value(fmt::format("/sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor", cpu), "schedutil");
      host.add_value(fmt::format("/sys/devices/system/cpu/cpu{}/power/pm_qos_resume_latency_us", cpu), "0");
    }
    host.add_function("0000:31:00.0", "ice");
    for (const char* one : {"0000:31:01.0", "0000:31:01.1"}) host.add_function(one, "iavf", "0000:31:00.0");
  }

  RunningVm start(const Spec& spec, const std::function<void(const LaunchPlan&)>& on_paused = {}) {
    return launch(spec, world, {}, on_paused);
  }
  std::string snapshot() const { return host.snapshot(base); }
  std::string end(const RunningVm& vm) {
    std::string text;
    for (const std::string& left : finish(host, vm.dir, base)) text += left + "\n";
    return text;
  }

  fakes::TempDir dir;
  topology::HostTopology machine;
  fs::path base;
  fakes::FakeHost host;
  World world;

 private:
  // What sysfs would say of a function that is there.
  void look_at_function(DeviceFacts& device) {
    auto* facts = std::get_if<Pci::Facts>(&device);
    if (facts == nullptr) return;
    facts->vfio_loaded = false;
    for (PciFunction& one : facts->candidates)
      if (!facts->physical) one.driver = host.function_driver(one.address);
  }

  // Free pages: what is in the pool and held by no QEMU that lives.
  topology::HostTopology as_it_is() const {
    topology::HostTopology now = machine;
    for (topology::Node& node : now.nodes) {
      for (topology::HugePagePool& pool : node.pools) {
        const std::uint64_t before = pool.total;
        pool.total = pool.free = host.total(node.id, pool.page);
        node.memory_free.count -= (pool.total - before) * pool.page.count;
        for (const VmDir& vm : VmDir::all(base)) {
          const State state = vm.read_state();
          if (!state.pages_held || !state.qemu || !is_alive(*state.qemu)) continue;
          for (const topology::PageClaim& claim : vm.reservation().pages) {
            if (claim.node == node.id && claim.page == pool.page) pool.free -= claim.pages;
          }
        }
      }
    }
    return now;
  }

  std::expected<std::vector<topology::MappedRange>, std::string> memory_of(pid_t pid) const {
    std::vector<topology::MappedRange> ranges;
    for (const VmDir& vm : VmDir::all(base)) {
      const State state = vm.read_state();
      if (!state.qemu || state.qemu->pid != pid) continue;
      for (const topology::PageClaim& claim : vm.reservation().pages) {
        topology::MappedRange range;
        range.huge = true;
        range.page = claim.page;
        range.pages_on_node[claim.node] = claim.pages;
        ranges.push_back(range);
      }
    }
    return ranges;
  }
};

std::size_t open_fds() {
  std::size_t count = 0;
  DIR* list = opendir("/proc/self/fd");
  while (readdir(list) != nullptr) ++count;
  closedir(list);
  return count;
}

bool no_children() {
  errno = 0;
  return waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD;
}

// The body in a process of its own: its exit code, FakeHost::stopped where it was stopped dead.
int in_child(const std::function<void()>& body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    int code = 1;
    try {
      body();
      code = 0;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "in the child: %s\n", whole_story(error).c_str());
    }
    _exit(code);
  }
  return reap(child);
}

std::string failure_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const std::exception& error) {
    return whole_story(error);
  }
  return "it did not fail";
}

std::string problems_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const ProblemsFound& found) {
    return render(found.problems, nullptr, false);
  }
  return "no problems";
}

}  // namespace

TEST_CASE("launch: every thread is where the plan says before the guest runs, and everything is put back after it") {
  Lab lab;
  const std::string before = lab.snapshot();
  const std::size_t fds = open_fds();
  {
    std::map<pid_t, CpuSet> pinned_when_paused;
    bool resumed_before = false;
    RunningVm vm = lab.start(rich("db"), [&](const LaunchPlan&) {
      pinned_when_paused = lab.host.pins();
      resumed_before = fakes::read_file(lab.base / "db/state.json").find("\"running\"") != std::string::npos;
    });
    CHECK(!resumed_before);
    CHECK(lab.host.total(0, mib(2)) == 512);
    CHECK(is_alive(vm.qemu));
    const topology::Placement& placement = vm.plan.placement;
    std::size_t vcpus = 0, vhosts = 0, iothreads = 0, emulators = 0;
    for (const ThreadRecord& thread : vm.state.threads) {
      INFO(thread.role);
      CHECK(pinned_when_paused.at(thread.tid) == thread.cpus);
      const std::string name = fakes::read_file(fmt::format("/proc/{}/task/{}/comm", vm.qemu.pid, thread.tid));
      if (thread.role.starts_with("vcpu ")) {
        const unsigned vcpu = static_cast<unsigned>(std::stoul(thread.role.substr(5)));
        CHECK(name == fmt::format("CPU {}/KVM\n", vcpu));
        CHECK(thread.cpus == CpuSet{placement.vcpus.at(vcpu).cpu.value()});
        ++vcpus;
      } else if (thread.role == "vhost") {
        CHECK(name.starts_with("vhost-"));
        CHECK(thread.cpus == placement.vhost);
        ++vhosts;
      } else if (thread.role == "iothread io-disk0") {
        CHECK(name == "IO io-disk0\n");
        CHECK(thread.cpus == placement.iothreads.at(0));
        ++iothreads;
      } else {
        CHECK(thread.role == "emulator");
        CHECK(thread.cpus == placement.emulator);
        ++emulators;
      }
    }
    CHECK(vcpus == 4);
    CHECK(vhosts == 2);
    CHECK(iothreads == 1);
    CHECK(emulators >= 3);
    CHECK(vm.dir.read_state().phase == Phase::running);
    CHECK(vm.dir.read_state().threads == vm.state.threads);
    CHECK(lab.host.tap_exists(tap_of("db", 0)));
    CHECK(fs::is_socket(lab.base / "db/qmp.sock"));
    CHECK(fs::is_socket(lab.base / "db/console.sock"));
    CHECK(read_reservations(lab.base).cpus() == placement.exclusive);
    CHECK(lab.end(vm) == "");
  }
  CHECK(lab.snapshot() == before);
  CHECK(open_fds() == fds);
  CHECK(no_children());
}

TEST_CASE("every verb can fail: the launch throws and the host equals its start") {
  Lab lab;
  const std::string before = lab.snapshot();
  std::size_t verbs = 0;
  std::vector<std::string> log;
  {
    RunningVm vm = lab.start(rich("db"));
    verbs = lab.host.verbs();
    log = lab.host.log();
    REQUIRE(lab.end(vm) == "");
  }
  REQUIRE(verbs > 30);
  const std::size_t fds = open_fds();
  std::size_t late = 0;
  for (std::size_t k = 0; k < 2 * verbs; ++k) {
    const std::size_t verb = k / 2;
    const When when = k % 2 == 0 ? When::before : When::after;
    INFO("verb ", verb, ": ", log[verb], std::string(when == When::before ? ", before" : ", after"), " its effect");
    lab.host.heal();
    lab.host.fail_at(verb, when);
    const std::string failure = failure_of([&] {
      const RunningVm vm = lab.start(rich("db"));
      ++late;  // a late thread that could not be pinned is no failure
      lab.host.heal();
      CHECK(lab.end(vm) == "");
    });
    if (failure != "it did not fail") CHECK(failure.find("told to fail: ") != std::string::npos);
    CHECK(lab.snapshot() == before);
    CHECK(open_fds() == fds);
    CHECK(no_children());
  }
  CHECK(late <= 2);
}

TEST_CASE(
    "every verb can be the last, before its effect or after it: recover makes the host equal its start, also twice") {
  for (const bool children_live : {false, true}) {
    Lab lab;
    if (children_live) lab.host.let_children_live();
    const std::string before = lab.snapshot();
    std::size_t verbs = 0;
    {
      RunningVm vm = lab.start(rich("db"));
      verbs = lab.host.verbs();
      REQUIRE(lab.end(vm) == "");
    }
    lab.host.exit_on_stop();
    std::size_t changed = 0;
    for (std::size_t verb = 0; verb < verbs; ++verb) {
      for (const When when : {When::before, When::after}) {
        INFO("verb ", verb, std::string(when == When::before ? " before" : " after"), " its effect, QEMU ",
             std::string(children_live ? "lives on" : "dies with vmrun"));
        lab.host.heal();
        const int code = in_child([&] {
          lab.host.stop_dead_at(verb, when);
          const RunningVm vm = lab.start(rich("db"));
          _exit(0);
        });
        CHECK((code == fakes::FakeHost::stopped || (code == 0 && verb + 3 >= verbs)));
        changed += lab.snapshot() != before ? 1 : 0;
        {
          const Lock lock(lab.base);
          const Recovered first = recover_dead(lab.host, lab.base);
          CHECK(first.names == std::vector<std::string>{"db"});
          CHECK(first.left.empty());
          CHECK(lab.snapshot() == before);
          CHECK(recover_dead(lab.host, lab.base).names.empty());
          CHECK(lab.snapshot() == before);
        }
      }
    }
    CHECK(changed == 2 * verbs);  // each crash did leave something
  }
}

TEST_CASE(
    "a keeper that is killed while the guest runs, or is paused, leaves what recover puts back; the next launch does "
    "it too") {
  Lab lab;
  lab.host.let_children_live();
  const std::string before = lab.snapshot();
  for (const bool paused : {true, false}) {
    CHECK(in_child([&] {
            const RunningVm vm = lab.start(rich("db"), [&](const LaunchPlan&) {
              if (paused) _exit(7);
            });
            _exit(7);
          }) == 7);
    CHECK(lab.host.live_processes().size() == 1);
    std::vector<std::string> said;
    Teller teller;
    teller.say = [&](const std::string& text) { said.push_back(text); };
    const RunningVm again = launch(rich("db"), lab.world, teller);  // the same name: its own remains are put back first
    CHECK(said == std::vector<std::string>{"put back what a crash of VM db had left"});
    CHECK(lab.host.total(0, mib(2)) == 512);
    CHECK(lab.host.live_processes().size() == 1);
    CHECK(lab.end(again) == "");
    CHECK(lab.snapshot() == before);
  }
}

TEST_CASE("stopped dead within this process: nothing is undone on the way out") {
  Lab lab;
  const std::string before = lab.snapshot();
  lab.host.stop_dead_at(4, When::after);
  CHECK_THROWS_AS(lab.start(rich("db")), fakes::StopDead);
  const auto left = VmDir::find(lab.base, "db");
  REQUIRE(left);
  CHECK(!left->journal().read().owed.empty());
  CHECK(lab.snapshot() != before);
  lab.host.heal();
  CHECK(recover_dead(lab.host, lab.base).names.empty());  // its owner, this process, lives
  CHECK(finish(lab.host, *left, lab.base).empty());
  CHECK(lab.snapshot() == before);
}

TEST_CASE("what cannot be undone after a failure is told, kept in the journal and done by a later recover") {
  Lab lab;
  const std::string before = lab.snapshot();
  lab.world.features = []() -> std::expected<QemuFeatures, std::string> {
    QemuFeatures features = fake_features();
    features.binary = "/nowhere/qemu";  // spawn fails by itself ...
    return features;
  };
  lab.host.heal();
  std::size_t spawned = 0;
  try {
    lab.start(rich("db"));
  } catch (const std::exception&) {
    const auto log = lab.host.log();
    spawned = static_cast<std::size_t>(
        std::find_if(log.begin(), log.end(), [](const std::string& verb) { return verb.starts_with("spawn"); }) -
        log.begin());
  }
  CHECK(lab.snapshot() == before);
  lab.host.heal();
  lab.host.fail_at(spawned + 1);  // ... and so does one of the undos
  try {
    lab.start(rich("db"));
    FAIL("it was to throw");
  } catch (const NotUndone& error) {
    CHECK(std::string(error.what()).find("cannot start /nowhere/qemu (exec): No such file or directory") !=
          std::string::npos);
    REQUIRE(error.left.size() == 1);
    CHECK(error.left[0].find("told to fail: ") != std::string::npos);
  }
  const auto left = VmDir::find(lab.base, "db");
  REQUIRE(left);
  CHECK(left->journal().read().owed.size() == 1);
  lab.host.heal();
  fakes::write_file(left->path() / "owner", R"({"pid":1,"start":1})");
  CHECK(recover_dead(lab.host, lab.base).left.empty());
  CHECK(lab.snapshot() == before);
}

TEST_CASE("two VMs that share a pool: only the deficit is raised, and either may end first") {
  for (const bool first_ends_first : {true, false}) {
    INFO("the ", std::string(first_ends_first ? "first" : "second"), " ends first");
    Lab lab;
    set_pool(lab.host.kernel, 0, mib(2), 100);  // an administrator's own
    const std::string before = lab.snapshot();
    RunningVm a = lab.start(plain("a", 4, "1G", "2M"));
    CHECK(lab.host.total(0, mib(2)) == 512);  // 100 were free
    RunningVm b = lab.start(plain("b", 4, "256M", "2M"));
    CHECK(lab.host.total(0, mib(2)) == 512 + 128);
    CHECK(!(a.plan.placement.exclusive.intersects(b.plan.placement.exclusive)));
    CHECK(lab.end(first_ends_first ? a : b) == "");
    CHECK(lab.host.total(0, mib(2)) == (first_ends_first ? 100u + 128u : 512u));
    CHECK(lab.end(first_ends_first ? b : a) == "");
    CHECK(lab.host.total(0, mib(2)) == 100);
    CHECK(lab.snapshot() == before);
  }
}

TEST_CASE("a third VM uses what an ended one's pool still has, and the administrator's change stays") {
  Lab lab;
  RunningVm a = lab.start(plain("a", 4, "1G", "2M"));
  set_pool(lab.host.kernel, 0, mib(2), 512 + 50);  // somebody adds 50 by hand
  RunningVm b = lab.start(plain("b", 4, "256M", "2M"));
  CHECK(lab.host.total(0, mib(2)) == 512 + 128);  // the 50 are used first
  CHECK(lab.end(a) == "");
  CHECK(lab.host.total(0, mib(2)) == 128);
  CHECK(lab.end(b) == "");
  CHECK(lab.host.total(0, mib(2)) == 50);
}

TEST_CASE("a name runs once") {
  Lab lab;
  const RunningVm vm = lab.start(plain("db", 2));
  const std::string running = lab.snapshot();
  CHECK(problems_of([&] { lab.start(plain("db", 2)); }) ==
        "error: name: a VM 'db' runs already on this host\n"
        "help: stop it with `vmrun stop db`, or give this one another name\n");
  CHECK(lab.snapshot() == running);
  CHECK(lab.end(vm) == "");
}

TEST_CASE("VMs started one after another never share a CPU; when the host is full, who holds it is said") {
  Lab lab;
  const std::string before = lab.snapshot();
  std::vector<RunningVm> vms;
  CpuSet taken;
  std::string full = "no problems";
  while (vms.size() < 20 && full == "no problems") {
    full = problems_of([&] { vms.push_back(lab.start(plain(fmt::format("vm{:02}", vms.size()), 12))); });
    if (full != "no problems") break;
    const CpuSet& mine = vms.back().plan.placement.exclusive;
    CHECK(mine.size() >= 12);
    CHECK(!taken.intersects(mine));
    taken |= mine;
  }
  CHECK(vms.size() >= 10);
  INFO(full);
  CHECK(full.find("error: cpu.count: ") != std::string::npos);
  CHECK(full.find("vm00 (") != std::string::npos);
  CHECK(full.find(vms.back().plan.name + " (") != std::string::npos);
  // one ends, one fits
  CHECK(lab.end(vms[3]) == "");
  const RunningVm again = lab.start(plain("again", 12));
  CHECK(again.plan.placement.exclusive == vms[3].plan.placement.exclusive);
  CHECK(lab.end(again) == "");
  for (std::size_t i = 0; i < vms.size(); ++i) {
    if (i != 3) CHECK(lab.end(vms[i]) == "");
  }
  CHECK(lab.snapshot() == before);
}

TEST_CASE("two VMs that are strictly on one node never have its ordinary memory twice") {
  Lab lab;
  const auto strict = [](const std::string& name, const std::string& size) {
    return spec_of(
        fmt::format("name = \"{}\"\n[cpu]\ncount = 4\n[memory]\nsize = \"{}\"\npage = \"4K\"\nnodes = [0]\n"
                    "[console]\nmode = \"none\"\n",
                    name, size));
  };
  RunningVm a = lab.start(strict("a", "47G"));  // of 67.9G to be had there
  const std::string refused = problems_of([&] { lab.start(strict("b", "47G")); });
  INFO(refused);
  CHECK(refused.find("error: memory.size: 47G of memory in pages of 4K do not fit on node 0") != std::string::npos);
  CHECK(refused.find("this VM needs 47G (held by a (47G))") != std::string::npos);
  const auto quoted = refused.find("set size = \"") + 12;
  const std::string size = refused.substr(quoted, refused.find('"', quoted) - quoted);
  CHECK(size.ends_with("M"));
  std::optional<RunningVm> b;
  CHECK(problems_of([&] { b.emplace(lab.start(strict("b", size))); }) == "no problems");  // the help works
  REQUIRE(b);
  CHECK(lab.end(*b) == "");
  CHECK(lab.end(a) == "");
  RunningVm again = lab.start(strict("b", "47G"));
  CHECK(lab.end(again) == "");
}

TEST_CASE("problems are found before anything is done") {
  Lab lab;
  const std::string before = lab.snapshot();
  const std::string big = problems_of([&] { lab.start(plain("big", 4, "512G", "2M")); });
  INFO(big);
  CHECK(big.find("error: memory.page: 512G of memory in pages of 2M do not fit on nodes 0,1") != std::string::npos);
  CHECK(problems_of([&] { lab.start(plain("wide", 145)); }).find("error: cpu.count: ") != std::string::npos);
  CHECK(lab.host.verbs() == 0);
  CHECK(lab.snapshot() == before);
}

TEST_CASE("pages that the kernel does not grant: told with numbers, and taken back") {
  Lab lab;
  const std::string before = lab.snapshot();
  fakes::FakeHost::Pool little{.node = 0, .page = mib(2), .total = 0, .most = 300};
  lab.host.change_pool(little);
  const std::string failure = failure_of([&] { lab.start(rich("db")); });
  CHECK(failure.find("could not raise node 0's pool of 2M pages by 512: node 0 has no room for 512 more 2M pages: the "
                     "kernel granted 300") != std::string::npos);
  CHECK(lab.host.total(0, mib(2)) == 0);
  CHECK(VmDir::all(lab.base).empty());
  little.most = 1000;
  little.fragmented = true;
  lab.host.change_pool(little);
  const RunningVm vm = lab.start(rich("db"));  // compacted, then granted
  CHECK(lab.host.total(0, mib(2)) == 512);
  CHECK(lab.end(vm) == "");
}

TEST_CASE("the user who wants out during a launch gets everything put back") {
  Lab lab;
  const std::string before = lab.snapshot();
  std::string failure = "cancelled";
  int last = 0;
  for (; last < 100 && failure == "cancelled"; ++last) {
    int asked = 0;
    Teller teller;
    teller.check_cancelled = [&] {
      if (asked++ == last) throw std::runtime_error("cancelled");
    };
    failure = failure_of([&] { lab.end(launch(rich("db"), lab.world, teller)); });
    CHECK(lab.snapshot() == before);
  }
  CHECK(failure == "it did not fail");  // it was asked no more than that often
  CHECK(last > 8);
}

TEST_CASE("a failure while the guest is paused is undone like any other") {
  Lab lab;
  const std::string before = lab.snapshot();
  CHECK(failure_of([&] { lab.start(rich("db"), [](const LaunchPlan&) { throw std::runtime_error("no console"); }); }) ==
        "no console");
  CHECK(lab.snapshot() == before);
}

TEST_CASE("a mask that a cpuset cuts is an error that names the thread and both masks") {
  Lab lab;
  const std::string before = lab.snapshot();
  lab.host.set_unpinnable(CpuSet{0});
  const std::string failure = failure_of([&] { lab.start(rich("db")); });
  INFO(failure);
  CHECK(failure.find("a cpuset of this host forbids the rest") != std::string::npos);
  CHECK(failure.find("emulator (thread ") != std::string::npos);
  CHECK(lab.snapshot() == before);
}

TEST_CASE("a CPU feature that QEMU left out ends the launch") {
  Lab lab;
  Spec spec = plain("db", 2);
  spec.cpu.add = {"avx2"};
  spec.cpu.remove = {"sse4-1"};
  {
    RunningVm vm = lab.start(spec);
    lab.end(vm);
  }
  const std::string before = lab.snapshot();
  const fakes::Environment lacks("FAKE_QEMU", "lacks=avx2");
  CHECK_THROWS_WITH(lab.start(spec), "the guest's CPU has avx2 off, but on was asked for: this host cannot give it");
  CHECK(lab.snapshot() == before);
}

TEST_CASE("[host]: done before the guest runs; whichever verb fails or is the last, all is put back") {
  Lab lab;
  const std::string before = lab.snapshot(), group = "/sys/fs/cgroup/vmrun-db";
  std::size_t verbs = 0;
  {
    RunningVm vm = lab.start(tuned());
    verbs = lab.host.verbs();
    const std::string own = vm.plan.placement.exclusive.to_string();
    CHECK(lab.host.control(group + "/cpu.weight") == "200");
    CHECK(lab.host.control(group + "/vcpus/cpuset.cpus") == own);
    CHECK(lab.host.control(group + "/vcpus/cpuset.cpus.partition") == "isolated");
    std::set<std::string> moved, vcpus;
    for (const std::string& verb : lab.host.log())
      if (const std::string file = group + "/vcpus/cgroup.threads "; verb.find(file) != verb.npos)
        moved.insert(verb.substr(verb.find(file) + file.size()));
    for (const ThreadRecord& thread : vm.state.threads)
      if (thread.role.starts_with("vcpu")) vcpus.insert(std::to_string(thread.tid));
    CHECK(vcpus.size() == 2);
    CHECK(moved == vcpus);
    const std::string cpu = fmt::format("/sys/devices/system/cpu/cpu{}/", vm.plan.placement.exclusive.first());
    CHECK(lab.host.value(cpu + "cpufreq/scaling_governor") == "performance");
    CHECK(lab.host.value(cpu + "power/pm_qos_resume_latency_us") == "5");
    CHECK(lab.host.value("/sys/devices/virtual/workqueue/cpumask") ==
          (lab.machine.all_cpus() - vm.plan.placement.exclusive).to_mask());
    CHECK(lab.end(vm) == "");
  }
  CHECK(lab.snapshot() == before);
  lab.host.exit_on_stop();
  for (std::size_t verb = 0; verb < verbs; ++verb) {
    INFO("verb ", verb);
    for (const When when : {When::before, When::after}) {
      lab.host.heal();
      lab.host.fail_at(verb, when);
      failure_of([&] {
        const RunningVm vm = lab.start(tuned());
        lab.host.heal();
        CHECK(lab.end(vm) == "");
      });
      CHECK(lab.snapshot() == before);
      lab.host.heal();
      in_child([&] {
        lab.host.stop_dead_at(verb, when);
        const RunningVm vm = lab.start(tuned());
        _exit(0);
      });
      const Lock lock(lab.base);
      CHECK(recover_dead(lab.host, lab.base).left.empty());
      CHECK(lab.snapshot() == before);
    }
  }
}

TEST_CASE("scheduling: set before the guest runs, read back, and gone with the VM") {
  Lab lab;
  const std::string before = lab.snapshot();
  const std::string group = "/sys/fs/cgroup/vmrun/vm-db", caches = "/sys/fs/resctrl/vmrun-db";
  {
    RunningVm vm = lab.start(rich("db"));
    CHECK(lab.host.control(group + "/cpu.weight") == "200");
    CHECK(lab.host.control(group + "/cpu.max") == "350000 100000");
    CHECK(lab.host.control(caches + "/schemata") == "L3:1=f");
    std::map<unsigned, unsigned> threads;
    for (const auto& [tid, priority] : lab.host.fifos()) ++threads[priority];
    CHECK(threads == std::map<unsigned, unsigned>{{10, 1}, {20, 4}});
    CHECK(lab.host.child(vm.qemu.pid).uid == vm.plan.uid);
    CHECK(lab.host.control(group + "/cgroup.procs").starts_with(std::to_string(vm.qemu.pid) + " "));
    CHECK(vm.plan.start().child.cgroup == group);
    CHECK(vm.plan.start().child.cache_group == caches);
    CHECK(vm.plan.start().child.own_core_cookie);
    Spec other = rich("web");  // shares the group above, not the VM's own
    std::erase_if(other.devices, [](const Device& device) {
      return std::holds_alternative<Pci>(device) || std::holds_alternative<Usb>(device);
    });
    const RunningVm second = lab.start(other);
    CHECK(lab.end(vm) == "");
    CHECK(lab.host.control(group + "/cpu.weight") == "");
    CHECK(lab.host.control("/sys/fs/cgroup/vmrun/vm-web/cpu.weight") == "200");
    CHECK(finish(lab.host, second.dir, lab.base).empty());
  }
  CHECK(lab.snapshot() == before);
  lab.host.set_deaf(group + "/cpu.weight");
  CHECK_THROWS(lab.start(rich("db")));
  CHECK(lab.snapshot() == before);
  lab.host.set_deaf("");
  lab.host.set_cookieless(true);
  CHECK_THROWS_WITH(lab.start(rich("db")), "QEMU has no core scheduling cookie, though it was made with one");
  CHECK(lab.snapshot() == before);
}

TEST_CASE("guest memory that lies elsewhere than planned ends the launch") {
  Lab lab;
  const std::string before = lab.snapshot();
  lab.world.memory_of = [](pid_t, topology::Bytes) { return std::vector<topology::MappedRange>{}; };
  CHECK(failure_of([&] { lab.start(rich("db")); }) == "node 0 holds 0 of the guest's 512 pages of 2M");
  CHECK(lab.snapshot() == before);
}

TEST_CASE("a QEMU that misbehaves: why is said, and everything is undone") {
  struct Row {
    const char* behaviour;
    std::vector<const char*> said;
  };
  const std::vector<const char*> ended = {"QEMU ended before it was up (exit code 1): "};
  const auto ended_with = [&](const char* words) {
    std::vector<const char*> all = ended;
    all.push_back(words);
    return all;
  };
  const std::vector<Row> rows = {
      {"early-exit", ended_with("qemu-system-x86_64: ")},
      {"exit-after-greeting", ended_with("qemu-system-x86_64: -device foo: 'foo' is not a valid device model name")},
      {"die-after=query-cpus-fast", ended_with("fake: told to die after query-cpus-fast")},
      {"garbage", {"broken QMP line, not JSON"}},
      {"half-line", {"ended within a line"}},
      {"huge-line", {"QEMU"}},
      {"silence", {"greeting"}},
      {"wrong-id", {"QEMU sent a reply with id 777777 where 1 was awaited"}},
      {"wrong-id=query-cpus-fast", {"QEMU sent a reply with id 777777 where 2 was awaited"}},
      {"wrong-id=cont", {"QEMU sent a reply with id 777777 where 4 was awaited"}},
      {"missing-vcpu", {"QEMU has no thread for vCPU 3"}},
      {"event-flood=forever", {""}},
  };
  Lab lab;
  lab.world.patience = lab.world.start_patience = std::chrono::milliseconds(1500);
  const std::string before = lab.snapshot();
  const std::size_t fds = open_fds();
  for (const Row& row : rows) {
    INFO(std::string(row.behaviour));
    const fakes::Environment broken("FAKE_QEMU", row.behaviour);
    const std::string failure = failure_of([&] { lab.start(rich("db")); });
    INFO(failure);
    CHECK(failure != "it did not fail");
    CHECK(failure.size() < 20'000);
    for (const char* words : row.said) {
      INFO(std::string(words));
      CHECK(failure.find(words) != std::string::npos);
    }
    CHECK(lab.snapshot() == before);
    CHECK(open_fds() == fds);
    CHECK(no_children());
  }
}

TEST_CASE("a QEMU that is only slow or talkative is waited for") {
  for (const char* behaviour : {"slow=50", "event-flood=20000", "shuffle-vcpus", "die-after=cont"}) {
    INFO(std::string(behaviour));
    Lab lab;
    const std::string before = lab.snapshot();
    const fakes::Environment odd("FAKE_QEMU", behaviour);
    std::string end = "not started";
    const std::string failure = failure_of([&] {
      RunningVm vm = lab.start(rich("db"));
      for (const ThreadRecord& thread : vm.state.threads) {
        if (!thread.role.starts_with("vcpu ") || !is_alive(vm.qemu)) continue;
        const std::string name = fakes::read_file(fmt::format("/proc/{}/task/{}/comm", vm.qemu.pid, thread.tid));
        // one that dies after `cont` may have ended between the two looks
        const bool ending = name.empty() && std::string_view(behaviour) == "die-after=cont";
        if (!ending) CHECK(name == fmt::format("CPU {}/KVM\n", thread.role.substr(5)));
        CHECK(thread.cpus == CpuSet{vm.plan.placement.vcpus.at(std::stoul(thread.role.substr(5))).cpu.value()});
      }
      end = lab.end(vm);
    });
    CHECK(failure == "it did not fail");
    CHECK(end == "");
    CHECK(lab.snapshot() == before);
  }
}

TEST_CASE("the plan alone changes nothing, and is the plan that is launched") {
  Lab lab;
  const std::string before = lab.snapshot();
  const auto planned = plan_only(rich("db"), lab.world, Ledger::read);
  REQUIRE(planned);
  CHECK(lab.host.verbs() == 0);
  CHECK(lab.snapshot() == before);
  const RunningVm vm = lab.start(rich("db"));
  CHECK(to_json(vm.plan) == to_json(planned->plan));
  // planned again beside itself it is the same again: its own claim does not stand in its way ...
  const auto beside = plan_only(plain("other", 2), lab.world, Ledger::read);
  REQUIRE(beside);
  CHECK(!beside->plan.placement.exclusive.intersects(vm.plan.placement.exclusive));
  const auto elsewhere = plan_only(plain("other", 4), lab.world, Ledger::none);
  REQUIRE(elsewhere);
  CHECK(elsewhere->plan.placement.exclusive.intersects(
      vm.plan.placement.exclusive));  // ... and no ledger is read for another machine
  CHECK(lab.end(vm) == "");
}

TEST_CASE("each stage is timed, in order") {
  Lab lab;
  const RunningVm vm = lab.start(rich("db"));
  std::vector<std::string> names;
  for (const auto& [stage, time] : vm.timings.stages()) names.push_back(stage);
  CHECK(names == std::vector<std::string>{"look at QEMU and files", "lock and recover", "plan", "reserve pages",
                                          "open devices", "start QEMU", "QEMU up", "pin", "resume"});
  CHECK(lab.end(vm) == "");
}

TEST_CASE("virtual functions that vmrun made go with the last VM that uses one, whichever ends first") {
  for (const bool first_ends_first : {true, false}) {
    INFO("the ", std::string(first_ends_first ? "first" : "second"), " ends first");
    Lab lab;
    const std::string before = lab.snapshot();
    const auto user = [](const std::string& name) {
      Spec spec = plain(name, 2);
      const Spec with = spec_of("[memory]\nsize = \"1G\"\n[[pci]]\nvf_of = \"ens1f0\"\nvfs = 2\n");
      spec.devices.push_back(with.devices.back());
      return spec;
    };
    RunningVm a = lab.start(user("a")), b = lab.start(user("b"));
    REQUIRE(a.plan.functions.size() == 1);
    CHECK(a.plan.functions[0].address == "0000:31:01.0");
    REQUIRE(b.plan.functions.size() == 1);
    CHECK(b.plan.functions[0].address == "0000:31:01.1");
    CHECK(problems_of([&] { lab.start(user("c")); }).find("it belongs to VM b") != std::string::npos);
    CHECK(lab.end(first_ends_first ? a : b) == "");
    const std::string left = first_ends_first ? "0000:31:01.1" : "0000:31:01.0";
    CHECK(lab.host.function_driver(left) == "vfio-pci");  // the other's is untouched
    CHECK(lab.host.function_driver(first_ends_first ? "0000:31:01.0" : "0000:31:01.1") == "iavf");
    CHECK(lab.end(first_ends_first ? b : a) == "");
    CHECK(lab.snapshot() == before);
  }
}

TEST_CASE("virtual functions that somebody else made stay") {
  Lab lab;
  set_vfs(lab.host.kernel, "0000:31:00.0", 2);
  const std::string before = lab.snapshot();
  const auto facts = lab.world.facts;
  lab.world.facts = [&](const Spec& spec) {
    Facts all = facts(spec);
    auto& pci = std::get<Pci::Facts>(all.devices.back());
    pci.physical->vfs = {"0000:31:01.0", "0000:31:01.1"};
    pci.candidates[0].uses = {"interface ens1f0v0 is up"};
    return all;
  };
  Spec spec = plain("a", 2);
  spec.devices.push_back(spec_of("[memory]\nsize = \"1G\"\n[[pci]]\nvf_of = \"ens1f0\"\n").devices.back());
  RunningVm vm = lab.start(spec);
  REQUIRE(vm.plan.functions.size() == 1);
  CHECK(vm.plan.functions[0].address == "0000:31:01.1");
  CHECK(lab.end(vm) == "");
  CHECK(lab.snapshot() == before);
}

TEST_CASE("a function whose driver changed since it was looked at is left alone") {
  Lab lab;
  Spec spec = plain("a", 2);
  spec.devices.push_back(spec_of("[memory]\nsize = \"1G\"\n[[pci]]\naddress = \"0000:32:00.0\"\n").devices.back());
  const auto facts = lab.world.facts;
  lab.world.facts = [&](const Spec& asked) {
    Facts all = facts(asked);
    unbind_driver(lab.host.kernel, "0000:32:00.0");
    return all;
  };
  const std::string failure = failure_of([&] { lab.start(spec); });
  CHECK(failure.find("it changed since it was looked at: driver nvme was bound, now no driver is") !=
        std::string::npos);
}
