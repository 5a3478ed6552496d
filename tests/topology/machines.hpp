// The machines of tests/hosts by name, and synthetic ones.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "topology/read_host.hpp"

inline topology::HostTopology machine(const std::string& name) {
  auto host = topology::read_host_argument(std::string(VMRUN_TESTS) + "/hosts/" + name + ".json");
  REQUIRE_MESSAGE(host, (host ? "" : host.error()));
  return *std::move(host);
}

inline topology::HostTopology synthetic(const std::string& description) {
  auto host = topology::read_synthetic(description);
  REQUIRE_MESSAGE(host, (host ? "" : host.error()));
  return *std::move(host);
}
