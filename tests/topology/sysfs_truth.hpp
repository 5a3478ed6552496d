// What a tree of kernel files says of CPUs and nodes, read by the tests themselves: no type or function of topology/ but
// CapturedFile, so that a mistake there is not made twice.
#pragma once

#include <cstdlib>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "topology/capture.hpp"

struct SysfsTruth {
  using Cpus = std::set<unsigned>;
  Cpus online, isolated, allowed;                // allowed: empty where the tree has no word on it
  std::map<unsigned, Cpus> nodes;                // all nodes that are online, also without CPUs
  std::map<unsigned, Cpus> siblings;             // by CPU
  std::map<unsigned, Cpus> l3;                   // by CPU, where it has an L3
  std::map<unsigned, std::uint64_t> memory_kib;  // by node

  static Cpus list(const std::string& text) {
    Cpus cpus;
    std::istringstream parts(text);
    for (std::string part; std::getline(parts, part, ',');) {
      if (part.find_first_of("0123456789") == part.npos) continue;
      const auto dash = part.find('-');
      const unsigned first = static_cast<unsigned>(std::atoi(part.c_str()));
      const unsigned last = dash == part.npos ? first : static_cast<unsigned>(std::atoi(part.c_str() + dash + 1));
      for (unsigned cpu = first; cpu <= last; ++cpu) cpus.insert(cpu);
    }
    return cpus;
  }
  static Cpus mask(const std::string& text) {
    Cpus cpus;
    unsigned bit = 0;
    for (auto digit = text.rbegin(); digit != text.rend(); ++digit) {
      if (*digit == ',' || *digit == '\n') continue;
      const unsigned value = static_cast<unsigned>(std::stoul(std::string(1, *digit), nullptr, 16));
      for (unsigned i = 0; i < 4; ++i, ++bit)
        if ((value >> i & 1) != 0) cpus.insert(bit);
    }
    return cpus;
  }

  explicit SysfsTruth(const std::vector<topology::CapturedFile>& files) {
    std::map<std::string, std::string> text;
    for (const auto& file : files) text[file.path] = file.text;
    const std::string cpu = "/sys/devices/system/cpu", node = "/sys/devices/system/node";
    online = list(text[cpu + "/online"]);
    isolated = list(text[cpu + "/isolated"]);
    for (const unsigned id : list(text[node + "/online"])) {
      const std::string at = node + "/node" + std::to_string(id);
      nodes[id] = list(text[at + "/cpulist"]);
      const std::string meminfo = text[at + "/meminfo"];
      if (const auto total = meminfo.find("MemTotal:"); total != meminfo.npos)
        memory_kib[id] = std::strtoull(meminfo.c_str() + total + 9, nullptr, 10);
    }
    for (const unsigned one : online) {
      const std::string at = cpu + "/cpu" + std::to_string(one);
      siblings[one] = list(text[at + "/topology/thread_siblings_list"]);
      if (siblings[one].empty()) siblings[one] = mask(text[at + "/topology/thread_siblings"]);
      if (text[at + "/cache/index3/level"] == "3\n") l3[one] = mask(text[at + "/cache/index3/shared_cpu_map"]);
    }
    std::istringstream lines(text["/proc/self/status"]);
    const std::string key = "Cpus_allowed_list:";
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with(key)) allowed = list(line.substr(key.size() + 1));
  }
};
