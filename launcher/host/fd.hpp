// An open file descriptor and its one owner. The rule: nobody closes by hand; what an Fd does not own is a plain int, and only lent.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

namespace launcher::inline host {

// What the machine refused, with the kernel's error.
[[noreturn]] inline void refuse(const std::string& what, int error = errno) {
  throw std::system_error(error, std::generic_category(), what);
}

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}  // -1: none
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Fd() { reset(); }

  // Closes; errno stays what it was, for whoever is about to tell it.
  void reset() noexcept {
    const int error = errno;
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
    errno = error;
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// The result of open(2) and its kin, or what the kernel said against it.
inline Fd opened_or_refuse(int result, const std::string& what) {
  if (result < 0) refuse(what);
  return Fd(result);
}

}  // namespace launcher::host
