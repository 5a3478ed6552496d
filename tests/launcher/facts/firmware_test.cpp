// Firmware descriptors in directories of the test's own: which one is chosen, and what is said when there is none.
#include "launcher/facts/firmware.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "tests/fakes/temp_dir.hpp"

namespace {

using launcher::find_firmware;
using launcher::Firmware;

struct Directories {
  fakes::TempDir dir;
  Directories() { fakes::write_file(dir / "code.fd", "c"), fakes::write_file(dir / "vars.fd", "v"); }
  std::vector<std::filesystem::path> paths() const { return {dir / "usr", dir / "etc"}; }
  std::string at(const char* name) const { return (dir / name).string(); }

  void add(const std::string& file, const std::string& features, const std::string& code = "code.fd",
           const std::string& machines = "pc-q35-*", const std::string& device = "flash") const {
    fakes::write_file(dir / file, fmt::format(R"({{"interface-types":["uefi"],"mapping":{{"device":"{}",
        "executable":{{"filename":"{}","format":"raw"}},"nvram-template":{{"filename":"{}","format":"raw"}}}},
        "targets":[{{"architecture":"x86_64","machines":["{}"]}}],"features":[{}]}})",
                                              device, at(code.c_str()), at("vars.fd"), machines, features));
  }
};

}  // namespace

TEST_CASE("firmware: the first by name that fits") {
  const Directories all;
  CHECK(find_firmware(all.paths(), false).error().find("none of the 0 firmware descriptors") == 0);
  all.add("usr/10-other.json", "", "code.fd", "microvm");
  all.add("usr/20-memory.json", "", "code.fd", "pc-q35-*", "memory");
  fakes::write_file(all.dir / "usr/30-broken.json", "{");
  fakes::write_file(all.dir / "usr/31-odd.json", R"({"mapping": 7})");
  fakes::write_file(all.dir / "usr/01-readme.txt", "no descriptor");
  all.add("usr/40-secure.json", R"("secure-boot","enrolled-keys","requires-smm")");
  all.add("usr/50-setup-mode.json", R"("secure-boot","requires-smm")");
  CHECK(!find_firmware(all.paths(), false));
  all.add("usr/60-plain.json", R"("acpi-s3")");
  CHECK(find_firmware(all.paths(), false) == Firmware{all.at("code.fd"), all.at("vars.fd"), "raw", "raw", false});
  CHECK(find_firmware(all.paths(), true) == Firmware{all.at("code.fd"), all.at("vars.fd"), "raw", "raw", true});
}

TEST_CASE("firmware: /etc replaces the package's file of the same name, and images must be there") {
  const Directories all;
  fakes::write_file(all.dir / "mine.fd", "m");
  all.add("usr/60-plain.json", "");
  all.add("etc/60-plain.json", "", "mine.fd");
  CHECK(find_firmware(all.paths(), false)->code == all.at("mine.fd"));
  all.add("etc/60-plain.json", "", "gone.fd");
  const auto refused = find_firmware(all.paths(), false);
  REQUIRE(!refused);
  CHECK(refused.error() ==
        fmt::format("{} names '{}', which cannot be read", all.at("etc/60-plain.json"), all.at("gone.fd")));
}

TEST_CASE("firmware: where descriptors are, and in which formats images may be") {
  const auto before = [](const char* name) { return std::string(getenv(name) != nullptr ? getenv(name) : ""); };
  const std::string home = before("HOME"), config = before("XDG_CONFIG_HOME");
  unsetenv("XDG_CONFIG_HOME");
  setenv("HOME", "/home/a", 1);
  using Paths = std::vector<std::filesystem::path>;
  CHECK(launcher::firmware_directories("/usr/bin/qemu-system-x86_64") ==
        Paths{"/usr/share/qemu/firmware", "/etc/qemu/firmware", "/home/a/.config/qemu/firmware"});
  setenv("XDG_CONFIG_HOME", "/x", 1);
  CHECK(launcher::firmware_directories("/opt/qemu/bin/qemu") ==
        Paths{"/usr/share/qemu/firmware", "/opt/qemu/share/qemu/firmware", "/etc/qemu/firmware", "/x/qemu/firmware"});
  setenv("HOME", home.c_str(), 1);
  config.empty() ? unsetenv("XDG_CONFIG_HOME") : setenv("XDG_CONFIG_HOME", config.c_str(), 1);

  const Directories all;
  all.add("usr/60-plain.json", "");
  const std::string text = fakes::read_file(all.dir / "usr/60-plain.json");
  const auto with = [&](const std::string& format) {
    std::string changed = text;
    for (std::size_t at; (at = changed.find("\"raw\"")) != changed.npos;) changed.replace(at, 5, "\"" + format + "\"");
    fakes::write_file(all.dir / "etc/60-plain.json", changed);
    return find_firmware(all.paths(), false);
  };
  REQUIRE(with("qcow2"));
  CHECK(with("qcow2")->code_format == "qcow2");
  CHECK(with("qcow2")->vars_format == "qcow2");
  CHECK(!with("vmdk"));
  fakes::write_file(all.dir / "etc/60-plain.json", "");  // an empty file of that name takes it away
  CHECK(!find_firmware(all.paths(), false));
  CHECK(
      launcher::firmware_of("a.qcow2", "b.fd", true) ==
      Firmware{.code = "a.qcow2", .vars_template = "b.fd", .code_format = "qcow2", .vars_format = "raw", .smm = true});
}
