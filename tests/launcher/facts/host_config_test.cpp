// /etc/vmrun/host.toml.
#include "launcher/facts/host_config.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "launcher/text/toml_reader.hpp"

namespace {

namespace fs = std::filesystem;

std::expected<launcher::HostConfig, std::string> read(const std::string& text) {
  const fs::path file = fs::temp_directory_path() / ("vmrun-host-" + std::to_string(getpid()) + ".toml");
  std::ofstream(file) << text;
  auto config = launcher::read_host_config(file);
  fs::remove(file);
  if (!config)  // the directory differs from machine to machine
    for (std::size_t at; (at = config.error().find(file.string())) != std::string::npos;)
      config.error().replace(at, file.string().size(), "host.toml");
  return config;
}

}  // namespace

TEST_CASE("every setting of the host has a default") {
  const auto config = read("");
  REQUIRE(config);
  CHECK(*config == launcher::HostConfig{});
  CHECK(config->qemu == "qemu-system-x86_64");
  CHECK(config->policy.keep_free == topology::mib(512));
  CHECK(*read("housekeeping = \"auto\"\nuser = \"auto\"\noverlays = \"auto\"\nvirtiofsd = \"auto\"\n") == *config);
}

TEST_CASE("settings of the host are read") {
  const auto config = read(
      "housekeeping = \"0-1,8\"\nkeep_free = \"1G\"\nqemu = \"/opt/qemu/bin/qemu-system-x86_64\"\nuser = \"vmrun\"\n"
      "passt = \"/opt/passt\"\n");
  REQUIRE(config);
  CHECK(config->policy.housekeeping == *topology::CpuSet::parse("0-1,8"));
  CHECK(config->policy.keep_free == topology::gib(1));
  CHECK(config->qemu == "/opt/qemu/bin/qemu-system-x86_64");
  CHECK(config->user == "vmrun");
  CHECK(config->passt == "/opt/passt");
  const auto places = read("overlays = \"/var/lib/vmrun\"\nvirtiofsd = \"/opt/virtiofsd\"\n");
  REQUIRE(places);
  CHECK(places->overlays == "/var/lib/vmrun");
  CHECK(places->virtiofsd == "/opt/virtiofsd");
}

TEST_CASE("what is wrong with them is said all at once") {
  const auto config = read("house_keeping = \"0\"\nkeep_free = 512\nqemu = \"\"\nuser = \"root\"\npasst = \"\"\n");
  REQUIRE(!config);
  CHECK(config.error() ==
        "error: house_keeping: there is no key \"house_keeping\"; wanted housekeeping, keep_free, qemu, passt, swtpm, "
        "user, identity, overlays, virtiofsd or state_dir\n"
        "  --> host.toml:1:1\n1 | house_keeping = \"0\"\n  | ^^^^^^^^^^^^^\nhelp: did you mean \"housekeeping\"?\n\n"
        "error: keep_free: 512 has no unit; wanted a size from 0 to 1P\n"
        "  --> host.toml:2:13\n2 | keep_free = 512\n  |             ^^^\nhelp: write it in quotes with K, M, G or T: "
        "keep_free = \"512M\"\n\n"
        "error: qemu: is empty; wanted a path, or a name to look up in PATH\n"
        "  --> host.toml:3:8\n3 | qemu = \"\"\n  |        ^^\nhelp: write qemu = \"qemu-system-x86_64\"\n\n"
        "error: user: \"root\"; wanted a user without rights: QEMU needs none, vmrun opens everything for it\n"
        "  --> host.toml:4:8\n4 | user = \"root\"\n  |        ^^^^^^\nhelp: write user = \"auto\" for a user of its "
        "own per VM\n\n"
        "error: passt: is empty; wanted a path, or a name to look up in PATH\n"
        "  --> host.toml:5:9\n5 | passt = \"\"\n  |         ^^\nhelp: write passt = \"passt\"\n\n"
        "5 problems in host.toml; nothing was changed\n");
  CHECK(!read("qemu = x\n"));
  CHECK(!launcher::read_host_config("/nonexistent/host.toml"));
}

TEST_CASE("the host's keys are these") {
  std::string keys;
  for (const launcher::KeyInfo& key : launcher::host_config_keys()) keys += key.path + " ";
  CHECK(keys == "housekeeping keep_free qemu passt swtpm user identity overlays virtiofsd state_dir ");
}
