// What is set inside a guest, as data, and how it gets there: lines for systemd's credentials, and a shell script for all else, which
// also reads it back. The rule: a setting says everything about itself, so that each way is written from the same list.
#pragma once

#include <boost/describe/class.hpp>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace launcher::inline devices {

struct GuestSetting {
  std::string key;              // "guest.swappiness"
  std::string what;             // "vm.swappiness"
  std::string wanted;           // as it is read back
  std::string how;              // the script's function for it: "file", "mtu", "channels", "interrupts", "tuned", ...
  std::vector<std::string> at;  // files (perhaps patterns), or MAC addresses
  friend bool operator==(const GuestSetting&, const GuestSetting&) = default;
};
BOOST_DESCRIBE_STRUCT(GuestSetting, (), (key, what, wanted, how, at))

// A [guest] key that is one file of the guest's kernel, the same for every guest.
struct GuestFile {
  std::string_view key, what, path;
  std::string_view udev =
      {};  // the rule that sets it for each device that comes; "" where there is none. {}: the value
};
const std::vector<GuestFile>& guest_files();

// "guide 004": "NAME = VALUE" each; empty: no such set.
std::vector<std::string> sysctl_set(std::string_view name);

std::string sysctl_path(std::string_view name);  // "net.core.rmem_max": "/proc/sys/net/core/rmem_max"

// By credential (systemd.system-credentials(7)) what it holds; without tmpfiles.extra, which has other lines, too.
std::map<std::string, std::string> guest_credentials(const std::vector<GuestSetting>& settings);
std::string guest_tmpfiles(const std::vector<GuestSetting>& settings);  // lines of tmpfiles.d(5)

// For a POSIX shell, as root. Words: none, to set and tell; "check", to tell; "boot", to set and never fail; "rows" and "set-rows", to
// tell a program: "NUMBER<TAB>IS<TAB>WHERE" for each setting, from 1.
std::string guest_script(const std::string& vm, const std::vector<GuestSetting>& settings);

struct GuestReading {
  std::string is, where;
  friend bool operator==(const GuestReading&, const GuestReading&) = default;
};
std::map<std::size_t, GuestReading> read_guest_rows(
    std::string_view out);  // by index, from 0; what is no row is left out

}  // namespace launcher::devices
