// `vmrun host --svg FILE`: hwloc's own lstopo draws the machine from XML on which each VM's CPUs are marked.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <stdexcept>

#include "launcher/commands/host_map.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/facts/qemu_features.hpp"
#include "launcher/host/filter.hpp"
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

// lstopo (to 2.9) gives the viewBox a unit, which a browser refuses: SVG 2, "viewBox" is four numbers.
std::string without_units(std::string svg) {
  const std::size_t from = svg.find("viewBox=");
  if (from == std::string::npos) return svg;
  const std::size_t first = from + 9, last = svg.find(svg[first - 1], first);
  for (std::size_t at = svg.find("px", first); at < last && at < svg.size(); at = svg.find("px", at)) svg.erase(at, 2);
  return svg;
}

// A line for each colour: whose CPUs have it.
std::vector<std::string> legend_of(const std::vector<topology::CpuMark>& marks) {
  std::map<std::string, topology::CpuSet> cpus;
  for (const topology::CpuMark& mark : marks) cpus[mark.text].add(mark.cpu);
  std::vector<std::string> words;
  for (const auto& [owner, set] : cpus) {
    words.emplace_back("--append-legend");
    words.push_back(owner + ": CPUs " + set.to_string());
  }
  return words;
}

}  // namespace

void draw_host(const topology::HostTopology& host, const topology::HostPolicy& policy,
               const topology::Reservations& taken, const std::string& file) {
  const std::vector<topology::CpuMark> marks = marks_of(host, policy, taken);
  const auto xml = topology::marked_xml(marks);
  if (!xml) throw std::runtime_error(xml.error());
  std::vector<std::string> argv = {find_lstopo(), "--if", "xml", "-i", "/proc/self/fd/0", "--of", "svg"};
  std::ranges::move(legend_of(marks), std::back_inserter(argv));
  argv.emplace_back("-");
  write_file(file, without_units(filtered(argv, *xml)));
}

}  // namespace launcher::commands
