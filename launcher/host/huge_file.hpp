// A guest's huge pages as a file in memory, filled while QEMU starts. The rule: whoever fills them is a help, not a promise: QEMU
// preallocates all of them all the same, and finds done what was done.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "launcher/host/fd.hpp"
#include "topology/bytes.hpp"
#include "topology/cpu_set.hpp"
#include "topology/page_location.hpp"
#include "topology/placement.hpp"

namespace launcher::inline host {

struct HugeFileSpec {
  std::string name;  // of QEMU's object: "ram0"
  topology::Bytes size, page;
  unsigned node = 0;  // the only one that the pages may be on, or with `preferred`, shall be on
  topology::MemoryPolicy policy = topology::MemoryPolicy::strict;
  topology::CpuSet cpus;  // of the threads that fill it
  unsigned threads = 1;
};

// Threads that touch the pages of a file (MADV_POPULATE_WRITE, Linux 5.14; before that they do nothing). Its end stops them.
class Filling {
 public:
  // Claims the pages: whoever maps the file has them. Throws where the pool has not so many.
  Filling(const Fd& file, HugeFileSpec spec);
  void begin();  // once nothing is forked any more: fork(2) waits for a page that is being cleared
  ~Filling();
  Filling(const Filling&) = delete;
  Filling& operator=(const Filling&) = delete;

 private:
  void fill(std::size_t begin, std::size_t end, std::size_t step) const;

  HugeFileSpec spec_;
  Fd file_;  // by which filled_pages() finds it
  char* mapping_ = nullptr;
  std::atomic<bool> enough_ = false;
  std::vector<std::thread> threads_;
};

// A pool's free pages are anybody's until somebody has claimed them.
inline constexpr const char* pages_gone =
    "somebody else took huge pages that were free when this VM was planned: start it again, and its plan counts anew";

struct HugeFile {
  Fd fd;
  std::unique_ptr<Filling> filling;  // null: nobody does
};

// A file of huge pages of this size (memfd_create(2)), none of them there yet; it cannot shrink or grow. Throws
// std::system_error.
Fd make_huge_file(const HugeFileSpec& spec);

// Pages that are there of the files that a process is filling: those that its QEMU has mapped, and the others.
topology::PageCounts filled_pages(pid_t pid);

}  // namespace launcher::host
