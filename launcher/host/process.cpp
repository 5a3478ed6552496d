#include "launcher/host/process.hpp"

#include <fcntl.h>
#include <grp.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string_view>
#include <system_error>

#include "launcher/host/fd.hpp"
#include "launcher/host/set_id_filter.hpp"
#include "topology/page_location.hpp"
#include "topology/sysfs.hpp"

namespace launcher::inline host {

namespace {

// What the child could not do, sent over a pipe that exec closes.
struct ChildFailure {
  int error = 0;
  std::array<char, 28> stage{};
};

class Child {
 public:
  Child(int report, pid_t parent) : report_(report), parent_(parent) {}

  [[noreturn]] void run(const ChildSpec& spec, const FdLayout& fds) {
    reset_signals();
    if (setsid() < 0) fail("setsid");
    if (!spec.memory_nodes.empty()) {
      check(topology::set_own_memory_policy(spec.policy, spec.memory_nodes), "memory policy");
    }
    if (!spec.affinity.empty()) check(topology::set_affinity(0, spec.affinity), "affinity");
    if (spec.memlock) raise_memlock(*spec.memlock);
    if (!spec.cache_group.empty()) join_cache_group(spec.cache_group);
    if (spec.own_core_cookie) make_core_cookie();
    if (!spec.private_nodes.empty())
      make_private_nodes(spec.private_dev, spec.private_nodes, spec.uid.value_or(geteuid()));
    if (spec.uid) drop_to(*spec.uid, spec.group);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) fail("no_new_privs");
    if (spec.no_set_id_files && !refuse_set_id_modes()) fail("system call filter");
    if (spec.dies_with_parent) {
      // after the change of uid, which clears it; a parent that died before this line is seen by its pid
      if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) fail("parent death signal");
      if (getppid() != parent_) _exit(127);
    }
    lay_out(fds);
    if (chdir("/") < 0) fail("chdir");  // whose directory ours is must not be kept busy
    std::vector<std::string> environment = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                            "LANG=C.UTF-8"};  // ours may hold anything: a token
    if (const char* zone = getenv("TZ")) environment.push_back(std::string("TZ=") + zone);  // a guest's local time
    environment.insert(environment.end(), spec.environment.begin(), spec.environment.end());
    const std::vector<char*> argv = pointers(spec.argv), envp = pointers(environment);
    execve(argv[0], argv.data(), envp.data());
    fail("exec");
  }

 private:
  static std::vector<char*> pointers(const std::vector<std::string>& words) {
    std::vector<char*> list;
    list.reserve(words.size() + 1);
    for (const std::string& word : words) list.push_back(const_cast<char*>(word.c_str()));
    list.push_back(nullptr);
    return list;
  }

  [[noreturn]] void fail(std::string_view stage) {
    ChildFailure failure;
    failure.error = errno;
    stage.copy(failure.stage.data(), failure.stage.size() - 1);
    [[maybe_unused]] const ssize_t sent = write(report_, &failure, sizeof failure);
    _exit(127);
  }

  void check(std::error_code error, std::string_view stage) {
    if (!error) return;
    errno = error.value();
    fail(stage);
  }

  void reset_signals() {
    for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD, SIGPIPE, SIGUSR1, SIGUSR2}) ::signal(signal, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
  }

  void raise_memlock(std::uint64_t bytes) {
    rlimit limit{};
    getrlimit(RLIMIT_MEMLOCK, &limit);
    if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur >= bytes) return;
    limit.rlim_cur = bytes;
    if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < bytes) limit.rlim_max = bytes;
    if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0) fail("memlock limit");
  }

  // Its threads, all made later, follow it.
  void join_cache_group(const std::string& directory) {
    const topology::Sysfs sysfs;
    const std::string pid = std::to_string(getpid());
    check(sysfs.write(directory + "/tasks", pid), "cache group");
    std::istringstream tasks(sysfs.read(directory + "/tasks").value_or(""));
    for (std::string one; tasks >> one;)
      if (one == pid) return;
    errno = EXDEV;
    fail("cache group");
  }

  // Threads and exec keep the cookie.
  void make_core_cookie() {
    unsigned long long cookie = 0;
    if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, 0, 0) < 0) fail("core scheduling");
    if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, 0, &cookie) < 0 || cookie == 0) fail("core scheduling");
  }

  // Device files of the child's own, in a mount namespace of its own: for a QEMU that takes no fd for them, where the
  // host's are root's. Nothing of it is visible outside, and it ends with the process.
  void make_private_nodes(const std::string& directory, const std::vector<std::string>& paths, unsigned uid) {
    if (mkdir(directory.c_str(), 0711) < 0 && errno != EEXIST) fail("private /dev");
    if (unshare(CLONE_NEWNS) < 0) fail("mount namespace");
    // what we mount stays ours, and what the host unmounts is gone here as well: else we would keep its devices busy
    if (mount("none", "/", nullptr, MS_REC | MS_SLAVE, nullptr) < 0) fail("private mounts");
    if (mount("vmrun", directory.c_str(), "tmpfs", MS_NOSUID | MS_NOEXEC, "size=4k,mode=711") < 0) fail("private /dev");
    for (std::size_t i = 0; i < paths.size(); ++i) {
      struct stat device {};
      const std::string node = directory + "/" + std::to_string(i);
      if (stat(paths[i].c_str(), &device) < 0) fail("stat " + paths[i]);
      if (mknod(node.c_str(), S_IFCHR | 0600, device.st_rdev) < 0) fail("mknod " + paths[i]);
      if (chown(node.c_str(), uid, uid) < 0) fail("chown " + paths[i]);
      if (mount(node.c_str(), paths[i].c_str(), nullptr, MS_BIND, nullptr) < 0) fail("bind " + paths[i]);
    }
    // the binds hold it; what lies below it (a helper's socket) must be seen
    if (umount2(directory.c_str(), MNT_DETACH) < 0) fail("private /dev");
  }

  void drop_to(unsigned uid, std::optional<unsigned> group) {
    const gid_t supplementary = group.value_or(0);
    if (setgroups(group ? 1 : 0, &supplementary) < 0) fail("setgroups");
    if (setresgid(uid, uid, uid) < 0) fail("setgid");
    if (setresuid(uid, uid, uid) < 0)
      fail("setuid");  // from root: all capability sets but the bounding one are emptied
  }

  void lay_out(const FdLayout& fds) {
    const int above = (fds.empty() ? 2 : fds.rbegin()->first) + 1;
    report_ = fcntl(report_, F_DUPFD_CLOEXEC, above);
    std::map<int, int> lifted;
    for (const auto& [target, source] : fds) {
      const int fd = fcntl(source, F_DUPFD_CLOEXEC, above);
      if (fd < 0) fail("fd layout");
      lifted[target] = fd;
    }
    if (syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC, 5.11 */) < 0) fail("close_range");
    for (const auto& [target, fd] : lifted) {
      if (dup2(fd, target) < 0) fail("fd layout");
    }
  }

  int report_;
  pid_t parent_;
};

struct Pipe {
  std::array<Fd, 2> ends;
  Pipe() {
    std::array<int, 2> opened{};
    if (pipe2(opened.data(), O_CLOEXEC) < 0) refuse("pipe");
    ends = {Fd(opened[0]), Fd(opened[1])};
  }
  void close_end(std::size_t end) { ends[end].reset(); }
};

// fork(), in a cgroup from the first instruction on: a process moved later takes 40 times as long (cgroup_threadgroup_rwsem).
pid_t fork_into(const std::string& cgroup) {
  if (cgroup.empty()) return fork();
  const Fd fd = opened_or_refuse(open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                                 "open " + cgroup);  // closed in the child, too
  clone_args args{};
  args.flags = CLONE_INTO_CGROUP;
  args.exit_signal = SIGCHLD;
  args.cgroup = static_cast<std::uint64_t>(fd.get());
  return static_cast<pid_t>(syscall(SYS_clone3, &args, sizeof args));
}

void check_cgroup(pid_t pid, const std::string& cgroup) {
  if (cgroup.empty()) return;
  std::ifstream file("/proc/" + std::to_string(pid) + "/cgroup");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("0::") && line.size() > 4 && cgroup.ends_with(line.substr(3))) return;
  throw std::runtime_error("the child is not in " + cgroup + ", where it was made");
}

ssize_t read_all(int fd, void* data, std::size_t size) {
  ssize_t got = 0;
  do {
    got = read(fd, data, size);
  } while (got < 0 && errno == EINTR);
  return got;
}

}  // namespace

ProcessId spawn(const ChildSpec& spec, const FdLayout& fds, const std::function<void(const ProcessId&)>& written_down) {
  Pipe go;
  Pipe report;
  const pid_t parent = getpid();
  const pid_t pid = fork_into(spec.cgroup);
  if (pid < 0)
    throw std::system_error(errno, std::generic_category(), spec.cgroup.empty() ? "fork" : "fork into " + spec.cgroup);
  if (pid == 0) {
    go.close_end(1);
    report.close_end(0);
    char byte = 0;
    if (read_all(go.ends[0].get(), &byte, 1) != 1) _exit(127);  // the parent died before it wrote us down
    Child(report.ends[1].get(), parent).run(spec, fds);
  }
  go.close_end(0);
  report.close_end(1);
  try {
    const std::optional<ProcessId> id = process_id(pid);
    if (!id) throw std::runtime_error("the child ended before it was started");
    written_down(*id);
    check_cgroup(pid, spec.cgroup);
    if (write(go.ends[1].get(), "g", 1) != 1)
      throw std::system_error(errno, std::generic_category(), "start the child");
    ChildFailure failure;
    if (read_all(report.ends[0].get(), &failure, sizeof failure) == static_cast<ssize_t>(sizeof failure)) {
      throw std::system_error(failure.error, std::generic_category(),
                              "cannot start " + spec.argv.at(0) + " (" + failure.stage.data() + ")");
    }
    return *id;
  } catch (...) {
    go.close_end(1);
    kill(pid, SIGKILL);
    reap(pid);
    throw;
  }
}

int ended_with(pid_t pid) {
  siginfo_t end{};
  while (waitid(P_PID, static_cast<id_t>(pid), &end, WEXITED | WNOWAIT) < 0) {
    if (errno != EINTR) return -1;
  }
  return end.si_code == CLD_EXITED ? end.si_status : 128 + end.si_status;
}

int reap(pid_t pid) {
  const int code = ended_with(pid);
  waitpid(pid, nullptr, 0);
  return code;
}

void reap_ended(pid_t pid) {
  sched_yield();  // that thread may be waiting for this CPU
  reap(pid);
}

void raise_file_limit(std::uint64_t least) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  for (const rlim_t most : {std::max<rlim_t>(limit.rlim_max, least), limit.rlim_max}) {
    const rlimit wanted{most, most};
    if (setrlimit(RLIMIT_NOFILE, &wanted) == 0) return;
  }
}

}  // namespace launcher::host
