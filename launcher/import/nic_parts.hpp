// A domain's network card on its way to a spec, for interface*.cpp only.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "launcher/import/walk.hpp"

namespace launcher::inline import {

struct NicWalk {
  Walk& walk;
  const XmlElement& nic;
  std::string handle = {};
  bool tap = false;                                           // or macvtap
  std::uint64_t group_vlan = 0, group_in = 0, group_out = 0;  // of the network's port group; 0: none

  Leaf at(std::string_view way) const { return walk.at(nic, way); }
  std::string key(std::string_view name) const { return fmt::format("{}.{}", handle, name); }
  void text(const char* name, const Leaf& leaf) const {
    walk.spec.text(handle, name, leaf.value());
    leaf.kept(key(name));
  }
};

void network_of(NicWalk& of);  // interface_network.cpp: of type 'network', what its network says

}  // namespace launcher::import
