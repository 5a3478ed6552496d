// `vmrun host --svg FILE`: hwloc's own lstopo draws the machine from XML on which each VM's CPUs are marked.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "launcher/commands/host_map.hpp"
#include "launcher/facts/qemu_features.hpp"
#include "launcher/host/fd.hpp"
#include "launcher/host/process.hpp"
#include "topology/read_host.hpp"

namespace launcher::commands {

namespace {

// Light enough for black text; VMs beyond the list begin again.
constexpr std::array<const char*, 8> colours = {"#9ecae1", "#fdae6b", "#a1d99b", "#bcbddc",
                                                "#fa9fb5", "#c7e9b4", "#fdd0a2", "#d9d9d9"};

std::vector<topology::CpuMark> marks_of(const topology::HostTopology& host, const topology::HostPolicy& policy,
                                        const topology::Reservations& taken) {
  std::vector<topology::CpuMark> marks;
  for (std::size_t i = 0; i < taken.vms.size(); ++i)
    for (const unsigned cpu : taken.vms[i].cpus.to_vector())
      marks.push_back({cpu, "VM " + taken.vms[i].owner, colours.at(i % colours.size())});
  const topology::CpuSet housekeeping = policy.housekeeping.value_or(topology::default_housekeeping(host));
  for (const unsigned cpu : (housekeeping - taken.cpus()).to_vector())
    marks.push_back({cpu, "housekeeping", "#ffffcc"});
  return marks;
}

std::string find_lstopo() {
  for (const char* name : {"lstopo-no-graphics", "lstopo"})
    if (const auto found = find_qemu(name)) return *found;
  throw std::runtime_error("no lstopo in PATH to draw with; install it (Debian: apt install hwloc-nox)");
}

// In memory: lstopo seeks in its input, and nothing is left in the file system.
Fd text_in_memory(const std::string& text) {
  Fd fd = opened_or_refuse(memfd_create("vmrun-xml", MFD_CLOEXEC), "memfd");
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t put = write(fd.get(), text.data() + at, text.size() - at);
    if (put < 0 && errno != EINTR) refuse("write to memory");
    if (put > 0) at += static_cast<std::size_t>(put);
  }
  lseek(fd.get(), 0, SEEK_SET);
  return fd;
}

}  // namespace

void draw_host(const topology::HostTopology& host, const topology::HostPolicy& policy,
               const topology::Reservations& taken, const std::string& file) {
  const auto xml = topology::marked_xml(marks_of(host, policy, taken));
  if (!xml) throw std::runtime_error(xml.error());
  const Fd in = text_in_memory(*xml);
  const Fd out = opened_or_refuse(open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), "write " + file);
  ChildSpec child{};
  child.argv = {find_lstopo(), "--if", "xml", "-i", "/proc/self/fd/0", "--of", "svg", "-"};
  const ProcessId drawer = spawn(child, {{0, in.get()}, {1, out.get()}, {2, STDERR_FILENO}}, [](const ProcessId&) {});
  if (const int status = reap(drawer.pid); status != 0)
    throw std::runtime_error(fmt::format("{} ended with status {}", child.argv.front(), status));
}

}  // namespace launcher::commands
