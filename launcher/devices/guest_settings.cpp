#include "launcher/devices/guest_settings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "topology/words.hpp"

namespace launcher::inline devices {

namespace {

constexpr std::string_view sysctls = "/proc/sys/";

bool is_sysctl(const GuestSetting& one) { return one.how == "file" && one.at.at(0).starts_with(sysctls); }

// Names of files stay, and have dots: "/" is between them where both are there.
std::string sysctl_name(const std::string& path) {
  std::string name = path.substr(sysctls.size());
  if (name.find('.') == name.npos) std::ranges::replace(name, '/', '.');
  return name;
}

// A card's [Link] has what the guest's own 99-default.link would have said, since only the first that matches counts.
std::string link_file(const std::string& mac, const std::string& lines) {
  return fmt::format(
      "[Match]\nMACAddress={}\nType=ether\n[Link]\nNamePolicy=keep kernel database onboard slot path\n"
      "AlternativeNamesPolicy=database onboard slot path mac\nMACAddressPolicy=persistent\n{}",
      mac, lines);
}

}  // namespace

const std::vector<GuestFile>& guest_files() {
  static const std::vector<GuestFile> all = {
      {"rq_affinity", "rq_affinity of its disks",
       "/sys/block/vd*/queue/rq_affinity /sys/block/sd*/queue/rq_affinity /sys/block/nvme*/queue/rq_affinity",
       "ACTION!=\"remove\", SUBSYSTEM==\"block\", ENV{{DEVTYPE}}==\"disk\", KERNEL==\"vd*|sd*|nvme*\", "
       "ATTR{{queue/rq_affinity}}=\"{}\""},
      {"haltpoll", "guest_halt_poll_ns", "/sys/module/haltpoll/parameters/guest_halt_poll_ns"},
      {"clocksource", "clock source", "/sys/devices/system/clocksource/clocksource0/current_clocksource"},
      {"swappiness", "vm.swappiness", "/proc/sys/vm/swappiness"},
      {"hugepages", "vm.nr_hugepages", "/proc/sys/vm/nr_hugepages"},
      {"transparent_hugepages", "transparent huge pages", "/sys/kernel/mm/transparent_hugepage/enabled"},
  };
  return all;
}

std::vector<std::string> sysctl_set(std::string_view name) {
  if (name != "guide 004") return {};
  return {"net.core.rmem_max = 16777216",
          "net.core.wmem_max = 16777216",
          "net.core.rmem_default = 1048576",
          "net.core.wmem_default = 1048576",
          "net.core.netdev_max_backlog = 5000",
          "net.core.somaxconn = 65535",
          "net.ipv4.tcp_rmem = 4096 1048576 16777216",
          "net.ipv4.tcp_wmem = 4096 1048576 16777216"};
}

// As sysctl(8) has it: what separates first separates; the other one is part of a name.
std::string sysctl_path(std::string_view name) {
  std::string path(name);
  const std::size_t first = path.find_first_of("./");
  if (first != path.npos && path[first] == '.')
    for (char& c : path) c = c == '.' ? '/' : c == '/' ? '.' : c;
  return std::string(sysctls) + path;
}

std::map<std::string, std::string> guest_credentials(const std::vector<GuestSetting>& settings) {
  std::map<std::string, std::string> all, links;
  std::string rules;
  for (const GuestSetting& one : settings) {
    if (is_sysctl(one)) all["sysctl.extra"] += fmt::format("{} = {}\n", sysctl_name(one.at[0]), one.wanted);
    if (one.how == "mtu") links[one.at[0]] += fmt::format("MTUBytes={}\n", one.wanted);
    if (one.how == "channels") links[one.at[0]] += fmt::format("CombinedChannels={}\n", one.wanted);
    if (one.how == "driver")
      rules += "ACTION==\"add\", SUBSYSTEM==\"cpu\", RUN{builtin}+=\"kmod load cpuidle_haltpoll\"\n";
    for (const GuestFile& file : guest_files())
      if (!file.udev.empty() && one.key == fmt::format("guest.{}", file.key))
        rules += fmt::format(fmt::runtime(file.udev), one.wanted) + "\n";
  }
  if (!rules.empty()) all["udev.rules.90-vmrun"] = rules;
  // Debian has these two units and does not start them.
  if (!rules.empty() || !links.empty())
    all["systemd.unit-dropin.sysinit.target~vmrun"] =
        "[Unit]\nWants=systemd-udev-load-credentials.service systemd-network-generator.service\n";
  std::size_t card = 0;
  for (const auto& [mac, lines] : links) all[fmt::format("network.link.98-vmrun{}", card++)] = link_file(mac, lines);
  return all;
}

// '-': a guest that has no such file, or does not take the value, boots all the same.
std::string guest_tmpfiles(const std::vector<GuestSetting>& settings) {
  std::string text;
  for (const GuestSetting& one : settings) {
    if (one.how != "file" || is_sysctl(one)) continue;
    for (const std::string& path : one.at) text += fmt::format("w- {} - - - - {}\n", path, one.wanted);
  }
  return text;
}

std::map<std::size_t, GuestReading> read_guest_rows(std::string_view out) {
  std::map<std::size_t, GuestReading> rows;
  std::istringstream lines{std::string(out)};
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find('\t'), second = line.find('\t', first + 1);
    if (first == line.npos || second == line.npos) continue;
    const auto number = topology::number_of(std::string_view(line).substr(0, first));
    if (!number || *number == 0) continue;
    rows.try_emplace(*number - 1, GuestReading{line.substr(first + 1, second - first - 1), line.substr(second + 1)});
  }
  return rows;
}

}  // namespace launcher::devices
