#include "launcher/host/huge_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/memfd.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <filesystem>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include "topology/page_location.hpp"

namespace launcher::inline host {

namespace {

constexpr int populate_write = 23;  // MADV_POPULATE_WRITE, which headers of glibc 2.34 lack

// A file's name tells where its pages are: "/memfd:vmrun node 1 ram0 (deleted)".
constexpr std::string_view mark = "vmrun node ";

// New threads have none of the signals that this one takes by signalfd.
class NoSignals {
 public:
  NoSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~NoSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  NoSignals(const NoSignals&) = delete;
  NoSignals& operator=(const NoSignals&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

Fd make_huge_file(const HugeFileSpec& spec) {
  const auto log = static_cast<unsigned>(std::countr_zero(spec.page.count));
  const std::string name = fmt::format("{}{} {}", mark, spec.node, spec.name);
  Fd file = opened_or_refuse(
      memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | (log << MFD_HUGE_SHIFT)),
      "make memory of " + to_string(spec.page) + " pages");
  if (ftruncate(file.get(), static_cast<off_t>(spec.size.count)) < 0) refuse("size of " + spec.name);
  if (fcntl(file.get(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) refuse("seal " + spec.name);
  return file;
}

Filling::Filling(const Fd& file, HugeFileSpec spec)
    : spec_(std::move(spec)), file_(fcntl(file.get(), F_DUPFD_CLOEXEC, 0)) {
  void* mapping = mmap(nullptr, spec_.size.count, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (mapping == MAP_FAILED && errno == ENOMEM) throw std::runtime_error(pages_gone);
  if (mapping == MAP_FAILED) refuse("map " + spec_.name);
  mapping_ = static_cast<char*>(mapping);
  madvise(mapping_, spec_.size.count, MADV_DONTFORK);  // a child would copy its page tables
}

void Filling::begin() {
  if (set_memory_policy(mapping_, spec_.size, spec_.policy, {spec_.node})) return;  // QEMU says what is wrong with it
  constexpr std::size_t most = 4 << 20;  // at once: how long its end may have to wait
  const std::size_t size = spec_.size.count, step = std::max<std::size_t>(most, spec_.page.count);
  const std::size_t steps = (size + step - 1) / step, count = std::clamp<std::size_t>(spec_.threads, 1, steps);
  const NoSignals blocked;
  try {
    for (std::size_t i = 0; i < count; ++i)
      threads_.emplace_back(&Filling::fill, this, steps * i / count * step,
                            std::min(steps * (i + 1) / count * step, size), step);
  } catch (const std::system_error&) {
    // a limit on threads: QEMU does without them
  }
}

topology::PageCounts filled_pages(pid_t pid) {
  topology::PageCounts found;
  const std::string before = "/memfd:" + std::string(mark);
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator(fmt::format("/proc/{}/fd", pid), gone)) {
    const std::string name = std::filesystem::read_symlink(entry.path(), gone).string();
    struct stat info {};
    unsigned node = 0;
    if (!name.starts_with(before) ||
        std::from_chars(name.data() + before.size(), name.data() + name.size(), node).ec != std::errc{})
      continue;
    if (stat(entry.path().c_str(), &info) < 0 || info.st_blksize <= 0) continue;
    const auto page = static_cast<std::uint64_t>(info.st_blksize);  // hugetlbfs: the size of its pages
    found[{node, page}] += static_cast<std::uint64_t>(info.st_blocks) * 512 / page;
  }
  return found;
}

Filling::~Filling() {
  enough_ = true;
  for (std::thread& one : threads_) one.join();
  munmap(mapping_, spec_.size.count);
}

// From the end of its part: QEMU's own threads begin at the other one.
void Filling::fill(std::size_t begin, std::size_t end, std::size_t step) const {
  if (!spec_.cpus.empty())
    static_cast<void>(topology::set_affinity(0, spec_.cpus));  // elsewhere it is slower, and not wrong
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), 10);  // QEMU's own start goes first
  while (end > begin && !enough_) {
    const std::size_t from = std::max(begin, (end - 1) / step * step);
    if (madvise(mapping_ + from, end - from, populate_write) < 0) return;  // QEMU will be told the same, and tells it
    end = from;
  }
}

}  // namespace launcher::host
