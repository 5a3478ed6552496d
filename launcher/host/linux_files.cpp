// The verbs that make, copy and give away files. The rule: nothing that is there already is overwritten, and what lies in
// a directory that is given away is never followed out of it.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <stdexcept>
#include <system_error>

#include "launcher/host/linux_host.hpp"

namespace launcher::inline host {

namespace fs = std::filesystem;

Fd LinuxFiles::append_to(const std::string& path) {
  constexpr int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  return opened_or_refuse(open(path.c_str(), flags, 0640), "open " + path + " for appending");
}

void LinuxFiles::keep_directory(const std::string& path, std::optional<unsigned> owner) {
  fs::create_directories(fs::path(path).parent_path());  // 0755, ours
  // QEMU's user passes through ours to its own
  if (mkdir(path.c_str(), owner ? 0700 : 0711) < 0 && errno != EEXIST) refuse("make directory " + path);
  if (!owner) return;
  if (lchown(path.c_str(), *owner, *owner) < 0) refuse("give away " + path);
  for (const auto& entry : fs::directory_iterator(path))  // host.toml's user may have changed since
    if (lchown(entry.path().c_str(), *owner, *owner) < 0) refuse("give away " + entry.path().string());
}

void LinuxFiles::copy_once(const std::string& from, const std::string& to) {
  if (access(to.c_str(), F_OK) == 0) return;
  const std::string next = to + ".new";  // a crash in between leaves no half of a copy
  fs::copy_file(from, next, fs::copy_options::overwrite_existing);
  if (chmod(next.c_str(), 0600) < 0) refuse("mode of " + next);
  fs::rename(next, to);
}

void LinuxFiles::keep_text(const std::string& path, const std::string& text) {
  fs::create_directories(fs::path(path).parent_path());  // 0755, ours
  const std::string next = path + ".new";
  fs::remove(next);  // a crash's
  const Fd fd =
      opened_or_refuse(open(next.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600), "open " + next);
  const ssize_t written = write(fd.get(), text.data(), text.size());
  if (written != static_cast<ssize_t>(text.size())) refuse("write " + next, written < 0 ? errno : ENOSPC);
  fs::rename(next, path);
}

Fd LinuxFiles::memory_file(const std::string& name, const std::string& bytes) {
  const Fd fd = opened_or_refuse(memfd_create(("vmrun " + name).c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING), "memfd");
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t count = write(fd.get(), bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) refuse("write " + name);
    done += static_cast<std::size_t>(count);
  }
  if (fchmod(fd.get(), 0444) < 0) refuse("mode of " + name);
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
    refuse("seal " + name);
  const std::string again = "/proc/self/fd/" + std::to_string(fd.get());  // QEMU wants it open for reading alone
  return opened_or_refuse(open(again.c_str(), O_RDONLY | O_CLOEXEC), "open " + name);
}

HugeFile LinuxFiles::huge_file(const HugeFileSpec& spec) {
  Fd file = make_huge_file(spec);
  auto filling = std::make_unique<Filling>(file, spec);
  return {std::move(file), std::move(filling)};
}

void LinuxFiles::keep_ssh_key(const std::string& program, const std::string& path, const std::string& comment) {
  if (access(path.c_str(), F_OK) == 0) return;
  const std::string next = path + ".new";  // a crash in between leaves no half of a pair
  fs::remove(next);
  fs::remove(next + ".pub");
  ChildSpec child;
  child.argv = {program, "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", next};
  const Fd null = opened_or_refuse(open("/dev/null", O_RDWR | O_CLOEXEC), "open /dev/null");
  const ProcessId process = host::spawn(child, {{0, null.get()}, {1, null.get()}}, [](const ProcessId&) {});
  if (const int code = reap(process.pid); code != 0)
    throw std::runtime_error("ssh-keygen made no key " + path + ": exit code " + std::to_string(code));
  fs::rename(next + ".pub", path + ".pub");
  fs::rename(next, path);
}

namespace {

// Whatever it is: a file, or a device. None: nothing has this name.
Fd found(const std::string& path) {
  Fd fd(open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!fd && errno != ENOENT) refuse("open " + path);
  return fd;
}

FileIdentity identity(const Fd& fd, const std::string& path) {
  struct stat info {};
  if (fstat(fd.get(), &info) < 0) refuse("stat " + path);
  return {info.st_dev, info.st_ino};
}

}  // namespace

std::optional<FileIdentity> LinuxFiles::identity_of(const std::string& path) {
  const Fd fd = found(path);
  return fd ? std::optional(identity(fd, path)) : std::nullopt;
}

void LinuxFiles::give_file(const std::string& path, const FileIdentity& file, unsigned uid, unsigned gid) {
  auto held = given_.extract(file);
  Fd fd = held ? std::move(held.mapped()) : found(path);
  if (!fd) return;
  if (identity(fd, path) != file)
    throw std::runtime_error(path + " is another file by now: remove it, or put the right one back");
  if (fchownat(fd.get(), "", uid, gid, AT_EMPTY_PATH) < 0) refuse("give away " + path);
  if (!held) given_.emplace(file, std::move(fd));
}

}  // namespace launcher::host
