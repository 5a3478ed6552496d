// The guest's memory: on which nodes, in pages of which size, mapped for the guest in which size, locked.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <cstdint>
#include <map>

#include "launcher/proof/kvm_stats.hpp"
#include "launcher/proof/proofs.hpp"
#include "launcher/proof/subject.hpp"
#include "launcher/text/json_member.hpp"

namespace launcher::inline proof {

namespace {

namespace json = boost::json;

using topology::Bytes;
using topology::MappedRange;

// What of a guest may be mapped in small pages though its memory is not: firmware, ROMs, the video memory, devices' rings. A share.
constexpr double small_share = 0.05;

bool is_guest_memory(const MappedRange& range, const Subject& subject) {
  if (range.page.count == subject.plan.placement.page.count && range.huge) return true;
  if (subject.plan.placement.page.count == small_page && range.file.empty())
    return true;  // and QEMU's own, under the same policy
  return range.file.find("memory-backend") != std::string::npos || range.file.find("pc.ram") != std::string::npos;
}

// "bind:0", "bind=static:0-1": the kernel's word for this part of it. Another policy binds to none.
bool is_bound_to(const MappedRange& range, unsigned node) {
  if (!range.policy.starts_with("bind")) return true;
  const auto nodes = topology::CpuSet::parse(range.policy.substr(range.policy.find(':') + 1));
  return !nodes || nodes->contains(node);
}

std::string size_text(std::uint64_t bytes) { return to_string(Bytes{bytes}); }

void prove_nodes(const Subject& subject, Rows& rows) {
  const topology::Placement& placement = subject.plan.placement;
  const std::string where = fmt::format("/proc/{}/{}", subject.qemu, subject.maps_file);
  if (!subject.no_maps.empty())
    return rows.add("memory on its nodes", "readable", subject.no_maps, where, Outcome::not_checked);
  std::map<unsigned, std::uint64_t> on, due;
  std::uint64_t elsewhere = 0, all = 0;
  bool each_on_one = true;
  for (const topology::MemoryCell& cell : placement.cells) {
    if (cell.size.count == 0) continue;
    each_on_one = each_on_one && cell.host_nodes.size() == 1;
    for (const unsigned node : cell.host_nodes) due[node] += cell.size.count;
  }
  std::map<std::uint64_t, std::uint64_t> by_page;
  for (const MappedRange& range : subject.maps) {
    if (!is_guest_memory(range, subject)) continue;
    for (const auto& [node, pages] : range.pages_on_node) {
      on[node] += pages * range.page.count;
      by_page[range.page.count] += pages * range.page.count;
      all += pages * range.page.count;
      if (!due.contains(node) || !is_bound_to(range, node)) elsewhere += pages * range.page.count;
    }
  }
  if (all == 0) return rows.add("guest memory", "there", "not found among the mappings", where, Outcome::not_checked);
  if (is_all_bound(placement, subject.plan.args)) {
    rows.judged("guest memory on other nodes", "0M", size_text(elsewhere), where, elsewhere == 0);
    for (const auto& [node, bytes] : due) {
      // pages that nobody has touched yet are on no node; more than planned comes with memory that was added later
      const bool huge = placement.page.count > small_page;
      const bool held = !huge || !each_on_one || on[node] >= bytes;
      rows.judged(fmt::format("guest memory on node {}", node),
                  (huge && each_on_one ? "" : "up to ") + size_text(bytes), size_text(on[node]), where, held);
    }
  }
  for (const auto& [page, bytes] : by_page)
    rows.judged("guest memory in pages of " + to_string(placement.page), to_string(placement.page),
                fmt::format("{} in pages of {}", size_text(bytes), size_text(page)), where,
                page == placement.page.count);
}

bool has_several_nodes(const Subject& subject) { return subject.plan.placement.cells.size() > 1; }

// Of several nodes the sums above would be the same with their memory in each other's place: which is bound where, says QEMU.
void prove_each_node(const Subject& subject, Rows& rows) {
  const topology::Placement& placement = subject.plan.placement;
  if (!has_several_nodes(subject)) return;
  const std::string where = "QMP query-memdev";
  const Answer answer = ask(subject, {"query-memdev"});
  const json::array* all = answer.value ? answer.value->if_array() : nullptr;
  for (const topology::MemoryCell& cell : placement.cells) {
    if (cell.size.count == 0) continue;
    const std::string what = fmt::format("memory of the guest's node {}", cell.guest_node);
    const std::string due = fmt::format("{} on node {}", memory_policy(placement, subject.plan.args, cell.guest_node),
                                        fmt::join(cell.host_nodes, ","));
    if (all == nullptr) {
      rows.add(what, due, answer.why.empty() ? "no list" : answer.why, where, Outcome::not_checked);
      continue;
    }
    std::string is = "not there";
    for (const json::value& one : *all) {
      if (text_of(member(one, "id")) != fmt::format("ram{}", cell.guest_node)) continue;
      std::vector<std::string> nodes;
      if (const json::value* bound = member(one, "host-nodes"); bound != nullptr && bound->is_array())
        for (const json::value& node : bound->get_array()) nodes.push_back(json::serialize(node));
      is = fmt::format("{} on node {}", text_of(member(one, "policy")), fmt::join(nodes, ","));
    }
    rows.equal(what, due, is, where);
  }
}

// What KVM maps the guest's memory with: huge pages behind it do not make that huge (an unaligned slot, dirty logging, nx_huge_pages).
bool has_second_level(const Subject& subject) {
  return subject.plan.accel == "kvm" && subject.plan.placement.page.count != small_page;
}
void prove_second_level(const Subject& subject, Rows& rows) {
  if (!has_second_level(subject)) return;
  const std::string where = "QMP query-stats", what = "second-level pages";
  const std::string due =
      fmt::format("of {} or more, but for {:.0f} %", to_string(subject.plan.placement.page), 100 * small_share);
  std::string why;
  std::map<std::string, std::uint64_t> pages = vm_stats(subject, why).numbers;
  if (!why.empty()) return rows.add(what, due, why, where, Outcome::not_checked);
  if (!pages.contains("pages_4k")) return rows.add(what, due, "KVM does not count them", where, Outcome::not_checked);
  const std::uint64_t small = pages["pages_4k"] * small_page;
  const std::uint64_t large = (pages["pages_2m"] << 21) + (pages["pages_1g"] << 30);
  const std::string is =
      fmt::format("{} x 4K, {} x 2M, {} x 1G", pages["pages_4k"], pages["pages_2m"], pages["pages_1g"]);
  if (small + large < (16U << 20))
    return rows.add(what, due, is + ": the guest has touched too little", where, Outcome::not_checked);
  rows.judged(what, due, is, where, static_cast<double>(small) <= small_share * static_cast<double>(small + large));
}

void prove_lock(const Subject& subject, Rows& rows) {
  if (!is_given(subject, "-overcommit", "mem-lock", "on")) return;
  const std::string where = fmt::format("/proc/{}/status", subject.qemu);
  const auto locked = field(subject, where, "VmLck");
  std::uint64_t kib = 0;
  if (locked) std::from_chars(locked->data(), locked->data() + locked->size(), kib);
  std::uint64_t due = 0;  // huge pages of a pool are never swapped, and not counted there
  if (subject.plan.placement.page.count == small_page)
    for (const topology::MemoryCell& cell : subject.plan.placement.cells) due += cell.size.count;
  const std::string wanted = due > 0 ? "at least " + size_text(due) : "some";
  if (!locked) return rows.add("locked memory", wanted, "cannot be read", where, Outcome::not_checked);
  rows.judged("locked memory", wanted, *locked, where, kib > 0 && kib * 1024 >= due);
}

}  // namespace

std::vector<::qmp::Command> questions_of_memory(const Subject& subject) {
  std::vector<::qmp::Command> all;
  if (has_several_nodes(subject)) all.push_back({"query-memdev"});
  if (has_second_level(subject)) all.push_back(of_vm_stats());
  return all;
}

std::vector<Row> prove_memory(const Subject& subject) {
  Rows rows("memory");
  prove_nodes(subject, rows);
  prove_each_node(subject, rows);
  prove_second_level(subject, rows);
  prove_lock(subject, rows);
  return rows.take();
}

}  // namespace launcher::proof
