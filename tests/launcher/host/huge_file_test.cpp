// A file's pages are made by threads while others may use it, stop when they shall, and are counted by who looks from outside.
#include "launcher/host/huge_file.hpp"

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "topology/page_location.hpp"

namespace {

using namespace launcher;
using topology::mib;

// Of base pages: what fills them does not mind, and a test needs no pool.
Fd plain_file(topology::Bytes size) {
  Fd file = opened_or_refuse(memfd_create("vmrun node 3 ram0", MFD_CLOEXEC), "memfd");
  REQUIRE(ftruncate(file.get(), static_cast<off_t>(size.count)) == 0);
  return file;
}

std::uint64_t bytes_there(const Fd& file) {
  struct stat info {};
  REQUIRE(fstat(file.get(), &info) == 0);
  return static_cast<std::uint64_t>(info.st_blocks) * 512;
}

HugeFileSpec spec_of(topology::Bytes size, unsigned threads) {
  return {.name = "ram0",
          .size = size,
          .page = topology::kib(4),
          .node = topology::only_node().value_or(0),
          .cpus = topology::get_affinity(0).value(),
          .threads = threads};
}

bool is_filled(const Fd& file, topology::Bytes size) {
  for (int i = 0; i < 3000 && bytes_there(file) < size.count; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return bytes_there(file) == size.count;
}

}  // namespace

TEST_CASE("every page is filled, however the parts are cut") {
  for (const auto& [size, threads] : {std::pair{mib(1), 1U}, {mib(48), 2U}, {mib(50), 3U}, {mib(80), 16U}}) {
    CAPTURE(size.count);
    const Fd file = plain_file(size);
    Filling filling(file, spec_of(size, threads));
    filling.begin();
    CHECK(is_filled(file, size));
  }
}

TEST_CASE("what is filled is counted from outside, at the node that the name has, until nobody fills any more") {
  const Fd file = plain_file(mib(32));
  CHECK(filled_pages(getpid()) == decltype(filled_pages(0)){{{3, 4096}, 0}});
  {
    Filling filling(file, spec_of(mib(32), 2));
    filling.begin();
    REQUIRE(is_filled(file, mib(32)));
  }
  CHECK(filled_pages(getpid()).begin()->second == mib(32).count / 4096);  // the file's own fd is still here
}

TEST_CASE("the end does not wait for all of it") {
  const Fd file = plain_file(topology::gib(64));
  {
    Filling filling(file, spec_of(topology::gib(64), 2));
    filling.begin();
  }
  CHECK(bytes_there(file) < topology::gib(1).count);
}

TEST_CASE("huge pages that the pool has not are not promised") {
  HugeFileSpec spec = spec_of(topology::gib(1 << 10), 1);
  spec.page = mib(2);
  const Fd file = make_huge_file(spec);
  struct stat info {};
  REQUIRE(fstat(file.get(), &info) == 0);
  CHECK(info.st_blksize == 2 << 20);
  CHECK_THROWS_WITH(Filling(file, spec), doctest::Contains("start it again"));
}
