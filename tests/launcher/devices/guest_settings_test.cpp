// The guest's half as text for each way into it; and its script, run by the shells of this machine over files of our own.
#include "launcher/devices/guest_settings.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <string>

#include "tests/fakes/temp_dir.hpp"

namespace launcher::inline devices {

namespace {

namespace fs = std::filesystem;

GuestSetting file(const std::string& path, const std::string& wanted) {
  return {"guest.x", "x of " + path, wanted, "file", {path}};
}

struct Said {
  std::string out;
  int code = 0;
};
Said run(const std::string& shell, const fs::path& script, const std::string& word) {
  Said said;
  FILE* pipe = popen(fmt::format("{} {} {} 2>&1", shell, script.string(), word).c_str(), "r");
  std::array<char, 4096> block{};
  while (const std::size_t count = fread(block.data(), 1, block.size(), pipe)) said.out.append(block.data(), count);
  said.code = WEXITSTATUS(pclose(pipe));
  return said;
}

void write(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }

}  // namespace

TEST_CASE("guest: a sysctl's file, as sysctl(8) has it") {
  CHECK(sysctl_path("net.core.rmem_max") == "/proc/sys/net/core/rmem_max");
  CHECK(sysctl_path("net.ipv4.conf.eth0/100.rp_filter") == "/proc/sys/net/ipv4/conf/eth0.100/rp_filter");
  CHECK(sysctl_path("net/ipv4/conf/eth0.100/rp_filter") == "/proc/sys/net/ipv4/conf/eth0.100/rp_filter");
}

TEST_CASE("guest: what each credential holds") {
  const std::vector<GuestSetting> all = {
      {"guest.queues", "channels", "4", "channels", {"52:54:00:00:00:01"}},
      {"guest.mtu", "mtu", "9000", "mtu", {"52:54:00:00:00:01"}},
      {"guest.sysctls", "net.core.somaxconn", "65535", "file", {"/proc/sys/net/core/somaxconn"}},
      {"guest.sysctls", "v", "1", "file", {"/proc/sys/net/ipv4/conf/eth0.100/rp_filter"}},
      {"guest.rq_affinity",
       "rq",
       "2",
       "file",
       {"/sys/block/vd*/queue/rq_affinity", "/sys/block/sd*/queue/rq_affinity"}},
      {"guest.tuned", "tuned", "virtual-guest", "tuned", {}},
  };
  const auto credentials = guest_credentials(all);
  CHECK(credentials.size() == 4);
  CHECK(credentials.at("systemd.unit-dropin.sysinit.target~vmrun") ==
        "[Unit]\nWants=systemd-udev-load-credentials.service systemd-network-generator.service\n");
  CHECK(credentials.at("sysctl.extra") == "net.core.somaxconn = 65535\nnet/ipv4/conf/eth0.100/rp_filter = 1\n");
  CHECK(credentials.at("udev.rules.90-vmrun") ==
        "ACTION!=\"remove\", SUBSYSTEM==\"block\", ENV{DEVTYPE}==\"disk\", KERNEL==\"vd*|sd*|nvme*\", "
        "ATTR{queue/rq_affinity}=\"2\"\n");
  CHECK(credentials.at("network.link.98-vmrun0") ==
        "[Match]\nMACAddress=52:54:00:00:00:01\nType=ether\n[Link]\n"
        "NamePolicy=keep kernel database onboard slot path\nAlternativeNamesPolicy=database onboard slot path mac\n"
        "MACAddressPolicy=persistent\nCombinedChannels=4\nMTUBytes=9000\n");
  CHECK(guest_tmpfiles(all) ==
        "w- /sys/block/vd*/queue/rq_affinity - - - - 2\nw- /sys/block/sd*/queue/rq_affinity - - - - 2\n");
}

TEST_CASE("guest: rows of the script, and what is none") {
  const auto rows =
      read_guest_rows("1\t10\t/a\nnoise\n0\tx\ty\n3\ta b\t/c\twith a tab\n3\tlater\t/d\nx2\t1\t/e\n2\t1\n");
  CHECK(rows.size() == 2);
  CHECK(rows.at(0) == GuestReading{"10", "/a"});
  CHECK(rows.at(2) == GuestReading{"a b", "/c\twith a tab"});
}

TEST_CASE("guest: the script sets, reads back and says what it could not set") {
  const fakes::TempDir dir;
  const fs::path at = dir.path();
  const std::vector<GuestSetting> all = {
      file(at / "number", "10"),
      file(at / "choice", "never"),
      file(at / "blanks", "4096 1048576 16777216"),
      file(at / "none", "1"),
      file((at / "disk*").string() + "/rq", "2"),
      {"guest.haltpoll", "idle=", "none", "bootword", {"no-such-word="}},
      {"guest.mtu", "mtu", "9000", "mtu", {"52:54:00:ff:ff:fe"}},
      {"guest.queues", "queues", "2", "channels", {"52:54:00:ff:ff:fe"}},
      {"guest.irqs", "irqs", "0-1", "interrupts", {"52:54:00:ff:ff:fe"}},
  };
  write(at / "script", guest_script("a", all));
  for (const std::string shell : {"sh", "busybox sh"}) {
    if (shell != "sh" && std::system("command -v busybox >/dev/null") != 0) continue;
    CAPTURE(shell);
    write(at / "number", "60\n");
    write(at / "choice", "always [madvise] never\n");
    write(at / "blanks", "4096\t1048576\t16777216\n");
    for (const char* disk : {"disk0", "disk1"}) fs::create_directories(at / disk);
    write(at / "disk0/rq", "2\n");
    write(at / "disk1/rq", "1\n");

    auto rows = read_guest_rows(run(shell, at / "script", "rows").out);
    CHECK(rows.size() == all.size());
    CHECK(rows[0] == GuestReading{"60", at / "number"});
    CHECK(rows[1] == GuestReading{"madvise", at / "choice"});
    CHECK(rows[2] == GuestReading{"4096 1048576 16777216", at / "blanks"});
    CHECK(rows[3] == GuestReading{"not there", at / "none"});
    CHECK(rows[4] == GuestReading{"1", at / "disk1/rq"});
    CHECK(rows[5].is == "none");
    CHECK(rows[6].is == "not there");
    CHECK(rows[7].is == "0");
    CHECK(rows[8].is == "not there");
    CHECK(fakes::read_file(at / "number") == "60\n");

    const Said set = run(shell, at / "script", "");
    CHECK(set.code == 1);
    CHECK(set.out.find(fmt::format("held: x of {}/number = 10\n", at.string())) != std::string::npos);
    CHECK(set.out.find("wanted 1, is not there") != std::string::npos);
    CHECK(fakes::read_file(at / "number") == "10\n");
    CHECK(fakes::read_file(at / "disk1/rq") == "2\n");
    CHECK(run(shell, at / "script", "boot").code == 0);

    write(at / "number", "61\n");
    CHECK(read_guest_rows(run(shell, at / "script", "set-rows").out).at(0).is == "10");
    write(at / "number", "62\n");
    const Said check = run(shell, at / "script", "check");
    CHECK(check.out.find("wanted 10, is 62") != std::string::npos);
    CHECK(fakes::read_file(at / "number") == "62\n");
  }
}

}  // namespace launcher::devices
