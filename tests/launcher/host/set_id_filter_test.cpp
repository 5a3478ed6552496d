// The filter in a child, by the very calls that make or change a file's mode.
#include "launcher/host/set_id_filter.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

#include "launcher/host/process.hpp"
#include "tests/fakes/temp_dir.hpp"

namespace {

// errno of a call that a filtered child makes in a directory of its own, which it is in; 0: it worked.
int tried(const std::function<long()>& call) {
  const fakes::TempDir dir;
  fakes::write_file(dir / "file", "x");
  const pid_t pid = fork();
  if (pid == 0) {
    umask(0);
    if (chdir(dir.path().c_str()) < 0 || !launcher::refuse_set_id_modes()) _exit(200);
    _exit(call() < 0 ? errno : 0);
  }
  return launcher::reap(pid);
}

}  // namespace

TEST_CASE("with the filter no file gets a setuid or setgid bit, by no call; ordinary modes pass") {
  for (const mode_t bit : {04000, 02000, 06000}) {
    const mode_t mode = 0755 | bit;
    CHECK(tried([&] { return syscall(SYS_chmod, "file", mode); }) == EPERM);
    CHECK(tried([&] { return syscall(SYS_fchmod, open("file", O_RDONLY), mode); }) == EPERM);
    CHECK(tried([&] { return syscall(SYS_fchmodat, AT_FDCWD, "file", mode); }) == EPERM);
    CHECK(tried([&] { return syscall(452, AT_FDCWD, "file", mode, 0); }) == EPERM);  // fchmodat2
    CHECK(tried([&] { return syscall(SYS_creat, "new", mode); }) == EPERM);
    CHECK(tried([&] { return syscall(SYS_open, "new", O_CREAT | O_WRONLY, mode); }) == EPERM);
    CHECK(tried([&] { return syscall(SYS_openat, AT_FDCWD, "new", O_CREAT | O_WRONLY, mode); }) == EPERM);
    CHECK(tried([&] { return syscall(SYS_openat, AT_FDCWD, ".", O_TMPFILE | O_WRONLY, mode); }) == EPERM);
    CHECK(tried([&] { return syscall(SYS_mknod, "new", S_IFREG | mode, 0); }) == EPERM);
    CHECK(tried([&] { return syscall(SYS_mknodat, AT_FDCWD, "new", S_IFREG | mode, 0); }) == EPERM);
  }
  CHECK(tried([] { return syscall(SYS_openat2, AT_FDCWD, "file", nullptr, 0); }) == ENOSYS);
  CHECK(tried([] { return syscall(SYS_chmod, "file", 01777); }) == 0);
  CHECK(tried([] { return syscall(SYS_fchmodat, AT_FDCWD, "file", 0700); }) == 0);
  CHECK(tried([] { return syscall(SYS_openat, AT_FDCWD, "new", O_CREAT | O_WRONLY, 0644); }) == 0);
  CHECK(tried([] { return syscall(SYS_openat, AT_FDCWD, "file", O_RDONLY, 06755); }) == 0);  // no mode there
  CHECK(tried([] { return syscall(SYS_mkdir, "new", 0755); }) == 0);
}
