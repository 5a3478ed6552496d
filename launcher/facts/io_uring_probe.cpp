#include "launcher/facts/io_uring_probe.hpp"

#include <fcntl.h>
#include <liburing.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "launcher/host/fd.hpp"

namespace launcher::inline facts {

namespace {

constexpr unsigned block = 4096;

// "" when the read went through the ring, else what did not.
std::string read_by_ring(int fd, void* buffer) {
  io_uring ring{};
  if (const int error = io_uring_queue_init(2, &ring, 0); error < 0)
    return std::string("io_uring_setup: ") + std::strerror(-error);
  std::string why;
  io_uring_sqe* entry = io_uring_get_sqe(&ring);
  io_uring_prep_read(entry, fd, buffer, block, 0);
  io_uring_cqe* completion = nullptr;
  if (const int error = io_uring_submit_and_wait(&ring, 1); error < 0) {
    why = std::string("io_uring submit: ") + std::strerror(-error);
  } else if (io_uring_wait_cqe(&ring, &completion) == 0) {
    if (completion->res < 0) why = std::string("io_uring read: ") + std::strerror(-completion->res);
    io_uring_cqe_seen(&ring, completion);
  }
  io_uring_queue_exit(&ring);
  return why;
}

}  // namespace

IoProbe probe_io(const std::string& path) {
  IoProbe result;
  const std::unique_ptr<void, void (*)(void*)> buffer(std::aligned_alloc(block, block), std::free);
  const Fd direct(open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  result.direct_io = direct && pread(direct.get(), buffer.get(), block, 0) >= 0;
  if (!result.direct_io) result.why = std::string("O_DIRECT: ") + std::strerror(errno);
  const Fd buffered(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const int fd = result.direct_io ? direct.get() : buffered.get();
  if (fd < 0) return result;
  const std::string why = read_by_ring(fd, buffer.get());
  result.io_uring = why.empty();
  if (!why.empty()) result.why = why;
  return result;
}

}  // namespace launcher::facts
