// What befalls a VM between two looks: the kernel's filters as they are written, and its events as this very process makes them.
#include "launcher/watch/events.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "launcher/proof/subject.hpp"
#include "launcher/watch/clock.hpp"
#include "launcher/watch/sample.hpp"
#include "launcher/watch/window.hpp"
#include "tests/lacks.hpp"
#include "tests/launcher/watch/tracefs.hpp"

namespace launcher::inline watch {

namespace {

ThreadCounts thread_on(pid_t tid, const topology::CpuSet& cpus, std::optional<std::uint64_t> migrations = 0) {
  return {.tid = tid, .role = "iothread a", .cpus = cpus, .migrations = migrations};
}

}  // namespace

TEST_CASE("filters of the kernel's events") {
  CHECK(filter_within({}).empty());
  CHECK(filter_within({{0x7f0000000000, 0x7f0000200000}, {0x1000, 0x2000}}) ==
        "(addr>=0x7f0000000000&&addr<0x7f0000200000)||(addr>=0x1000&&addr<0x2000)");
  Sample first;
  first.threads = {thread_on(11, {2}), thread_on(12, {1, 3}), thread_on(13, {2}, std::nullopt),
                   thread_on(14, topology::CpuSet::range(0, 5))};
  CHECK(filter_outside(first, topology::CpuSet::range(0, 5)) ==
        "(pid==12&&((dest_cpu>=0&&dest_cpu<=0)||(dest_cpu>=2&&dest_cpu<=2)||(dest_cpu>=4&&dest_cpu<=5)))||"
        "(pid==13&&((dest_cpu>=0&&dest_cpu<=1)||(dest_cpu>=3&&dest_cpu<=5)))");
  CHECK(filter_stops(first) == "sig==19&&(pid==11||pid==12||pid==13||pid==14)");
  CHECK(filter_stops({}).empty());
}

TEST_CASE("a signal that stops a process for a moment is counted; memory that stays is not") {
  if (lacks(has_tracefs(), "tracefs, and root to mount it")) return;
  Subject subject;
  Sample first;
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    pause();
    _exit(0);
  }
  constexpr std::size_t size = 4 << 20;
  char* memory = static_cast<char*>(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  REQUIRE(memory != MAP_FAILED);
  for (std::size_t at = 0; at < size; at += 4096) memory[at] = 1;
  subject.qemu = getpid();
  subject.maps = {{reinterpret_cast<std::uint64_t>(memory), "bind:0", "", false, {4096}, {}}};
  REQUIRE(promised_memory(subject).size() == 1);
  CHECK(promised_memory(subject)[0].end >= reinterpret_cast<std::uint64_t>(memory) + size);
  first.threads = {thread_on(child, topology::CpuSet::range(0, 1023))};
  const Events events(subject, first);
  kill(child, SIGSTOP);
  kill(child, SIGCONT);
  Window window;
  events.add_to(window);
  CHECK(window.stopped == std::vector<std::string>{"a signal stopped QEMU, 1 times"});
  CHECK(window.memory.moved == 0);
  CHECK(window.not_checked.empty());
  CHECK(window.moved.empty());
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  munmap(memory, size);
}

TEST_CASE("a core's clock is its TSC's times APERF over MPERF; one that slept has none") {
  const ClockCounts then{1'000'000'000, 100, 100, 1000}, now{2'000'000'000, 100 + 450, 100 + 300, 1000 + 2'000'000'000};
  CHECK(mhz_between(then, now) == doctest::Approx(3000));
  CHECK(!mhz_between(then, {2'000'000'000, 100, 100, 2'000'001'000}));
  CHECK(!mhz_between({}, now));
  CHECK(!mhz_between(now, now));
}

}  // namespace launcher::watch
