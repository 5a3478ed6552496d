// A spec written down as one text says the same, wherever it is read: over all golden specs that are TOML.
#include <doctest/doctest.h>

#include <filesystem>

#include "launcher/spec/read_spec.hpp"
#include "tests/fakes/temp_dir.hpp"

using namespace launcher;

TEST_CASE("a merged spec has every value of the first, and merging it again changes nothing") {
  const std::vector<KeyInfo> keys = spec_keys();
  int seen = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(VMRUN_TESTS) + "/golden")) {
    const auto document = TomlDocument::load(entry.path() / "spec.toml", {});
    if (!document) continue;  // a golden of what is no TOML
    CAPTURE(entry.path().string());
    const std::string merged = document->merged(keys);
    const auto again = TomlDocument::parse(merged, "/elsewhere/spec.toml");
    REQUIRE_MESSAGE(again, merged);
    CHECK(again->values(keys) == document->values(keys));
    CHECK(again->merged(keys) == merged);
    ++seen;
  }
  CHECK(seen > 50);
}

TEST_CASE("relative paths start where their file was; words that stand for no path stay") {
  const fakes::TempDir dir;
  fakes::write_file(dir / "sub/base.toml", "[[disk]]\npath = \"base.raw\"\n");
  fakes::write_file(dir / "a.toml",
                    "include = [\"sub/base.toml\"]\n[[disk]]\npath = \"x y.raw\"\n[boot]\nfirmware = \"uefi\"\n"
                    "cmdline = \"a \\\"b\\\" \\\\ c\"\n[[rng]]\nsource = \"builtin\"\n");
  const auto document = TomlDocument::load(dir / "a.toml", {"cpu.count=3"});
  REQUIRE(document);
  const auto values = document->values(spec_keys());
  CHECK(values.at("disk[0].path") == "\"" + (dir / "sub/base.raw").string() + "\"");
  CHECK(values.at("disk[1].path") == "\"" + (dir / "x y.raw").string() + "\"");
  CHECK(values.at("boot.firmware") == "\"uefi\"");
  CHECK(values.at("rng[0].source") == "\"builtin\"");
  CHECK(values.at("cpu.count") == "3");
  CHECK(!values.contains("include"));
  const auto again = TomlDocument::parse(document->merged(spec_keys()), "/elsewhere/b.toml");
  REQUIRE(again);
  CHECK(again->values(spec_keys()) == values);
}
