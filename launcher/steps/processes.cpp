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
#include <map>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "launcher/host/host.hpp"
#include "launcher/steps/context.hpp"

namespace launcher::inline steps {

namespace {

std::array<Fd, 2> socket_pair() {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) < 0) refuse("socketpair");
  return {Fd(ends[0]), Fd(ends[1])};
}

Fd open_log(const std::string& path) {
  return opened_or_refuse(open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644), "open " + path);
}

// A child with nothing on stdin and its words in `log`. It has its own copies of `fds`.
// NOLINTNEXTLINE(performance-unnecessary-value-param): they are closed here at its end
ProcessId start(const ChildSpec& child, std::map<int, Fd> fds, const Fd& log, PerformContext& context) {
  const Fd null = opened_or_refuse(open("/dev/null", O_RDONLY | O_CLOEXEC), "open /dev/null");
  FdLayout layout{{0, null.get()}, {1, log.get()}, {2, log.get()}};
  for (const auto& [number, fd] : fds) layout[number] = fd.get();
  return context.host.processes.spawn(child, layout, [&](const ProcessId& id) { context.journal(EndProcess{id}); });
}

// The same for one that a guest may make talk: it is never waited for, and its log is bounded.
ProcessId start_bounded(const ChildSpec& child, std::map<int, Fd> fds, const std::string& log,
                        PerformContext& context) {
  LogPipe& pipe = context.opened.logs.add({log, open_log(log), LogPipe::least});
  return start(child, std::move(fds), pipe.take_writer(false), context);
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
  context.opened.unnamed.push_back({context.host.files.make_unnamed(directory), name.empty() ? "" : path_of(*this)});
  const int unnamed = context.opened.unnamed.back().fd.get();
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
  std::map<int, Fd> its;
  its[childs] = opened_or_refuse(fcntl(unnamed, F_DUPFD_CLOEXEC, 0), "dup");
  const ProcessId process = start(child, std::move(its), open_log(log), context);
  const int code = context.host.processes.wait_for(process, [&] { tell_progress(*this, unnamed, context); });
  if (context.progress) context.progress("");
  if (code != 0) {
    std::ifstream words(log, std::ios::binary);
    throw std::runtime_error(
        fmt::format("{} ended with {}: {}", qemu_img, code, std::string{std::istreambuf_iterator<char>(words), {}}));
  }
  context.opened.fds[fd] = context.host.files.open_file(fmt::format("/proc/self/fd/{}", unnamed), true, direct);
}

void Pair::perform(PerformContext& context) const {
  std::array<Fd, 2> ends = socket_pair();
  context.opened.fds[fd] = std::move(ends[0]);
  context.opened.fds[other] = std::move(ends[1]);
}

void StartHelper::perform(PerformContext& context) const {
  std::map<int, Fd> its;
  for (const auto& [number, planned] : fds) its[number] = std::move(context.opened.fds.extract(planned).mapped());
  context.opened.helpers.push_back({role, start_bounded(child, std::move(its), log, context)});
}

void StartQemu::perform(PerformContext& context) const {
  std::array<Fd, 2> monitor = socket_pair();
  context.opened.monitor = std::move(monitor[0]);
  std::map<int, Fd> fds = std::exchange(context.opened.fds, {});
  fds[monitor_fd] = std::move(monitor[1]);
  ChildSpec qemu = child;
  if (!qemu.private_dev.empty())
    qemu.private_nodes.insert(qemu.private_nodes.end(), context.opened.device_nodes.begin(),
                              context.opened.device_nodes.end());
  context.opened.qemu = start_bounded(qemu, std::move(fds), log, context);
  for (const auto& memory : context.opened.fillings) memory->begin();
}

void EndProcess::perform(UndoContext& context) const { context.host.processes.end_process(process); }

}  // namespace launcher::steps
