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
  CHECK(find_firmware(all.paths(), false) == Firmware{all.at("code.fd"), all.at("vars.fd"), false});
  CHECK(find_firmware(all.paths(), true) == Firmware{all.at("code.fd"), all.at("vars.fd"), true});
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
  CHECK(refused.error() == fmt::format("of {}: there is no file '{}'", all.at("etc/60-plain.json"), all.at("gone.fd")));
}
