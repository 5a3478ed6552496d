// Judges a plan by the kernel files alone: numbers of CPUs and nodes in, complaints out. It shares no type with place().
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/topology/sysfs_truth.hpp"

struct JudgedPlan {
  std::vector<unsigned> vcpus;  // the CPU of each; empty: not pinned
  std::set<unsigned> own, emulator, memory_nodes;
  unsigned product = 0;    // sockets x dies x cores x threads
  unsigned wanted = 0;     // vCPUs asked for
  bool explained = false;  // a note says why it crosses nodes, or who serves CPUs without memory
};

inline std::vector<std::string> judge(const SysfsTruth& truth, const JudgedPlan& plan) {
  std::vector<std::string> wrong;
  const auto all_in = [](const std::set<unsigned>& part, const std::set<unsigned>& whole) {
    return std::includes(whole.begin(), whole.end(), part.begin(), part.end());
  };
  // the kernel keeps processes off isolated CPUs by itself: a mask that lacks only these allows all
  std::set<unsigned> may = truth.allowed.empty() ? truth.online : truth.allowed;
  std::set<unsigned> plain;
  std::set_difference(truth.online.begin(), truth.online.end(), truth.isolated.begin(), truth.isolated.end(),
                      std::inserter(plain, plain.end()));
  if (all_in(plain, may)) may = truth.online;

  const std::set<unsigned> seats(plan.vcpus.begin(), plan.vcpus.end());
  if (seats.size() != plan.vcpus.size()) wrong.emplace_back("a CPU twice");
  if (!plan.vcpus.empty() && plan.vcpus.size() != plan.wanted) wrong.emplace_back("not each vCPU has a CPU");
  if (plan.product != plan.wanted) wrong.emplace_back("the guest's shape is another number of vCPUs");
  if (!all_in(seats, plan.own)) wrong.emplace_back("vCPUs on CPUs that are not the VM's");
  if (!all_in(plan.own, may) || !all_in(plan.emulator, may))
    wrong.emplace_back("CPUs that are not there or not allowed");
  if (plan.emulator.empty()) wrong.emplace_back("no CPU for the emulator");
  if (plan.emulator.size() > 1 && all_in(plan.emulator, truth.isolated)) wrong.emplace_back("a mask of isolated CPUs");
  std::set<unsigned> cpu_nodes, caches;
  for (const unsigned cpu : plan.own)
    for (const unsigned sibling : truth.siblings.at(cpu))
      if (may.contains(sibling) && !plan.own.contains(sibling)) wrong.emplace_back("a split core");
  for (const unsigned cpu : seats)
    for (const auto& [id, cpus] : truth.nodes)
      if (cpus.contains(cpu)) cpu_nodes.insert(id);
  if (cpu_nodes.size() > 1 && !plan.explained) wrong.emplace_back("crosses nodes without a word");
  for (const unsigned node : plan.memory_nodes) {
    if (truth.memory_kib.at(node) == 0) wrong.emplace_back("memory on a node without any");
    if (!cpu_nodes.empty() && !cpu_nodes.contains(node) && !plan.explained) wrong.emplace_back("memory is remote");
  }
  return wrong;
}

// The whole cores of a node that this many vCPUs could have, each L3 by itself: does one hold them?
inline bool one_l3_would_do(const SysfsTruth& truth, unsigned node, const std::set<unsigned>& never, unsigned vcpus) {
  std::map<std::set<unsigned>, unsigned> threads;
  for (const unsigned cpu : truth.nodes.at(node)) {
    const auto& core = truth.siblings.at(cpu);
    const bool whole = std::none_of(core.begin(), core.end(), [&](unsigned one) { return never.contains(one); });
    if (whole && truth.l3.contains(cpu)) ++threads[truth.l3.at(cpu)];
  }
  return std::any_of(threads.begin(), threads.end(), [vcpus](const auto& one) { return one.second >= vcpus; });
}
