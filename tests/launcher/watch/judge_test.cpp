// The verdict on windows that are written down here: a quiet one is clean, each disturbance is named, and nothing else is.
#include "launcher/watch/judge.hpp"

#include <doctest/doctest.h>

#include <stdexcept>

namespace launcher::inline watch {

namespace {

constexpr std::uint64_t second = 1'000'000'000;

// Ten seconds of a VM with two vCPUs on 2 and 3, an iothread on 4, its emulator on 0; much of its own I/O, and nothing else.
Window quiet() {
  Window window;
  window.ns = 10 * second;
  window.looks = 11;
  window.threads = {{101, "vcpu 0", "CPU 0/KVM", {2}, 9 * second, 2'000'000, 50, 40, 2, 0},
                    {102, "vcpu 1", "CPU 1/KVM", {3}, 3 * second, 1'000'000, 900, 800, 1, 0},
                    {103, "iothread disk0", "IO disk0", {4}, 2 * second, 5'000'000, 90, 80, 3, 0},
                    {100, "emulator", "qemu", {0, 1}, second, 900'000'000, 50, 40, 30, 12}};
  window.cpus = {{2, true, {{"LOC", 2500}, {"RES", 900}}, {{"TIMER", 2500}, {"RCU", 80}}, 9 * second, 0, 0, 3100, 0},
                 {3, true, {{"LOC", 1500}, {"CAL", 30}}, {{"SCHED", 200}}, 3 * second, 10'000'000, 0, 3100, 0},
                 {4, true, {{"IRQ 40 nvme0q4", 900'000}}, {{"BLOCK", 900'000}}, 2 * second, second, 0, 3100, 0}};
  window.tasks = {{9, "[migration/2]", {2}, 40'000, true}};
  window.memory.remote = 0;
  window.memory.remote_more = 0;
  window.memory.ksm_scanned = 0;
  window.memory.stalled_us = 200;
  window.memory.node_size = 1ULL << 34;
  window.memory.node_taken = 1 << 20;
  return window;
}

std::string verdict(const Window& window, const Thresholds& thresholds = {}) {
  std::string text;
  for (const Offender& one : judge(window, thresholds))
    text += one.what + "|" + one.subject + "|" + one.who + "|" + one.amount + "\n";
  return text;
}

}  // namespace

TEST_CASE("a quiet window is clean") { CHECK(verdict(quiet()).empty()); }

TEST_CASE("a task on a vCPU's CPU is named, and the delay that it made is put to it") {
  Window window = quiet();
  window.tasks.insert(window.tasks.begin(), {815, "stress", {3}, second, false});
  window.threads[1].delay_ns = second;
  CHECK(verdict(window) ==
        "run-delay|vcpu 1 (102)|stress (815)|10.0 % of the window\nforeign-task|CPUs 3|stress (815)|10.0 % of the "
        "window\n");
}

TEST_CASE("what the kernel keeps on a CPU counts as its interrupts do, and from the first delay on that it makes") {
  Window window = quiet();
  window.tasks.insert(window.tasks.begin(), {53, "[kworker/3:0H-kblockd]", {3}, second / 10, true});
  CHECK(verdict(window).empty());
  window.threads[1].delay_ns = second / 10;
  CHECK(verdict(window) ==
        "run-delay|vcpu 1 (102)|[kworker/3:0H-kblockd] (53), which the kernel keeps there|1.00 % of the window\n");
  window.threads[1].delay_ns = 0;
  window.tasks[0].ran_ns = second;
  CHECK(verdict(window) ==
        "kernel-worker|CPUs 3|[kworker/3:0H-kblockd] (53), which the kernel keeps there|10.0 % of the window\n");
}

TEST_CASE("a delay that nothing explains is no proof where the host of this host takes time without telling") {
  Window window = quiet();
  window.threads[1].delay_ns = second;
  CHECK(verdict(window) == "run-delay|vcpu 1 (102)||10.0 % of the window\n");
  CHECK(unproven(window, {}).empty());
  window.steal_told = false;
  CHECK(verdict(window).empty());
  REQUIRE(unproven(window, {}).size() == 1);
  CHECK(unproven(window, {})[0].starts_with("run-delay: vcpu 1 (102): 10.0 % of the window: nothing here explains it"));
  window.tasks.insert(window.tasks.begin(), {53, "[kworker/3:0]", {3}, second, true});  // it may have been stolen from
  CHECK(verdict(window).empty());
  CHECK(unproven(window, {}).size() == 2);
  window.tasks[0] = {31, "[ksoftirqd/3]", {3}, second, true};
  window.cpus[1].softirqs = {{"NET_RX", 5}};
  CHECK(verdict(window).starts_with("run-delay|vcpu 1 (102)|[ksoftirqd/3] (31)"));
  window.cpus[1].softirqs.clear();
  window.tasks[0] = {815, "stress", {3}, second, false};
  CHECK(verdict(window).starts_with("run-delay|vcpu 1 (102)|stress (815)|"));
  CHECK(unproven(window, {}).empty());
}

TEST_CASE("memory that is back, and a scheduling that is as it was, count") {
  Window window = quiet();
  window.memory.moved = 1 << 20;  // what compaction does
  CHECK(verdict(window).empty());
  window.memory.moved = 2 << 20;
  window.policy = {"vcpu 0 (101) was scheduled as idle, not as other"};
  CHECK(verdict(window) ==
        "policy|vcpu 0 (101) was scheduled as idle, not as other||1 times\n"
        "memory-moved|guest memory|somebody, or the kernel, who moved it from one place to another|2097152 bytes\n");
}

TEST_CASE(
    "tasks of one name that are each too short to count are told together; the kernel's own on each CPU are not") {
  Window window = quiet();
  for (pid_t tid = 1000; tid < 1100; ++tid)
    window.tasks.push_back({tid, "cc1", {2 + static_cast<unsigned>(tid % 2)}, 10'000'000, false});
  for (pid_t tid = 2000; tid < 2100; ++tid) window.tasks.push_back({tid, "[kworker]", {2}, 10'000'000, true});
  CHECK(verdict(window) == "foreign-task|CPUs 2-3|100 tasks called cc1|10.0 % of the window\n");
}

TEST_CASE("a delay that nothing explains names nobody") {
  Window window = quiet();
  window.threads[0].delay_ns = second;
  CHECK(verdict(window) == "run-delay|vcpu 0 (101)||10.0 % of the window\n");
}

TEST_CASE("the host of the host, a limit of the VM's own groups, and its own threads can be the reason") {
  Window window = quiet();
  window.threads[0].delay_ns = second;
  window.cpus[0].steal_ns = second;
  CHECK(verdict(window) ==
        "run-delay|vcpu 0 (101)|the host of this host, on CPU 2|10.0 % of the window\n"
        "steal|CPU 2|the host of this host|10.0 % of the window\n");
  window = quiet();
  window.threads[0].delay_ns = second;
  window.throttled_us = {{"/sys/fs/cgroup/batch", 900'000}};
  CHECK(verdict(window) ==
        "limit|/sys/fs/cgroup/batch|its cpu.max|9.00 % of the window\n"
        "run-delay|vcpu 0 (101)|the limit (cpu.max) of /sys/fs/cgroup/batch|10.0 % of the window\n");
  window = quiet();
  window.threads[0].delay_ns = second;
  window.threads[3].cpus = {0, 2};
  CHECK(verdict(window) == "run-delay|vcpu 0 (101)|the VM's own emulator (100)|10.0 % of the window\n");
}

TEST_CASE("interrupts count on CPUs of vCPUs, not where the VM's own I/O ends") {
  Window window = quiet();
  window.cpus[1].interrupts.push_back({"IRQ 51 eth0-rx-1", 90'000});
  window.cpus[1].softirqs.push_back({"NET_RX", 120'000});
  CHECK(verdict(window) ==
        "interrupts|CPU 3|IRQ 51 eth0-rx-1|9000.0 a second\ninterrupts|CPU 3|softirq NET_RX|12000.0 a second\n");
  window = quiet();
  window.cpus[1].interrupts.push_back({"IRQ 60 vfio-msix[1](0000:31:00.0)", 900'000});
  CHECK(verdict(window).empty());
  window.cpus[1].irq_ns = second;
  CHECK(verdict(window) == "interrupt-time|CPU 3||10.0 % of the window\n");
}

TEST_CASE("a thread of softirqs is told with what it did") {
  Window window = quiet();
  window.cpus[1].softirqs = {{"TIMER", 900}, {"NET_RX", 120}, {"BLOCK", 3}};
  window.tasks.push_back({31, "[ksoftirqd/3]", {3}, second, true});
  CHECK(verdict(window) ==
        "kernel-worker|CPUs 3|[ksoftirqd/3] (31), which the kernel keeps there, for softirq NET_RX|10.0 % of the "
        "window\n");
}

TEST_CASE("memory, heat, siblings, stops and moves") {
  Window window = quiet();
  window.memory.remote_more = 4096;
  window.memory.major_faults = 1000;
  window.memory.ksm_scanned = 10'000;
  CHECK(verdict(window) ==
        "remote-memory|guest memory|moved to a node that it was not planned for|4096 bytes\n"
        "major-faults|QEMU|memory that had to be read from a disk|100.0 a second\n"
        "ksm|memory|ksmd, which compares pages|1000.0 a second\n");
  window = quiet();
  window.memory.grown = "hog (77): 4096 MiB";
  window.memory.node_taken = 4ULL << 30;
  window.memory.taken_by = "hog (77): 4096 MiB";
  window.memory.stalled_us = 400'000;
  CHECK(verdict(window) ==
        "memory-pressure|memory|hog (77): 4096 MiB|4.00 % of the window\n"
        "memory-taken|a node of the VM's|hog (77): 4096 MiB|25.0 % of the node\n");
  window = quiet();
  window.cpus[0].throttled = 3;
  window.cpus.push_back({10, false, {}, {}, 5 * second, 0, 0, {}, {}});
  CHECK(verdict(window) ==
        "heat|CPU 2|the hardware|3 times\n"
        "sibling|CPU 10|the other half of a core of the VM's, which is nobody's|50.0 % of the window\n");
  window = quiet();
  window.stopped = {"vcpu 1 (102) was stopped"};
  window.moved = {"vcpu 0 (101) was on 5, not on 2"};
  window.threads[2].migrations = 2;
  CHECK(verdict(window) ==
        "stopped|vcpu 1 (102) was stopped||1 times\nmoved|vcpu 0 (101) was on 5, not on 2||1 times\n"
        "moved|iothread disk0 (103)|somebody who changed its CPUs for a while|2 times\n");
}

TEST_CASE("a threshold is set by its name; what is none is refused") {
  Window window = quiet();
  window.tasks.insert(window.tasks.begin(), {815, "stress", {3}, second, false});
  Thresholds thresholds;
  thresholds.set("foreign-task=12.5");
  CHECK(verdict(window, thresholds).empty());
  CHECK_THROWS_WITH(thresholds.set("foreign=1"),
                    doctest::Contains("run-delay, foreign-task, kernel-worker, interrupts"));
  CHECK_THROWS_AS(thresholds.set("steal"), std::invalid_argument);
  CHECK_THROWS_AS(thresholds.set("steal=-1"), std::invalid_argument);
  CHECK_THROWS_AS(thresholds.set("steal=nan"), std::invalid_argument);
  CHECK_THROWS_AS(thresholds.set("steal=1x"), std::invalid_argument);
}

}  // namespace launcher::watch
