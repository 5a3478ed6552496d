// What the files of rules (rules*.cpp) share. The rule: nobody else includes this.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "launcher/spec/read_spec.hpp"

namespace launcher::inline spec {

struct Rules {
  const Spec& spec;
  const Problems& found;
  Problems broken;

  // No problem was found with the key, with what is in it or what it is in, nor with a name that may have meant it.
  bool sound(std::string_view key) const;
  void add(std::string key, std::string what, std::string help) {
    broken.push_back({std::move(key), std::move(what), std::move(help)});
  }
  template <class Kind>
  std::vector<std::pair<std::string, const Kind*>> devices(std::string_view table) const {  // {"disk[0]", disk}, ...
    std::vector<std::pair<std::string, const Kind*>> all;
    for (const Device& device : spec.devices)
      if (const Kind* one = std::get_if<Kind>(&device)) all.emplace_back(fmt::format("{}[{}]", table, all.size()), one);
    return all;
  }
};

std::string count_of(unsigned n, std::string_view noun);

// rules_memory.cpp
void check_memory(Rules& rules);
void check_memory_kinds(Rules& rules);
void check_nodes(Rules& rules);
// rules_numa.cpp
void check_numa(Rules& rules);
// rules_devices.cpp
void check_queues_of_all(Rules& rules);
void check_guest(Rules& rules);
void check_duplicates(Rules& rules);
void check_shared(Rules& rules);
// rules_args.cpp
void check_extra_args(Rules& rules);

}  // namespace launcher::spec
