// Fork to exec: what the child has, what it says when it cannot, and that nothing is ever started that nobody wrote down.
#include "launcher/host/process.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>

#include "launcher/host/linux_host.hpp"
#include "tests/fakes/temp_dir.hpp"
#include "tests/lacks.hpp"
#include "topology/page_location.hpp"

namespace {

using namespace launcher;

const auto nothing_to_write = [](const ProcessId&) {};

ChildSpec shell(const std::string& script) {
  ChildSpec child;
  child.argv = {"/bin/sh", "-c", script};
  return child;
}

// What a child prints on fd 1, and its exit code.
struct Result {
  std::string output;
  int code = -1;
};
Result run(const ChildSpec& child, FdLayout fds = {}) {
  std::array<int, 2> pipe_ends{};
  REQUIRE(pipe2(pipe_ends.data(), O_CLOEXEC) == 0);
  fds[1] = pipe_ends[1];
  const ProcessId process = spawn(child, fds, nothing_to_write);
  close(pipe_ends[1]);
  Result result;
  char bytes[4096];
  for (ssize_t size; (size = read(pipe_ends[0], bytes, sizeof bytes)) > 0;)
    result.output.append(bytes, static_cast<std::size_t>(size));
  close(pipe_ends[0]);
  result.code = reap(process.pid);
  return result;
}

bool no_children() {
  const pid_t child = waitpid(-1, nullptr, WNOHANG);
  return child < 0 && errno == ECHILD;
}

int file_with(const std::string& text) {
  const fakes::TempDir dir;
  fakes::write_file(dir / "f", text);
  return open((dir / "f").c_str(), O_RDONLY | O_CLOEXEC);
}

// CAP_SYS_RESOURCE, which root in a container may lack.
bool may_raise_limits() {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit low{.rlim_cur = 1, .rlim_max = 1}, high{.rlim_cur = 2, .rlim_max = 2};
    setrlimit(RLIMIT_CORE, &low);
    _exit(setrlimit(RLIMIT_CORE, &high) == 0 ? 0 : 1);
  }
  return reap(child) == 0;
}

std::system_error refusal_of(const ChildSpec& child, const FdLayout& fds = {}) {
  try {
    spawn(child, fds, nothing_to_write);
  } catch (const std::system_error& error) {
    return error;
  }
  FAIL("it was to throw");
  return {std::error_code(), ""};
}

}  // namespace

TEST_CASE("a child runs with the arguments given, and its exit code comes back") {
  const Result result = run(shell("printf '%s' \"$0$1\"; exit 7"));
  CHECK(result.code == 7);
  CHECK(result.output == "/bin/sh");
  CHECK(run(shell("kill -KILL $$")).code == 128 + SIGKILL);
  CHECK(no_children());
}

TEST_CASE("the pid is written down before anything runs") {
  const fakes::TempDir dir;
  const std::string mark = dir / "ran";
  ProcessId seen;
  const ProcessId process = spawn(shell("touch " + mark), {}, [&](const ProcessId& id) {
    seen = id;
    usleep(50'000);
    CHECK(!std::filesystem::exists(mark));
    CHECK(is_alive(id));
  });
  CHECK(seen == process);
  reap(process.pid);
  CHECK(std::filesystem::exists(mark));
}

TEST_CASE("a child that could not be written down never runs") {
  const fakes::TempDir dir;
  const std::string mark = dir / "ran";
  CHECK_THROWS_WITH(spawn(shell("touch " + mark), {}, [](const ProcessId&) { throw std::runtime_error("disk full"); }),
                    "disk full");
  usleep(20'000);
  CHECK(!std::filesystem::exists(mark));
  CHECK(no_children());
}

TEST_CASE("a child whose parent dies before it is written down never runs") {
  const fakes::TempDir dir;
  const std::string mark = dir / "ran";
  const pid_t parent = fork();
  if (parent == 0) {
    try {
      spawn(shell("touch " + mark), {}, [](const ProcessId&) { _exit(0); });
    } catch (...) {
    }
    _exit(1);
  }
  CHECK(reap(parent) == 0);
  usleep(100'000);
  CHECK(!std::filesystem::exists(mark));
}

TEST_CASE("what the child cannot do comes back as the kernel's word and the stage") {
  ChildSpec child;
  child.argv = {"/nowhere/qemu"};
  CHECK(refusal_of(child).code() == std::errc::no_such_file_or_directory);
  CHECK(std::string(refusal_of(child).what()) == "cannot start /nowhere/qemu (exec): No such file or directory");
  child.argv = {"/etc/passwd"};
  CHECK(std::string(refusal_of(child).what()) == "cannot start /etc/passwd (exec): Permission denied");
  child = shell("true");
  CHECK(std::string(refusal_of(child, {{5, 999}}).what()) == "cannot start /bin/sh (fd layout): Bad file descriptor");
  child.affinity = topology::CpuSet{60'000};
  CHECK(std::string(refusal_of(child).what()) == "cannot start /bin/sh (affinity): Invalid argument");
  child.affinity = {};
  child.memory_nodes = {1000};
  CHECK(std::string(refusal_of(child).what()).find("cannot start /bin/sh (memory policy)") == 0);
  if (geteuid() != 0) {
    child.memory_nodes = {};
    child.uid = geteuid() + 1;
    CHECK(std::string(refusal_of(child).what()).find("cannot start /bin/sh (setgroups)") == 0);
  }
  CHECK(no_children());
}

TEST_CASE("a child that cannot be born into its groups is told of, and never runs") {
  ChildSpec child = shell("true");
  child.cgroup = "/nowhere/group";
  CHECK(std::string(refusal_of(child).what()).starts_with("open /nowhere/group"));
  child.cgroup = "/tmp";  // no cgroup at all
  CHECK(std::string(refusal_of(child).what()).starts_with("fork into /tmp"));
  child.cgroup = "";
  child.cache_group = "/nowhere/resctrl";
  CHECK(std::string(refusal_of(child).what()).find("(cache group)") != std::string::npos);
  CHECK(no_children());
}

TEST_CASE("a core scheduling cookie is its own, or it is told that there are none") {
  ChildSpec child = shell("true");
  child.own_core_cookie = true;
  unsigned long long cookie = 0;
  if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, 0, &cookie) == 0) {
    CHECK(reap(spawn(child, {}, nothing_to_write).pid) == 0);
  } else {
    CHECK(std::string(refusal_of(child).what()).find("(core scheduling)") != std::string::npos);
  }
}

TEST_CASE("a FIFO priority is set on one thread, read back, and not inherited") {
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  LinuxHost host;
  CHECK(host.processes.fifo(child) == 0);
  bool allowed = true;
  try {
    host.processes.set_fifo(child, 7);
  } catch (const std::system_error& error) {
    allowed = false;
    CHECK(error.code().value() == EPERM);
  }
  if (allowed) {
    CHECK(host.processes.fifo(child) == 7);
    CHECK((sched_getscheduler(child) & SCHED_RESET_ON_FORK) != 0);
  }
  CHECK(host.processes.fifo(getpid()) == 0);
  end_process(process_id(child).value());
  CHECK(host.processes.fifo(child) == 0);
}

TEST_CASE("each fd gets its planned number, even where source and target numbers cross; all others are closed") {
  const int a = file_with("a"), b = file_with("b"), c = file_with("c");
  const auto number = [](int fd) { return std::to_string(fd); };
  // a's number is b's target and the other way round; one source for two targets; a low number beside a high one
  const FdLayout crossing{{0, c}, {a, b}, {b, a}, {200, c}};
  // the shell's own letters for fds stop at 9; /proc says the rest
  Result result =
      run(shell("for f in 0 " + number(a) + " " + number(b) + " 200; do readlink /proc/self/fd/$f; done"), crossing);
  const auto link = [&](int fd) { return std::filesystem::read_symlink("/proc/self/fd/" + number(fd)).string(); };
  CHECK(result.output == link(c) + "\n" + link(b) + "\n" + link(a) + "\n" + link(c) + "\n");
  const int leak = fcntl(a, F_DUPFD, 50);  // not close-on-exec, and not in the layout
  result = run(shell("for f in " + number(c) + " " + number(leak) +
                     " 201 202; do [ -e /proc/self/fd/$f ] && echo $f is open; done"),
               crossing);
  CHECK(result.output == "");
  close(leak);
  for (int fd : {a, b, c}) close(fd);
}

TEST_CASE("a layout that moves every source onto another source") {
  std::array<int, 6> fds{};
  for (std::size_t i = 0; i < fds.size(); ++i) fds[i] = file_with(std::string(1, static_cast<char>('a' + i)));
  FdLayout rotated;
  std::string script, expected;
  for (std::size_t i = 0; i < fds.size(); ++i) {
    rotated[fds[i]] = fds[(i + 1) % fds.size()];
    script += "readlink /proc/self/fd/" + std::to_string(fds[i]) + ";";
    expected +=
        std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fds[(i + 1) % fds.size()])).string() + "\n";
  }
  CHECK(run(shell(script), rotated).output == expected);
  for (int fd : fds) close(fd);
}

TEST_CASE("a low number that is free when the child begins, beside high ones") {
  const int a = file_with("a"), b = file_with("b");
  const int next = fcntl(a, F_DUPFD_CLOEXEC, 3);
  close(next);
  // copies made on the way to 100 and above must not lie where the low ones are to go
  for (int low = next; low < next + 16; ++low) {
    FdLayout layout{{low, a}};
    for (int high = 100; high < 116; ++high) layout[high] = b;
    std::string script, expected;
    for (const auto& [target, source] : layout) {
      script += "readlink /proc/self/fd/" + std::to_string(target) + ";";
      expected += std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(source)).string() + "\n";
    }
    CHECK(run(shell(script), layout).output == expected);
  }
  close(a);
  close(b);
}

TEST_CASE("the child has its own session, no signals blocked or ignored, and may gain no rights") {
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigprocmask(SIG_BLOCK, &blocked, &before);
  const auto pipe_before = signal(SIGPIPE, SIG_IGN);
  const Result result =
      run(shell("grep -E '^(SigBlk|NoNewPrivs)' /proc/self/status; awk '{print $6 == $1 || $6 == $4 || $6 == $5}' "
                "/proc/self/stat; grep -E '^SigIgn' /proc/self/status"));
  sigprocmask(SIG_SETMASK, &before, nullptr);
  signal(SIGPIPE, pipe_before);
  CHECK(result.output.find("SigBlk:\t0000000000000000\n") != std::string::npos);
  CHECK(result.output.find("NoNewPrivs:\t1\n") != std::string::npos);
  CHECK(result.output.find("\n1\n") != std::string::npos);
  const std::string ignored = result.output.substr(result.output.find("SigIgn:\t") + 8, 16);
  CHECK((std::stoull(ignored, nullptr, 16) >> (SIGPIPE - 1) & 1) == 0);
}

TEST_CASE("CPUs and memory policy are set before exec") {
  const auto ours = topology::get_affinity(0);
  REQUIRE(ours);
  ChildSpec child = shell("grep Cpus_allowed_list /proc/self/status");
  child.affinity = topology::CpuSet{ours->first()};
  CHECK(run(child).output == "Cpus_allowed_list:\t" + std::to_string(ours->first()) + "\n");
  child = shell("grep -c 'prefer' /proc/self/numa_maps");
  child.memory_nodes = {0};
  child.policy = topology::MemoryPolicy::preferred;
  CHECK(std::stoi(run(child).output) > 0);
}

TEST_CASE("the memlock limit is raised to what is needed, never lowered") {
  rlimit limit{};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  ChildSpec child = shell("ulimit -l");
  const std::string inherited = run(child).output;
  child.memlock = 4096;
  if (limit.rlim_cur >= 4096) CHECK(run(child).output == inherited);
  if (may_raise_limits()) {
    // from a low limit of ours, which only root may raise again
    const pid_t forked = fork();
    if (forked == 0) {
      const rlimit low{.rlim_cur = 64 << 10, .rlim_max = 64 << 10};
      setrlimit(RLIMIT_MEMLOCK, &low);
      child.memlock = 1 << 30;
      std::array<int, 2> ends{};
      if (pipe(ends.data()) != 0) _exit(1);
      try {
        reap(spawn(child, {{1, ends[1]}}, nothing_to_write).pid);
      } catch (const std::exception&) {
        _exit(2);
      }
      char bytes[32]{};
      _exit(read(ends[0], bytes, sizeof bytes - 1) > 0 && std::string(bytes) == "1048576\n" ? 0 : 1);
    }
    CHECK(reap(forked) == 0);
  }
}

TEST_CASE("root's child becomes the planned user, with no capability left") {
  if (lacks(geteuid() == 0, "root")) return;
  ChildSpec child = shell("grep -E '^(Uid|Gid|Groups|CapInh|CapPrm|CapEff|CapAmb|NoNewPrivs)' /proc/self/status");
  child.uid = 1'912'345'678;
  const std::string id = "\t1912345678\t1912345678\t1912345678\t1912345678\n";
  const std::string none = "\t0000000000000000\n";
  CHECK(run(child).output == "Uid:" + id + "Gid:" + id + "Groups:\t \n" + "CapInh:" + none + "CapPrm:" + none +
                                 "CapEff:" + none + "CapAmb:" + none + "NoNewPrivs:\t1\n");
}

TEST_CASE("a /dev/kvm of the child's own is seen by nobody else") {
  if (lacks(geteuid() == 0 && access("/dev/kvm", F_OK) == 0, "root and /dev/kvm")) return;
  const fakes::TempDir dir;
  ChildSpec child = shell("stat -c '%u %a %t:%T' /dev/kvm; exec 3<>/dev/kvm && echo opened");
  child.uid = 1'912'345'678;
  child.private_dev = dir / "dev";
  child.private_nodes = {"/dev/kvm", "/dev/null"};
  struct stat before {};
  REQUIRE(stat("/dev/kvm", &before) == 0);
  const Result result = run(child);
  CHECK(result.output.find("1912345678 600 a:e8\n") == 0);
  CHECK(result.output.find("opened") != std::string::npos);
  struct stat after {};
  REQUIRE(stat("/dev/kvm", &after) == 0);
  CHECK(after.st_uid == before.st_uid);
  CHECK(after.st_mode == before.st_mode);
  CHECK(std::filesystem::is_empty(dir / "dev"));
}

TEST_CASE("a child dies with its parent when it shall, and lives on when not") {
  for (const bool dies : {true, false}) {
    std::array<int, 2> ends{};
    REQUIRE(pipe2(ends.data(), O_CLOEXEC) == 0);
    const pid_t parent = fork();
    if (parent == 0) {
      ChildSpec child = shell("exec sleep 60");
      child.dies_with_parent = dies;
      const ProcessId id = spawn(child, {}, nothing_to_write);
      _exit(write(ends[1], &id, sizeof id) == sizeof id ? 0 : 1);
    }
    ProcessId child;
    REQUIRE(read(ends[0], &child, sizeof child) == sizeof child);
    CHECK(reap(parent) == 0);
    close(ends[0]);
    close(ends[1]);
    for (int i = 0; i < 100 && is_alive(child) && dies; ++i) usleep(10'000);
    CHECK(is_alive(child) != dies);
    end_process(child);
    CHECK(!is_alive(child));
  }
}

TEST_CASE("a process is told from a later one with its pid") {
  const ProcessId self = process_id(getpid()).value();
  CHECK(self.pid == getpid());
  CHECK(self.start > 0);
  CHECK(is_alive(self));
  const ProcessId later{self.pid, self.start + 1};
  CHECK(!is_alive(later));
  CHECK(open_pidfd(later) == -1);
  end_process(later);  // were it taken for the same, this test would end here
  CHECK(!process_id(0));
  CHECK(!process_id(-1));
  CHECK(!is_alive(ProcessId{}));
}

TEST_CASE("a name with spaces and parentheses does not confuse the start time") {
  const ProcessId before = process_id(getpid()).value();
  char name[16]{};
  prctl(PR_GET_NAME, name);
  prctl(PR_SET_NAME, ") R 1 (x) 7");
  CHECK(process_id(getpid()) == before);
  prctl(PR_SET_NAME, name);
}

TEST_CASE("a child has an environment and a directory of its own, and nothing of ours") {
  const fakes::TempDir dir;
  const fakes::Environment token("VMRUN_TEST_TOKEN", "secret");
  const fakes::Environment path("PATH", dir / "mine");
  const fakes::Environment preload("LD_LIBRARY_PATH", dir / "mine");
  ChildSpec child;
  child.argv = {"/usr/bin/env"};
  child.environment = {"ONE=1"};
  CHECK(run(child).output ==
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nLANG=C.UTF-8\nONE=1\n");
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(dir.path());
  CHECK(run(shell("pwd")).output == "/\n");
  std::filesystem::current_path(before);
}

TEST_CASE("what the host unmounts is gone for a child with devices of its own as well") {
  const fakes::TempDir dir;
  const std::string top = dir / "top", inner = dir / "top/inner";
  std::filesystem::create_directory(top);
  if (lacks(geteuid() == 0 && mount("tmpfs", top.c_str(), "tmpfs", 0, nullptr) == 0, "the right to mount")) return;
  CHECK(mount(nullptr, top.c_str(), nullptr, MS_SHARED, nullptr) == 0);  // as systemd makes /
  std::filesystem::create_directory(inner);
  CHECK(mount("tmpfs", inner.c_str(), "tmpfs", 0, nullptr) == 0);
  ChildSpec child = shell("sleep 60");
  child.private_dev = dir / "nodes";
  child.private_nodes = {"/dev/null"};
  const ProcessId process = spawn(child, {}, nothing_to_write);
  const std::string mounts = "/proc/" + std::to_string(process.pid) + "/mounts";
  CHECK(fakes::read_file(mounts).find(inner) != std::string::npos);
  CHECK(umount2(inner.c_str(), 0) == 0);
  CHECK(fakes::read_file(mounts).find(inner) == std::string::npos);
  CHECK(fakes::read_file("/proc/self/mounts").find("/dev/null") == std::string::npos);  // and its own are not ours
  end_process(process);
  CHECK(umount2(top.c_str(), 0) == 0);
}

TEST_CASE("a zombie is not alive; how it ended stays to be read by whoever reaps it") {
  for (const auto& [what, code] : {std::pair("exit 7", 7), std::pair("kill -9 $$", 128 + SIGKILL)}) {
    const ProcessId process = spawn(shell(what), {}, nothing_to_write);
    CHECK(ended_with(process.pid) == code);
    CHECK(!is_alive(process));
    end_process(process);
    CHECK(ended_with(process.pid) == code);
    CHECK(reap(process.pid) == code);
    CHECK(no_children());
    end_process(process);
    CHECK(ended_with(process.pid) == -1);
  }
}

TEST_CASE("ending a process kills it whatever it ignores") {
  const ProcessId process = spawn(shell("trap '' TERM INT HUP; while :; do sleep 1; done"), {}, nothing_to_write);
  const int pidfd = open_pidfd(process);
  REQUIRE(pidfd >= 0);
  end_process(process);
  CHECK(!is_alive(process));
  pollfd ended{pidfd, POLLIN, 0};
  CHECK(poll(&ended, 1, 0) == 1);
  close(pidfd);
  CHECK(no_children());
}
