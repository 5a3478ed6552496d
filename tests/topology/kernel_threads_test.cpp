// The kernel's own threads from files composed here, and from this very kernel where it lists them.
#include "topology/kernel_threads.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>

#include "tests/fakes/temp_dir.hpp"
#include "tests/lacks.hpp"

namespace topology {

TEST_CASE("those that began later are found without a look at all; without kthreadd's list there are none to tell") {
  const fakes::TempDir dir;
  const Sysfs root(dir.path());
  const auto file = [&](const std::string& path, const std::string& text) {
    fakes::write_file(dir.path().string() + path, text);
  };
  CHECK(!kernel_threads(root));
  file("/proc/2/comm", "kthreadd\n");
  CHECK(!kernel_threads(root));
  file("/proc/2/task/2/children", "3 40 7 1000 12 \n");
  for (const auto& [pid, start] : {std::pair(3, 1), {40, 1}, {7, 500}, {1000, 500}, {12, 900}}) {
    std::string stat = fmt::format("{} (kworker) S 2 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 {}", pid, start);
    for (int field = 22; field < 52; ++field) stat += " 0";
    file(fmt::format("/proc/{}/stat", pid), stat);
  }
  CHECK(kernel_threads(root) == std::vector<pid_t>{3, 40, 7, 1000, 12});
  CHECK(kernel_threads_since(root, 0) == kernel_threads(root));
  CHECK(kernel_threads_since(root, 500) == std::vector<pid_t>{7, 1000, 12});
  CHECK(kernel_threads_since(root, 501) == std::vector<pid_t>{12});
  CHECK(kernel_threads_since(root, 1000) == std::vector<pid_t>{});
  file("/proc/2/comm", "bash\n");
  CHECK(!kernel_threads(root));
}

TEST_CASE("here they are in the order of their beginning") {
  const Sysfs root;
  const auto threads = kernel_threads(root);
  if (lacks(threads.has_value(), "a kernel that lists them")) return;
  CHECK(threads->size() > 3);
  CHECK(kernel_threads_since(root, 0)->size() >= threads->size() - 1);
}

}  // namespace topology
