#include "launcher/steps/processes.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "launcher/host/host.hpp"
#include "launcher/steps/step.hpp"

namespace launcher::inline steps {

namespace {

std::array<int, 2> socket_pair() {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) < 0)
    throw std::system_error(errno, std::generic_category(), "socketpair");
  return ends;
}

// A child with nothing on stdin and its words in a log. `fds` are closed here afterwards: it has its own copies.
ProcessId start(const ChildSpec& child, FdLayout fds, const std::string& log_file, PerformContext& context) {
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int log = open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const FdLayout given = fds;
  fds[0] = null;
  fds[1] = fds[2] = log;
  const auto close_ours = [&] {
    for (int fd : {null, log}) close(fd);
    for (const auto& [number, fd] : given) close(fd);
  };
  try {
    if (null < 0 || log < 0) throw std::system_error(errno, std::generic_category(), "open " + log_file);
    const ProcessId process =
        context.host.spawn(child, fds, [&](const ProcessId& id) { context.journal(EndProcess{id}); });
    close_ours();
    return process;
  } catch (...) {
    close_ours();
    throw;
  }
}

std::string path_of(const MakeImage& image) { return (std::filesystem::path(image.directory) / image.name).string(); }

void tell_progress(const MakeImage& image, int fd, const PerformContext& context) {
  struct stat info {};
  if (!context.progress || fstat(fd, &info) < 0) return;
  const std::uint64_t written = static_cast<std::uint64_t>(info.st_blocks) * 512;
  context.progress(fmt::format("making {}: {} of {}", image.name.empty() ? "an overlay" : path_of(image),
                               to_string(topology::Bytes{written >> 20 << 20}), to_string(image.size)));
}

}  // namespace

std::string describe(const MakeImage& step) {
  if (step.name.empty()) return fmt::format("make an overlay without a name in {}", step.directory);
  return fmt::format("make {} ({}, {}, preallocation {})", path_of(step), step.format, to_string(step.size),
                     step.preallocation);
}

std::string describe(const Pair&) { return "make a pair of connected sockets"; }

std::string describe(const StartHelper& step) {
  std::string text = "start " + step.role;
  if (!step.child.affinity.empty()) text += fmt::format(" on CPUs {}", step.child.affinity.to_string());
  return text;
}

std::string describe(const StartQemu& step) {
  std::string text = "start QEMU paused";
  if (step.child.uid) text += fmt::format(" as uid {}", *step.child.uid);
  if (!step.child.affinity.empty()) text += fmt::format(" on CPUs {}", step.child.affinity.to_string());
  if (!step.child.private_nodes.empty())
    text += fmt::format(", with {} of its own", fmt::join(step.child.private_nodes, " and "));
  return text;
}

std::string describe(const EndProcess& step) {
  return step.process.pid == 0 ? std::string("end QEMU") : fmt::format("end process {}", step.process.pid);
}

void perform(const MakeImage& step, PerformContext& context) {
  const int fd = context.host.make_unnamed(step.directory);
  context.opened.unnamed.push_back({fd, step.name.empty() ? "" : path_of(step)});
  constexpr int childs = 3;
  ChildSpec child;
  child.argv = {step.qemu_img,
                "create",
                "-q",
                "-f",
                step.format,
                "-o",
                "preallocation=" + step.preallocation,
                fmt::format("/dev/fd/{}", childs),
                std::to_string(step.size.count)};
  const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) throw std::system_error(errno, std::generic_category(), "dup");
  const ProcessId process = start(child, {{childs, copy}}, step.log, context);
  const int code = context.host.wait_for(process, [&] { tell_progress(step, fd, context); });
  if (context.progress) context.progress("");
  if (code != 0) {
    std::ifstream words(step.log, std::ios::binary);
    throw std::runtime_error(fmt::format("{} ended with {}: {}", step.qemu_img, code,
                                         std::string{std::istreambuf_iterator<char>(words), {}}));
  }
  context.opened.fds[step.fd] = context.host.open_file(fmt::format("/proc/self/fd/{}", fd), true, step.direct);
}

void perform(const Pair& step, PerformContext& context) {
  const std::array<int, 2> ends = socket_pair();
  context.opened.fds[step.fd] = ends[0];
  context.opened.fds[step.other] = ends[1];
}

void perform(const StartHelper& step, PerformContext& context) {
  FdLayout fds;
  for (const auto& [number, planned] : step.fds) {
    const auto opened = context.opened.fds.extract(planned);
    fds[number] = opened.mapped();
  }
  context.opened.helpers.push_back({step.role, start(step.child, std::move(fds), step.log, context)});
}

void perform(const StartQemu& step, PerformContext& context) {
  const std::array<int, 2> monitor = socket_pair();
  context.opened.monitor = monitor[0];
  FdLayout fds = std::exchange(context.opened.fds, {});
  fds[step.monitor_fd] = monitor[1];
  ChildSpec child = step.child;
  if (!child.private_dev.empty())
    child.private_nodes.insert(child.private_nodes.end(), context.opened.device_nodes.begin(),
                               context.opened.device_nodes.end());
  context.opened.qemu = start(child, std::move(fds), step.log, context);
}

void perform(const EndProcess& step, PerformContext& context) { context.host.end_process(step.process); }

}  // namespace launcher::inline steps
