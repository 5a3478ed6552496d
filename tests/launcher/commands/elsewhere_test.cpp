// VMs of other users: named, with the way to reach them; our own and dead ones are not among them.
#include "launcher/commands/elsewhere.hpp"

#include <doctest/doctest.h>

#include <filesystem>

#include "launcher/steps/vm_dir.hpp"
#include "tests/fakes/temp_dir.hpp"

TEST_CASE("a user is told of root's VMs, and root of the users'") {
  using namespace launcher;
  const fakes::TempDir dir;
  const auto system = dir / "run", users = dir / "user", mine = users / "1000/vmrun";
  for (const auto& base : {system, mine, users / "1001/vmrun"}) std::filesystem::create_directories(base);
  REQUIRE(VmDir::claim(system, "db"));
  REQUIRE(VmDir::claim(mine, "own"));
  REQUIRE(VmDir::claim(users / "1001/vmrun", "web"));
  std::filesystem::create_directories(system / "dead");  // nobody owns it
  const auto seen = commands::vms_elsewhere(mine, system, users);
  REQUIRE(seen.size() == 2);
  CHECK(seen[0].name == "db");
  CHECK(seen[0].whose == "root");
  CHECK(seen[0].reach == "sudo vmrun");
  CHECK(seen[1].name == "web");
  CHECK(seen[1].whose == "user 1001");
  CHECK(commands::vms_elsewhere(system, system, users).size() == 2);
  CHECK(commands::vms_elsewhere(mine, dir / "none", dir / "none").empty());
}
