#include "launcher/proof/rings.hpp"

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <span>
#include <stdexcept>

#include "launcher/host/fd.hpp"
#include "launcher/proof/subject.hpp"

namespace launcher::inline proof {

namespace {

// Another process's queue of entries, mapped to be read.
class Entries {
 public:
  Entries(const Fd& ring, std::size_t count)
      : size_(count * sizeof(io_uring_sqe)),
        at_(::mmap(nullptr, size_, PROT_READ, MAP_SHARED, ring.get(), static_cast<off_t>(IORING_OFF_SQES))) {
    if (at_ == MAP_FAILED) refuse("its queue");
  }
  Entries(const Entries&) = delete;
  Entries& operator=(const Entries&) = delete;
  ~Entries() { ::munmap(at_, size_); }
  std::span<const io_uring_sqe> get() const {
    return {static_cast<const io_uring_sqe*>(at_), size_ / sizeof(io_uring_sqe)};
  }

 private:
  std::size_t size_;
  void* at_;
};

bool moves_data(const io_uring_sqe& entry) {
  constexpr int kinds[] = {IORING_OP_READV,      IORING_OP_WRITEV,      IORING_OP_READ, IORING_OP_WRITE,
                           IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED, IORING_OP_FSYNC};
  return std::ranges::find(kinds, entry.opcode) != std::end(kinds) && (entry.flags & IOSQE_FIXED_FILE) == 0;
}

// As the kernel gave it: nothing to do, of nobody.
bool is_unused(const io_uring_sqe& entry) { return entry.opcode == IORING_OP_NOP && entry.user_data == 0; }

// How many entries a ring's queue has, a power of two; fdinfo says it since Linux 5.16.
std::size_t entries_of(const Subject& subject, const std::string& fd) {
  const std::string path = "/proc/" + std::to_string(subject.qemu) + "/fdinfo/" + fd;
  const std::string mask = field(subject, path, "SqMask").value_or("");
  return mask.empty() ? 0 : std::strtoul(mask.c_str(), nullptr, 16) + 1;
}

void look_into(const Subject& subject, const Fd& process, const std::string& ring, Requests& requests) {
  constexpr std::size_t most = 32768;  // IORING_MAX_ENTRIES
  const std::size_t count = entries_of(subject, ring);
  if (count == 0 || count > most) throw std::runtime_error("/proc says no size of it");
  const Fd copy(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), std::atoi(ring.c_str()), 0)));
  if (!copy) refuse("pidfd_getfd");
  const Entries entries(copy, count);
  for (const io_uring_sqe& entry : entries.get())
    if (moves_data(entry)) requests.files.insert(entry.fd);
  requests.whole = requests.whole && is_unused(entries.get().back());
}

}  // namespace

Requests requests_in_rings(const Subject& subject, const std::map<std::string, std::string>& files) {
  Requests requests;
  for (const auto& [fd, target] : files)
    if (target.find("io_uring") != std::string::npos) requests.rings.insert(fd);
  if (requests.rings.empty()) return requests;
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, subject.qemu, 0)));
  for (const std::string& ring : requests.rings) try {
      if (!process) refuse("pidfd_open", ESRCH);
      look_into(subject, process, ring, requests);
    } catch (const std::exception& error) {
      requests.whole = false;
      requests.unread = error.what();
    }
  return requests;
}

}  // namespace launcher::proof
