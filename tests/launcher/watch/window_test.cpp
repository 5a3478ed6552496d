// What is counted, from composed files and from this very process; and how looks become a window.
#include "launcher/watch/window.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

#include "launcher/proof/subject.hpp"
#include "launcher/watch/parse.hpp"
#include "launcher/watch/trace.hpp"
#include "tests/lacks.hpp"
#include "tests/launcher/watch/tracefs.hpp"
#include "topology/page_location.hpp"
#include "topology/task_stat.hpp"

namespace launcher::inline watch {

namespace {

namespace fs = std::filesystem;

struct Composed {
  fs::path root = fs::temp_directory_path() / fmt::format("vmrun-watch-{}", getpid());
  Subject subject;
  Composed() {
    fs::remove_all(root);
    subject.root = topology::Sysfs(root);
    subject.qemu = 4711;
  }
  ~Composed() { fs::remove_all(root); }
  void file(const std::string& path, const std::string& text) const {
    fs::create_directories((root.string() + path).substr(0, (root.string() + path).rfind('/')));
    std::ofstream(root.string() + path) << text;
  }
};

std::string stat_line(pid_t pid, const std::string& name, char state, unsigned cpu, unsigned flags = 0) {
  std::string text =
      fmt::format("{} ({}) {} 1 1 1 0 -1 {} 0 0 7 0 1 1 0 0 20 0 3 0 500 1000 25", pid, name, state, flags);
  for (int field = 25; field < 39; ++field) text += " 0";
  return text + fmt::format(" {} 0 0\n", cpu);
}

ThreadCounts vcpu(char state, const topology::CpuSet& cpus, std::uint64_t delay) {
  return {.tid = 101, .role = "vcpu 0", .name = "CPU 0/KVM", .cpus = cpus, .state = state, .delay_ns = delay};
}

Sample sample_at(std::uint64_t seconds, const ThreadCounts& thread) {
  Sample sample;
  sample.at_ns = seconds * 1'000'000'000;
  sample.threads = {thread};
  return sample;
}

}  // namespace

TEST_CASE("a task's name may hold anything; one that ends early is none") {
  const auto task = topology::parse_stat(stat_line(7, "a) R (b", 'S', 5, 0x04200000));
  REQUIRE(task);
  CHECK(task->name == "a) R (b");
  CHECK(task->state == 'S');
  CHECK(task->cpu == 5);
  CHECK(task->threads == 3);
  CHECK(task->start == 500);
  CHECK(task->pages == 25);
  CHECK(task->major_faults == 7);
  CHECK((task->kernel && task->bound));
  CHECK(!topology::parse_stat("7 (x) S 1 2"));
  CHECK(!topology::parse_stat(""));
}

TEST_CASE("interrupts and softirqs by name, on the CPUs that are asked for, also where numbers have holes") {
  const Composed composed;
  composed.file("/proc/interrupts",
                "            CPU0       CPU2       CPU3       \n"
                "  24:         10         20         30   PCI-MSI 524288-edge      nvme0q0, other\n"
                "  25:          1          0          5   IO-APIC   9-fasteoi   acpi\n"
                " LOC:        100        200        300   Local timer interrupts\n"
                " ERR:          4\n");
  composed.file(
      "/proc/softirqs",
      "                    CPU0       CPU2       CPU3       \n      NET_RX:         11         12         13\n");
  composed.file("/proc/stat", "cpu  1 1 1\ncpu2 10 0 20 1000 0 3 4 5 0 0\ncpu20 9 9 9 9 9 9 9 9 9 9\n");
  composed.file("/sys/devices/system/cpu/cpu2/thermal_throttle/core_throttle_count", "3\n");
  composed.file("/sys/devices/system/cpu/cpu2/cpufreq/scaling_cur_freq", "2400000\n");
  Sample sample;
  const auto counts = count_cpus(composed.subject, {2, 3}, sample);
  CHECK(sample.not_checked.empty());
  const CpuCounts& cpu = counts.at(2);
  CHECK(cpu.interrupts == std::map<std::string, std::uint64_t>{{"IRQ 24 other", 20}, {"LOC", 200}});
  CHECK(counts.at(3).interrupts.at("IRQ 25 acpi") == 5);
  CHECK(cpu.softirqs.at("NET_RX") == 12);
  CHECK(counts.at(3).softirqs.at("NET_RX") == 13);
  CHECK(cpu.busy_ns == 37 * 10'000'000ULL);
  CHECK(cpu.irq_ns == 7 * 10'000'000ULL);
  CHECK(cpu.steal_ns == 5 * 10'000'000ULL);
  CHECK(cpu.throttled == 3);
  CHECK(cpu.mhz == 2400);
  Sample blind;
  fs::remove_all(composed.root / "proc");
  (void)count_cpus(composed.subject, {2}, blind);
  CHECK(blind.not_checked.size() == 3);
}

TEST_CASE("a foreign task is seen where it ran last; the VM's own threads are none") {
  Composed composed;
  composed.file("/proc/20/stat", stat_line(20, "stress", 'R', 2));
  composed.file("/proc/20/schedstat", "5000 6 7\n");
  composed.file("/proc/20/task/20/stat", stat_line(20, "stress", 'R', 2));
  composed.file("/proc/20/task/21/stat", stat_line(21, "stress-child", 'R', 3));
  composed.file("/proc/20/task/21/schedstat", "9000 6 7\n");
  composed.file("/proc/30/stat", stat_line(30, "vhost-4711", 'S', 2));
  composed.file("/proc/40/stat", stat_line(40, "elsewhere", 'S', 0));
  composed.subject.threads = {{30, "vhost-4711", "vhost", false}};
  const auto tasks = count_tasks(composed.subject, {2, 3}, true);
  CHECK(tasks.at(20).ran_ns == 5000);
  CHECK(tasks.at(20).running);
  CHECK(tasks.at(21).ran_ns == 9000);
  CHECK(!tasks.contains(30));
  CHECK(!tasks.at(40).ran_ns);
  CHECK(!count_tasks(composed.subject, {2, 3}, false).at(20).ran_ns);
}

TEST_CASE("what was wrong at one look only counts") {
  const Sample first = sample_at(0, vcpu('S', {2}, 100));
  Watcher watcher(first, Scope{});
  watcher.add(sample_at(1, vcpu('T', {5}, 150)));
  watcher.add(sample_at(2, vcpu('S', {2}, 400)));
  const Window window = watcher.window();
  CHECK(window.stopped == std::vector<std::string>{"vcpu 0 (101) was stopped"});
  CHECK(window.moved == std::vector<std::string>{"vcpu 0 (101) was on 5, not on 2"});
  CHECK(window.threads.at(0).delay_ns == 300);
  CHECK(window.ns == 2'000'000'000);
  CHECK(window.looks == 3);
}

TEST_CASE("a foreign task that comes in the window counts whole, one that came from elsewhere from its first look on") {
  Sample sample = sample_at(100, vcpu('S', {2}, 0));
  Watcher watcher(sample, Scope{});
  sample.at_ns += 1'000'000'000;
  const auto ticks = static_cast<std::uint64_t>(sysconf(_SC_CLK_TCK));
  sample.tasks[5] = {"new", 100 * ticks + 10, 7'000, 2, true, false, 0};
  sample.tasks[6] = {"old", 10, 9'000, 2, true, false, 0};
  watcher.add(sample);
  sample.tasks[5].ran_ns = 8'000;
  sample.tasks[6].ran_ns = 9'500;
  sample.at_ns += 1'000'000'000;
  watcher.add(sample);
  const Window window = watcher.window();
  REQUIRE(window.tasks.size() == 2);
  CHECK(window.tasks[0].ran_ns == 8'000);
  CHECK(window.tasks[0].name == "new");
  CHECK(window.tasks[1].ran_ns == 500);
}

TEST_CASE("who took a node's memory is named, though he was gone at the end; who did not take it is not") {
  constexpr std::uint64_t mib = 1 << 20;
  const auto look = [&](std::uint64_t seconds, std::uint64_t free, std::uint64_t cache) {
    Sample sample = sample_at(seconds, vcpu('S', {2}, 0));
    sample.memory.node_free[1] = free * mib;
    sample.memory.node_size[1] = 4096 * mib;
    sample.memory.node_uses[1] = {{"the page cache", cache * mib}};
    return sample;
  };
  const auto pages = [](std::uint64_t count) {
    return count * mib / static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  };
  Sample first = look(0, 3000, 100);
  first.tasks[70] = {"bash", 10, {}, 0, false, false, pages(5)};
  Sample with_hog = look(1, 2000, 110), last = look(2, 2990, 110);
  last.tasks[70] = {"bash", 10, {}, 0, false, false, pages(7)};
  with_hog.tasks = last.tasks;
  with_hog.tasks[77] = {"hog", 500, {}, 0, false, false, pages(990)};
  Watcher watcher(first, Scope{});
  CHECK(watcher.wants_tasks(with_hog));
  watcher.add(with_hog);
  CHECK(!watcher.wants_tasks(last));
  watcher.add(last);
  CHECK(watcher.window().memory.taken_by == "hog (77): 990 MiB");
  CHECK(watcher.window().memory.node_taken == 1000 * mib);
  Watcher other(first, Scope{});
  other.add(look(1, 2000, 1000));
  CHECK(other.window().memory.taken_by == "the page cache: 900 MiB");
  Watcher unknown(first, Scope{});
  unknown.add(look(1, 2000, 110));
  CHECK(unknown.window().memory.taken_by.empty());
}

TEST_CASE("what a node's memory is used for beside processes") {
  Composed composed;
  composed.file(
      "/sys/devices/system/node/node1/meminfo",
      "Node 1 MemTotal:       1000000 kB\nNode 1 MemFree:         500000 kB\nNode 1 FilePages:       9000 kB\n"
      "Node 1 Shmem:           1000 kB\n");
  composed.file("/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages", "3\n");
  composed.file("/sys/devices/system/node/node1/hugepages/hugepages-1048576kB/nr_hugepages", "1\n");
  composed.subject.plan.placement.cells.resize(1);
  composed.subject.plan.placement.cells[0].host_nodes = {1};
  Sample sample;
  CHECK(count_memory(composed.subject, false, sample).node_uses.at(1) ==
        std::map<std::string, std::uint64_t>{{"files in memory (tmpfs, memfd)", 1000 << 10},
                                             {"the page cache", 8000 << 10},
                                             {"huge pages of the node's pools", (3ULL << 21) + (1ULL << 30)}});
}

TEST_CASE("switches are traced: a task that ran for some milliseconds between two looks is seen, with its time") {
  if (lacks(has_tracefs(), "tracefs, and root to mount it")) return;
  const auto all = topology::get_affinity(0);
  REQUIRE(all);
  const topology::CpuSet last{all->to_vector().back()};
  SwitchTrace trace(last, topology::Sysfs());
  REQUIRE(trace.error() == "");
  pid_t tid = 0;
  std::thread([&] {
    tid = gettid();
    (void)topology::set_affinity(0, last);
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(30);
    while (std::chrono::steady_clock::now() < end) continue;
  }).join();
  const auto uses = trace.take();
  const auto found = std::ranges::find(uses, tid, &TaskUse::tid);
  REQUIRE(found != uses.end());
  CHECK(found->cpus == last);
  CHECK(found->ran_ns > 1'000'000);
  CHECK(found->ran_ns < 10'000'000'000);
}

}  // namespace launcher::watch
