// What is asked of this machine before a plan, and what is not.
#include "launcher/plan/facts.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>

#include "launcher/devices/identity.hpp"
#include "launcher/spec/spec.hpp"
#include "tests/lacks.hpp"

using namespace launcher;

TEST_CASE("the next uid is asked for only beside a VM that may have this one") {
  if (lacks(geteuid() == 0, "root")) return;
  std::map<unsigned, std::string> names;  // by uid, until two are neighbours
  std::string own, other;
  for (int i = 0; own.empty() && i < 1'000'000; ++i) {
    const std::string name = fmt::format("vm{}", i);
    const unsigned uid = uid_of(name);
    const auto below = names.lower_bound(uid - 1);
    if (below != names.end() && below->first <= uid) own = name, other = below->second;
    names[uid] = name;
  }
  REQUIRE(!own.empty());
  const std::filesystem::path base = std::filesystem::temp_directory_path() / fmt::format("vmrun-facts-{}", getpid());
  setenv("VMRUN_RUN_DIR", base.c_str(), 1);
  std::filesystem::create_directories(base / "somebody");
  Spec spec;
  spec.name = own;
  CHECK(gather_facts(spec, HostConfig{}, Cache::read_only).uids == std::vector<unsigned>{uid_of(own)});
  std::filesystem::create_directories(base / other);
  CHECK(gather_facts(spec, HostConfig{}, Cache::read_only).uids.size() == 2);
  unsetenv("VMRUN_RUN_DIR");
  std::filesystem::remove_all(base);
}
