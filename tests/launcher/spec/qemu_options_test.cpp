// The table of QEMU's options against what each real QEMU at hand (VMRUN_TEST_QEMUS) says of itself.
#include "launcher/spec/qemu_options.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <set>
#include <sstream>
#include <string>

#include "tests/lacks.hpp"

namespace {

using namespace launcher;

std::string help_of(const std::string& qemu) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(("'" + qemu + "' -help").c_str(), "r"), pclose);
  REQUIRE(pipe);
  std::string text;
  std::array<char, 4096> part{};
  while (const std::size_t got = fread(part.data(), 1, part.size(), pipe.get())) text.append(part.data(), got);
  return text;
}

// "-fda/-fdb file  use ...": {"fda", "fdb"}, and that a value follows (one blank, then no other).
struct Line {
  std::set<std::string> names;
  bool takes_value = false;
};
Line parse(const std::string& line) {
  Line parsed;
  const std::size_t blank = std::min(line.find(' '), line.size());
  std::istringstream parts(line.substr(0, blank));
  for (std::string one; std::getline(parts, one, '/');) parsed.names.insert(one.substr(one.find_first_not_of('-')));
  const std::string rest = line.substr(blank);
  parsed.takes_value = rest.size() > 1 && rest[1] != ' ' && rest[1] != '\t';
  if (rest.starts_with(" or -")) {  // "-h or -help"
    parsed.names.insert(rest.substr(5, rest.find(' ', 5) - 5));
    parsed.takes_value = false;
  }
  return parsed;
}

}  // namespace

TEST_CASE("every option in the -help of every QEMU is in the table, and takes a value or not as it says") {
  const char* given = std::getenv("VMRUN_TEST_QEMUS");
  std::istringstream paths(given != nullptr ? given : "");
  unsigned qemus = 0;
  for (std::string qemu; std::getline(paths, qemu, ':'); ++qemus) {
    std::istringstream help(help_of(qemu));
    std::set<std::string> seen;
    for (std::string line; std::getline(help, line);) {
      if (!line.starts_with('-')) continue;
      const Line parsed = parse(line);
      for (const std::string& name : parsed.names) {
        CAPTURE(qemu);
        CAPTURE(line);
        const QemuOption* option = find_qemu_option(name);
        CHECK(option != nullptr);
        if (name == "M" || name == "dtb" || name == "async-teardown")
          continue;  // whose lines are laid out in another way
        if (option != nullptr && seen.insert(name).second) CHECK(option->takes_value == parsed.takes_value);
      }
    }
    CHECK(seen.size() > 95);
  }
  (void)lacks_tool(qemus != 0, "the QEMUs of VMRUN_TEST_QEMUS");
}

TEST_CASE("options: each is in the table once") {
  std::set<std::string> names;
  for (const QemuOption& option : qemu_options()) CHECK_MESSAGE(names.insert(option.name).second, option.name);
}

TEST_CASE("options: what of a value is vmrun's") {
  CHECK(!own_value("smbios", "type=1,serial=x").what.empty());
  CHECK(!own_value("smbios", "serial=x,type=1").what.empty());
  CHECK(!own_value("smbios", "type=11,value=x").what.empty());
  CHECK(own_value("smbios", "type=17").what.empty());
  CHECK(own_value("smbios", "type=3,asset=a,,type=1").what.empty());  // a comma in a value
  CHECK(!own_value("action", "panic=none").what.empty());
  CHECK(own_value("action", "reboot=shutdown").what.empty());
  CHECK(!own_value("global", "host-x86_64-cpu.vmx=on").what.empty());
  CHECK(own_value("global", "virtio-blk-pci.serial=x").what.empty());
}
