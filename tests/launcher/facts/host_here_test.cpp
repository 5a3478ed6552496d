// What is kept of this host until the next boot, and what is not believed of it.
#include "launcher/facts/host_here.hpp"

#include <doctest/doctest.h>

#include <cstdlib>

#include "launcher/facts/qemu_cache.hpp"
#include "tests/fakes/temp_dir.hpp"
#include "topology/read_host.hpp"

using namespace launcher;

TEST_CASE("this host is read whole once in a boot, and again where the kernel contradicts what is kept") {
  const fakes::TempDir dir;
  const char* given = std::getenv("VMRUN_CACHE_DIR");
  const std::string before = given != nullptr ? given : "";
  setenv("VMRUN_CACHE_DIR", dir.path().c_str(), 1);
  const std::string key = key_of_host_here();
  auto host = host_here(Cache::read_only);
  REQUIRE(host);
  CHECK(read_cache(key, "topology").empty());
  CHECK(host_here(Cache::store)->pus == host->pus);
  REQUIRE(read_cache(key, "topology").size() == 1);
  CHECK(topology::host_from_json(read_cache(key, "topology")[0])->pus == host->pus);

  const auto keep = [&](topology::HostTopology altered) {
    std::string line = to_json(altered);
    std::erase(line, '\n');
    write_cache(key, line, "topology");
  };
  topology::HostTopology altered = *host;
  altered.cpu_model = "as it was kept";
  altered.isolated = topology::CpuSet{0};
  altered.nodes[0].memory_total = topology::gib(1);
  altered.nodes[0].distances.clear();
  keep(altered);
  const auto again = host_here(Cache::read_only);
  CHECK(again->cpu_model == "as it was kept");
  CHECK(again->isolated == host->isolated);
  CHECK(again->nodes[0].memory_total == host->nodes[0].memory_total);
  CHECK(again->nodes[0].distances == host->nodes[0].distances);

  altered.pus.push_back(altered.pus.back());
  ++altered.pus.back().cpu;
  keep(altered);
  CHECK(host_here(Cache::read_only)->cpu_model == host->cpu_model);
  write_cache(key, "{\"version\":1,", "topology");
  CHECK(host_here(Cache::read_only)->pus == host->pus);
  given != nullptr ? setenv("VMRUN_CACHE_DIR", before.c_str(), 1) : unsetenv("VMRUN_CACHE_DIR");
}
