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
#include "launcher/steps/context.hpp"

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

std::string MakeImage::describe() const {
  if (name.empty()) return fmt::format("make an overlay without a name in {}", directory);
  return fmt::format("make {} ({}, {}, preallocation {})", path_of(*this), format, to_string(size), preallocation);
}

std::string Pair::describe() const { return "make a pair of connected sockets"; }

std::string StartHelper::describe() const {
  std::string text = "start " + role;
  if (!child.affinity.empty()) text += fmt::format(" on CPUs {}", child.affinity.to_string());
  return text;
}

std::string StartQemu::describe() const {
  std::string text = "start QEMU paused";
  if (child.uid) text += fmt::format(" as uid {}", *child.uid);
  if (!child.affinity.empty()) text += fmt::format(" on CPUs {}", child.affinity.to_string());
  if (!child.private_nodes.empty())
    text += fmt::format(", with {} of its own", fmt::join(child.private_nodes, " and "));
  return text;
}

std::string EndProcess::describe() const {
  return process.pid == 0 ? std::string("end QEMU") : fmt::format("end process {}", process.pid);
}

void MakeImage::perform(PerformContext& context) const {
  const int unnamed = context.host.make_unnamed(directory);
  context.opened.unnamed.push_back({unnamed, name.empty() ? "" : path_of(*this)});
  constexpr int childs = 3;
  ChildSpec child;
  child.argv = {qemu_img,
                "create",
                "-q",
                "-f",
                format,
                "-o",
                "preallocation=" + preallocation,
                fmt::format("/dev/fd/{}", childs),
                std::to_string(size.count)};
  const int copy = fcntl(unnamed, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) throw std::system_error(errno, std::generic_category(), "dup");
  const ProcessId process = start(child, {{childs, copy}}, log, context);
  const int code = context.host.wait_for(process, [&] { tell_progress(*this, unnamed, context); });
  if (context.progress) context.progress("");
  if (code != 0) {
    std::ifstream words(log, std::ios::binary);
    throw std::runtime_error(
        fmt::format("{} ended with {}: {}", qemu_img, code, std::string{std::istreambuf_iterator<char>(words), {}}));
  }
  context.opened.fds[fd] = context.host.open_file(fmt::format("/proc/self/fd/{}", unnamed), true, direct);
}

void Pair::perform(PerformContext& context) const {
  const std::array<int, 2> ends = socket_pair();
  context.opened.fds[fd] = ends[0];
  context.opened.fds[other] = ends[1];
}

void StartHelper::perform(PerformContext& context) const {
  FdLayout its;
  for (const auto& [number, planned] : fds) {
    const auto opened = context.opened.fds.extract(planned);
    its[number] = opened.mapped();
  }
  context.opened.helpers.push_back({role, start(child, std::move(its), log, context)});
}

void StartQemu::perform(PerformContext& context) const {
  const std::array<int, 2> monitor = socket_pair();
  context.opened.monitor = monitor[0];
  FdLayout fds = std::exchange(context.opened.fds, {});
  fds[monitor_fd] = monitor[1];
  ChildSpec qemu = child;
  if (!qemu.private_dev.empty())
    qemu.private_nodes.insert(qemu.private_nodes.end(), context.opened.device_nodes.begin(),
                              context.opened.device_nodes.end());
  context.opened.qemu = start(qemu, std::move(fds), log, context);
}

void EndProcess::perform(UndoContext& context) const { context.host.end_process(process); }

}  // namespace launcher::inline steps
