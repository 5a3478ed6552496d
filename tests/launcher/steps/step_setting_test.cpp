// Settings of the kernel over a fake host: what counts as the same value, what is put back and what is left, and masks that
// VMs share.
#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "launcher/steps/kernel_text.hpp"
#include "launcher/steps/step.hpp"
#include "tests/fakes/fake_host.hpp"
#include "tests/fakes/temp_dir.hpp"
#include "tests/launcher/steps/doing.hpp"

namespace {

using namespace launcher;
using topology::CpuSet;

const std::string swappiness = "/proc/sys/vm/swappiness", scheduler = "/sys/block/sda/queue/scheduler",
                  irq = "/proc/irq/24/smp_affinity_list", workqueues = "/sys/devices/virtual/workqueue/cpumask";

struct Kernel : Doing {
  Kernel() {
    host.add_value(swappiness, "60");
    host.add_value(scheduler, "none [mq-deadline] bfq");
    host.add_value(irq, "0-3");
    host.add_value(workqueues, "ff");
  }
  std::string error_of(const Step& step) {
    try {
      run(step);
    } catch (const std::exception& error) {
      return error.what();
    }
    return "";
  }
  std::string value(const std::string& path) const { return host.value(path).value_or("gone"); }
};

}  // namespace

TEST_CASE("what was written and what reads back compare equal") {
  CHECK(value_of("none [mq-deadline] bfq\n") == "mq-deadline");
  CHECK(value_of("4096\t131072\t6291456\n") == "4096 131072 6291456");
  CHECK(value_of("[]") == "[]");
  CHECK(value_of("") == "");
  CHECK(same_value(scheduler, "none [mq-deadline]", "mq-deadline"));
  CHECK_FALSE(same_value(scheduler, "[none] mq-deadline", "mq-deadline"));
  CHECK(same_value("/proc/sys/net/ipv4/tcp_rmem", "1\t2 3\n", "1 2 3"));
  CHECK(same_value(workqueues, "00000000,000000ff", "ff"));
  CHECK_FALSE(same_value(workqueues, "fe", "ff"));
  CHECK(same_value(irq, "0,1,2", "0-2"));
  CHECK(same_value("/sys/module/kvm/parameters/tdp_mmu", "Y", "1"));
  CHECK_FALSE(same_value("/sys/module/kvm/parameters/tdp_mmu", "Y", "0"));
  CHECK_FALSE(same_value("/sys/class/net/eth0/name", "Y", "1"));
  CHECK_FALSE(same_value(swappiness, "60", "6"));
}

TEST_CASE("a value is set, read back and put back") {
  Kernel kernel;
  for (const auto& [path, before, value] :
       {std::tuple(swappiness, "60", "10"), std::tuple(scheduler, "mq-deadline", "none")}) {
    const Step set = ChangeFile{path, Value{before, value}};
    const std::string start = kernel.value(path);
    kernel.run(set);
    CHECK(value_of(kernel.value(path)) == value);
    kernel.undo(set);
    CHECK(kernel.value(path) == start);
    kernel.undo(set);  // idempotent
    CHECK(kernel.value(path) == start);
  }
}

TEST_CASE("a value that is not what was planned for, or does not stay, is an error that names both") {
  Kernel kernel;
  CHECK(kernel.error_of(ChangeFile{swappiness, Value{"30", "10"}}) ==
        "it changed since it was looked at: it read '30', now '60'");
  CHECK(kernel.error_of(ChangeFile{"/proc/sys/vm/none", Value{"30", "10"}}) ==
        "it changed since it was looked at: it read '30', now nothing");
  CHECK(kernel.value(swappiness) == "60");
  kernel.host.set_deaf(swappiness);
  CHECK(kernel.error_of(ChangeFile{swappiness, Value{"60", "10"}}) == "it reads '60' after '10' was written");
  CHECK(kernel.error_of(ChangeFile{scheduler, Value{"mq-deadline", "kyber"}}).find("Invalid argument") !=
        std::string::npos);
}

TEST_CASE("what somebody else has set since is left, and so is what has gone") {
  Kernel kernel;
  const Step set = ChangeFile{swappiness, Value{"60", "10"}};
  kernel.run(set);
  kernel.host.add_value(swappiness, "33");
  kernel.undo(set);
  CHECK(kernel.value(swappiness) == "33");
  kernel.host.drop_value(swappiness);
  kernel.undo(set);
  CHECK(kernel.value(swappiness) == "gone");
  kernel.host.add_value(swappiness, "10");
  kernel.host.set_refused(swappiness, ENODEV);
  kernel.undo(set);
  kernel.host.set_refused(swappiness, EIO);
  CHECK_THROWS_AS(kernel.undo(set), std::system_error);
}

TEST_CASE("a chain of changes goes back to before the first") {
  Kernel kernel;
  const std::vector<Step> steps = {ChangeFile{swappiness, Value{"60", "10"}}, ChangeFile{swappiness, Value{"10", "1"}},
                                   ChangeFile{swappiness, Value{"1", "60"}}};
  for (const Step& step : steps) kernel.run(step);
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) kernel.undo(*step);
  CHECK(kernel.value(swappiness) == "60");
}

TEST_CASE("what changes beside a value is put back after it, and only with it") {
  Kernel kernel;
  const std::string length = "/sys/block/sda/queue/nr_requests";
  kernel.host.add_value(length, "512");
  const Step keep = ChangeFile{length, Beside{"512", scheduler, "mq-deadline"}};
  const Step set = ChangeFile{scheduler, Value{"mq-deadline", "none"}};
  kernel.run(keep);
  CHECK(kernel.value(length) == "512");
  kernel.run(set);
  kernel.host.add_value(length, "1023");  // as the kernel does with a new scheduler
  kernel.undo(keep);
  CHECK(kernel.value(length) == "1023");  // its scheduler is another one
  kernel.undo(set);
  kernel.undo(keep);
  CHECK(kernel.value(length) == "512");
  kernel.host.drop_value(length);
  kernel.undo(keep);
  CHECK(kernel.value(length) == "gone");
}

TEST_CASE("VMs that share a mask end in any order") {
  for (const std::string& path : {irq, workqueues}) {
    std::vector<int> order = {0, 1, 2};
    do {
      Kernel kernel;
      const CpuSet start = mask_of(path, kernel.value(path));
      std::vector<Step> steps;
      for (const CpuSet& away : {CpuSet{1}, CpuSet{2, 3}, CpuSet{5, 9}}) {  // 9 is in none of the masks
        steps.emplace_back(ChangeFile{path, mask_change(mask_of(path, kernel.value(path)), away, CpuSet{0})});
        kernel.run(steps.back());
      }
      CHECK(mask_of(path, kernel.value(path)) == start - CpuSet{1, 2, 3, 5});
      for (const int vm : order) kernel.undo(steps[vm]);
      CHECK(mask_of(path, kernel.value(path)) == start);
      for (const int vm : order) kernel.undo(steps[vm]);
      CHECK(mask_of(path, kernel.value(path)) == start);
    } while (std::next_permutation(order.begin(), order.end()));
  }
}

TEST_CASE("a mask that only has a VM's CPUs gets others in their place") {
  Kernel kernel;
  kernel.host.add_value(irq, "2");
  const ChangeFile change{irq, mask_change(CpuSet{2}, CpuSet{2, 3}, CpuSet{0, 1})};
  CHECK(change == ChangeFile{irq, Cpus{CpuSet{2}, CpuSet{0, 1}}});
  CHECK(describe(change) == "take CPUs 2 out of " + irq + ", put CPUs 0-1 into it");
  kernel.run(change);
  CHECK(kernel.value(irq) == "0-1");
  kernel.undo(change);
  CHECK(kernel.value(irq) == "2");
  CHECK(mask_change(CpuSet{4, 5}, CpuSet{2}, CpuSet{0}) == Cpus{});
  CHECK(kernel.error_of(ChangeFile{irq, Cpus{CpuSet{2}, {}}}) == "no CPU would be left in it");
}

TEST_CASE("an interrupt that the kernel keeps is passed over and told, one that has gone is fine") {
  Kernel kernel;
  for (const int error : {EIO, EPERM, ENOSPC}) {
    kernel.host.set_refused(irq, error);
    kernel.run(ChangeFile{irq, Cpus{CpuSet{2}, {}}});
    REQUIRE(kernel.opened.passed_over.size() == 1);
    CHECK(kernel.opened.passed_over.front().starts_with(irq + " stays '0-3': "));
    kernel.opened.passed_over.clear();
  }
  kernel.host.set_refused(irq, EINVAL);
  CHECK_THROWS_AS(kernel.run(ChangeFile{irq, Cpus{CpuSet{2}, {}}}), std::system_error);
  kernel.host.set_refused(workqueues, EIO);
  CHECK_THROWS_AS(kernel.run(ChangeFile{workqueues, Cpus{CpuSet{2}, {}}}), std::system_error);
  kernel.host.drop_value(irq);
  kernel.run(ChangeFile{irq, Cpus{CpuSet{2}, {}}});
  CHECK(kernel.opened.passed_over.empty());
}
