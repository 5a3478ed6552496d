// Where threads go: the roles of those found under /proc, and guest memory against the plan.
#include "launcher/life/pin.hpp"

#include <doctest/doctest.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <thread>

namespace {

using namespace launcher;
using topology::mib;

// A thread with a name, for as long as this lives.
class Named {
 public:
  explicit Named(const char* name)
      : thread_([this, name] {
          pthread_setname_np(pthread_self(), name);
          tid_.set_value(gettid());
          end_.get_future().wait();
        }),
        id(tid_.get_future().get()) {}
  ~Named() {
    end_.set_value();
    thread_.join();
  }

 private:
  std::promise<pid_t> tid_;
  std::promise<void> end_;
  std::thread thread_;

 public:
  const pid_t id;
};

LaunchPlan plan_with(std::vector<topology::PageClaim> pages,
                     topology::MemoryPolicy policy = topology::MemoryPolicy::strict) {
  LaunchPlan plan;
  plan.placement.page = mib(2);
  plan.placement.policy = policy;
  plan.reservation = {"db", {}, std::move(pages)};
  return plan;
}

topology::MappedRange range(topology::Bytes page, bool huge, std::map<unsigned, std::uint64_t> pages) {
  topology::MappedRange one;
  one.page = page;
  one.huge = huge;
  one.pages_on_node = std::move(pages);
  return one;
}

MemoryOf memory(std::vector<topology::MappedRange> ranges) {
  return [ranges](pid_t, topology::Bytes) { return ranges; };
}

}  // namespace

TEST_CASE("threads have the role that was recorded, else the one their name says") {
  const Named vcpu("CPU 0/TCG"), vhost("vhost-4711"), worker("worker");
  const std::vector<ThreadRecord> known = {{vcpu.id, "vcpu 0", topology::CpuSet{0}}};
  const std::vector<Thread> threads = threads_of(process_id(getpid()).value(), known, false);
  const auto role = [&](pid_t tid) {
    const auto found = std::find_if(threads.begin(), threads.end(), [&](const Thread& one) { return one.tid == tid; });
    return found == threads.end() ? std::string("none") : found->name + " = " + found->role;
  };
  CHECK(role(vcpu.id) == "CPU 0/TCG = vcpu 0");
  CHECK(role(vhost.id) == "vhost-4711 = vhost");
  CHECK(role(worker.id) == "worker = emulator");
  CHECK(std::all_of(threads.begin(), threads.end(), [](const Thread& one) { return one.in_qemu; }));
  CHECK(threads_of(ProcessId{}, {}, false).empty());
}

TEST_CASE("vhost workers of older kernels are processes of their own, named after QEMU's pid") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t worker = fork();
  if (worker == 0) {
    prctl(PR_SET_NAME, "vhost-424242");
    char byte = 0;
    [[maybe_unused]] ssize_t ready = write(ends[1], "r", 1);
    ready = read(ends[0], &byte, 0);
    pause();
  }
  char byte = 0;
  REQUIRE(read(ends[0], &byte, 1) == 1);
  const auto found = threads_of(ProcessId{424242, 1}, {}, true);
  REQUIRE(found.size() == 1);
  CHECK(found[0].tid == worker);
  CHECK(found[0].role == "vhost");
  CHECK(!found[0].in_qemu);
  CHECK(threads_of(ProcessId{42424, 1}, {}, true).empty());
  CHECK(threads_of(ProcessId{424242, 1}, {}, false).empty());
  end_process(process_id(worker).value());
  close(ends[0]);
  close(ends[1]);
}

TEST_CASE("strictly bound huge pages must lie where they were planned") {
  const ProcessId nobody{};
  const LaunchPlan plan = plan_with({{0, mib(2), 512}, {1, mib(2), 256}});
  CHECK_NOTHROW(check_memory(plan, nobody, memory({range(mib(2), true, {{0, 512}}), range(mib(2), true, {{1, 256}})})));
  CHECK_NOTHROW(check_memory(plan, nobody, memory({range(mib(2), true, {{0, 512}, {1, 257}})})));
  CHECK_THROWS_WITH(check_memory(plan, nobody, memory({range(mib(2), true, {{0, 512}, {1, 255}})})),
                    "node 1 holds 255 of the guest's 256 pages of 2M");
  CHECK_THROWS_WITH(check_memory(plan, nobody, memory({range(mib(2), true, {{1, 768}})})),
                    "node 0 holds 0 of the guest's 512 pages of 2M");
  CHECK_THROWS(check_memory(plan, nobody, memory({range(topology::kib(4), false, {{0, 512}, {1, 256}})})));
  CHECK_THROWS(check_memory(plan, nobody, memory({range(topology::gib(1), true, {{0, 512}, {1, 256}})})));
  CHECK_THROWS_WITH(
      check_memory(plan, nobody,
                   [](pid_t, topology::Bytes) -> std::expected<std::vector<topology::MappedRange>, std::string> {
                     return std::unexpected("gone");
                   }),
      "cannot read where the guest's memory lies: gone");
  CHECK_NOTHROW(check_memory(plan_with({{0, mib(2), 512}}, topology::MemoryPolicy::preferred), nobody, memory({})));
  CHECK_NOTHROW(check_memory(plan_with({}), nobody, memory({})));
}
