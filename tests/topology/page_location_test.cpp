// numa_maps as real kernels write it; affinity and memory policy of this very process.
#include "topology/page_location.hpp"

#include <doctest/doctest.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <ostream>

#include "tests/lacks.hpp"

using namespace topology;

namespace {

// Seen on kernels 6.1 and 6.12 under a real guest.
constexpr std::string_view seen =
    "55d0c0a00000 default file=/usr/bin/qemu-system-x86_64 mapped=200 mapmax=2 N0=150 N1=50 kernelpagesize_kB=4\n"
    "55d0c3d0a000 default heap anon=3021 dirty=3021 active=0 N0=3021 kernelpagesize_kB=4\n"
    "7fb5afe00000 bind:1 file=/dev/hugepages/qemu_back_mem.m1\\040(deleted) huge dirty=128 N1=128 "
    "kernelpagesize_kB=2048\n"
    "7fb5d7e00000 bind:0 file=/memfd:memory-backend-memfd\\040(deleted) huge dirty=128 N0=128 kernelpagesize_kB=2048\n"
    "7ffb00000000 bind:1 file=/memfd:memory-backend-memfd\\040(deleted) huge dirty=1 N1=1 kernelpagesize_kB=1048576\n"
    "7ffd0aa00000 interleave:0-1 stack anon=4 dirty=4 N0=2 N1=2 kernelpagesize_kB=4\n"
    "7ffe00000000 prefer (many):0-1\n"
    "7fff00000000 default\n";

std::string error(std::string_view text) {
  const auto ranges = parse_numa_maps(text);
  return ranges ? "no error" : ranges.error();
}

// What the function says in a child, so that this process keeps its own policy and affinity.
template <typename Function>
int in_child(Function function) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(function());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

}  // namespace

TEST_CASE("numa_maps is read") {
  const auto ranges = parse_numa_maps(seen);
  REQUIRE_MESSAGE(ranges, (ranges ? "" : ranges.error()));
  REQUIRE(ranges->size() == 8);
  const auto& r = *ranges;
  CHECK(r[0] ==
        MappedRange{0x55d0c0a00000, "default", "/usr/bin/qemu-system-x86_64", false, kib(4), {{0, 150}, {1, 50}}});
  CHECK(r[1] == MappedRange{0x55d0c3d0a000, "default", "", false, kib(4), {{0, 3021}}});
  CHECK(r[2] == MappedRange{0x7fb5afe00000, "bind:1", "/dev/hugepages/qemu_back_mem.m1", true, mib(2), {{1, 128}}});
  CHECK(r[3] == MappedRange{0x7fb5d7e00000, "bind:0", "/memfd:memory-backend-memfd", true, mib(2), {{0, 128}}});
  CHECK(r[4] == MappedRange{0x7ffb00000000, "bind:1", "/memfd:memory-backend-memfd", true, gib(1), {{1, 1}}});
  CHECK(r[5].policy == "interleave:0-1");
  CHECK(r[5].pages_on_node == std::map<unsigned, std::uint64_t>{{0, 2}, {1, 2}});
  CHECK(r[6].policy == "prefer (many):0-1");
  CHECK(r[7] == MappedRange{0x7fff00000000, "default", "", false, {}, {}});
  CHECK(parse_numa_maps("")->empty());
}

TEST_CASE("what is no numa_maps is refused") {
  CHECK(error("hello") == "not a numa_maps line: \"hello\"");
  CHECK(error("7ffb00000000\n") == "not a numa_maps line: \"7ffb00000000\"");
  CHECK(error("7ffb00000000 bind:1 N1=x") == "not a numa_maps line: \"7ffb00000000 bind:1 N1=x\"");
  CHECK(error("7ffb00000000 bind:1 N99999=1") == "not a numa_maps line: \"7ffb00000000 bind:1 N99999=1\"");
  CHECK(error("7ffb00000000 bind:1 kernelpagesize_kB=-4") ==
        "not a numa_maps line: \"7ffb00000000 bind:1 kernelpagesize_kB=-4\"");
  CHECK(error("7ffb00000000 bind:1 N1") == "not a numa_maps line: \"7ffb00000000 bind:1 N1\"");
}

TEST_CASE("the maps of this process") {
  const auto ranges = read_numa_maps(::getpid());
  if (lacks(ranges.has_value(), "numa_maps, which this kernel lacks")) return;
  CHECK(ranges->size() > 10);
  CHECK_FALSE(read_numa_maps(-1));
}

TEST_CASE("huge pages of this process are those of numa_maps") {
  const auto on_nodes = [](const std::expected<std::vector<MappedRange>, std::string>& ranges) {
    std::map<unsigned, std::uint64_t> pages;
    for (const MappedRange& range : ranges.value())
      if (range.huge)
        for (const auto& [node, count] : range.pages_on_node) pages[node] += count;
    return pages;
  };
  if (lacks(read_numa_maps(::getpid()).has_value(), "numa_maps, which this kernel lacks")) return;
  CHECK(on_nodes(read_huge_pages(::getpid(), mib(2))).empty());
  CHECK_FALSE(read_huge_pages(-1, mib(2)));
  constexpr int huge = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | 21 << MAP_HUGE_SHIFT;
  void* memory = ::mmap(nullptr, 4 << 20, PROT_READ | PROT_WRITE, huge, -1, 0);
  if (lacks(memory != MAP_FAILED, "two free huge pages of 2M")) return;
  static_cast<char*>(memory)[2 << 20] = 1;
  const auto pages = on_nodes(read_huge_pages(::getpid(), mib(2)));
  CHECK(pages == on_nodes(read_numa_maps(::getpid())));
  REQUIRE(pages.size() == 1);
  CHECK(pages.begin()->second == 1);
  ::munmap(memory, 4 << 20);
}

TEST_CASE("affinity: what is set is what is read") {
  const auto all = get_affinity(0);
  REQUIRE(all);
  REQUIRE_FALSE(all->empty());
  CHECK(in_child([&] {
          const CpuSet one{all->to_vector().back()};
          return !set_affinity(0, one) && get_affinity(0) == one && get_affinity(::getpid()) == one ? 0 : 1;
        }) == 0);
  CHECK(set_affinity(0, {}) == std::errc::invalid_argument);
  CHECK(set_affinity(0, {60000}) == std::errc::invalid_argument);
  CHECK(get_affinity(0) == all);
  CHECK(get_affinity(0x7ffffff0).error() == std::errc::no_such_process);
}

TEST_CASE("memory policy of our own") {
  CHECK(in_child([] {
          if (const auto failed = set_own_memory_policy(MemoryPolicy::strict, {0}))
            return failed == std::errc::function_not_supported || failed == std::errc::operation_not_permitted ? 0 : 1;
          // A new mapping takes the thread's policy, which numa_maps then shows.
          void* memory = ::mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
          static_cast<char*>(memory)[0] = 1;
          const auto ranges = read_numa_maps(::getpid());
          if (!ranges) return 0;  // no numa_maps here
          bool bound = false;
          for (const MappedRange& range : *ranges) bound = bound || range.policy == "bind:0";
          if (!bound) return 2;
          if (set_own_memory_policy(MemoryPolicy::preferred, {0, 1})) return 3;
          if (set_own_memory_policy(MemoryPolicy::interleave, {0})) return 4;
          return set_own_memory_policy(MemoryPolicy::strict, {}) ? 5 : 0;
        }) == 0);
  CHECK(in_child([] { return set_own_memory_policy(MemoryPolicy::strict, {999}) ? 0 : 1; }) == 0);
}
