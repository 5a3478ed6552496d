#include "launcher/record/drift.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json/serialize.hpp>
#include <map>
#include <set>
#include <sstream>

#include "launcher/checks/check.hpp"
#include "launcher/record/items.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::inline record {

namespace json = boost::json;

namespace {

// Groups beside those of the host's facts. First match counts; the name's start, "" for all.
struct GradeRow {
  std::string_view group, name;
  Grade grade;
};
constexpr std::array grades{
    GradeRow{"spec", "name", Grade::cosmetic},
    GradeRow{"spec", "", Grade::changes},
    GradeRow{"placement", "placement.pages", Grade::cosmetic},  // how many pages a pool lacks is the pool's state
    GradeRow{"placement", "uid", Grade::cosmetic},
    GradeRow{"placement", "", Grade::changes},
    GradeRow{"argv", "-name", Grade::cosmetic},
    GradeRow{"argv", "-uuid", Grade::may},
    GradeRow{"argv", "", Grade::changes},
    GradeRow{"steps", "raise_pool", Grade::cosmetic},
    GradeRow{"steps", "listen", Grade::cosmetic},
    GradeRow{"steps", "", Grade::may},
    GradeRow{"images", "", Grade::changes},
    GradeRow{"files", "", Grade::changes},
    GradeRow{"state", "", Grade::may},
    GradeRow{"storage", "scheduler", Grade::changes},
    GradeRow{"storage", "file system", Grade::changes},
    GradeRow{"storage", "", Grade::may},
    GradeRow{"cards", "send queue", Grade::may},
    GradeRow{"cards", "driver's flag", Grade::may},
    GradeRow{"cards", "", Grade::changes},
    GradeRow{"qemu", "", Grade::changes},
    // those that a guest's bytes and QEMU's own events go through
    GradeRow{"libraries", "ld-linux", Grade::changes},
    GradeRow{"libraries", "libc.so", Grade::changes},
    GradeRow{"libraries", "libglib-2.0", Grade::changes},
    GradeRow{"libraries", "liburing", Grade::changes},
    GradeRow{"libraries", "libaio", Grade::changes},
    GradeRow{"libraries", "libslirp", Grade::changes},
    GradeRow{"libraries", "libpmem", Grade::changes},
    GradeRow{"libraries", "", Grade::may},
    GradeRow{"vmrun", "", Grade::may},
    GradeRow{"guest", "", Grade::changes},
};

// Facts whose row is one for many names: which check knows of which.
struct CheckRow {
  std::string_view group, name, check;
};
constexpr std::array known_checks{
    CheckRow{"boot line", "isolcpus", "isolcpus"},
    CheckRow{"boot line", "nohz_full", "nohz-full"},
    CheckRow{"boot line", "rcu_nocbs", "rcu-nocbs"},
    CheckRow{"boot line", "mitigations", "mitigation-cost"},
    CheckRow{"boot line", "nosmt", "smt"},
    CheckRow{"boot line", "transparent_hugepage", "transparent-huge-pages"},
    CheckRow{"boot line", "idle", "idle-poll"},
    CheckRow{"boot line", "irqaffinity", "irq-affinity"},
    CheckRow{"boot line", "numa_balancing", "numa-balancing"},
    CheckRow{"boot line", "iommu", "iommu-passthrough"},
    CheckRow{"boot line", "intel_iommu", "iommu"},
    CheckRow{"boot line", "pcie_acs_override", "acs-override"},
    CheckRow{"boot line", "processor.max_cstate", "c-states"},
    CheckRow{"boot line", "intel_idle.max_cstate", "c-states"},
    CheckRow{"boot line", "clocksource", "clocksource"},
    CheckRow{"boot line", "tsc", "tsc"},
    CheckRow{"kvm", "kvm.halt_poll_ns", "halt-poll"},
    CheckRow{"kvm", "kvm.nx_huge_pages", "nx-huge-pages"},
    CheckRow{"kvm", "kvm.pi_inject_timer", "exitless-timer"},
    CheckRow{"kvm", "kvm_intel.ept", "ept"},
    CheckRow{"kvm", "kvm_amd.npt", "ept"},
    CheckRow{"kvm", "kvm_intel.vpid", "vpid"},
    CheckRow{"kvm", "kvm_intel.enable_apicv", "apicv"},
    CheckRow{"kvm", "kvm_amd.avic", "apicv"},
    CheckRow{"kvm", "kvm_intel.nested", "nested"},
    CheckRow{"kvm", "kvm_amd.nested", "nested"},
    CheckRow{"kvm", "kvm_intel.ple_gap", "ple"},
    CheckRow{"kvm", "kvm_amd.pause_filter_count", "ple"},
    CheckRow{"kvm", "vhost_net.experimental_zcopytx", "zero-copy-transmit"},
    CheckRow{"kvm", "vfio_iommu_type1.allow_unsafe_interrupts", "unsafe-interrupts"},
};

const FactRow* row_of(const std::string& group, const std::string& name) {
  const FactRow* found = nullptr;
  for (const FactRow& row : fact_table()) {
    if (row.group != group) continue;
    if (row.name == name) return &row;
    if (row.name.empty()) found = &row;
  }
  return found;
}

std::string effect_of(const std::string& group, const std::string& name) {
  const FactRow* row = row_of(group, name);
  std::string_view check = row != nullptr ? row->check : "";
  for (const CheckRow& known : known_checks)
    if (known.group == group && name.starts_with(known.name)) check = known.check;
  if (check.empty()) return "";
  for (const Check& one : all_checks())
    if (one.name == check) return std::string(one.why);
  return "";
}

// A value that one of the two shows and the other tells apart by its digest only, word by word.
bool is_same(const std::string& one, const std::string& other) {
  if (one == other) return true;
  std::istringstream left(one), right(other);
  std::string a, b;
  while (true) {
    const bool more = static_cast<bool>(left >> a);
    if (more != static_cast<bool>(right >> b)) return false;
    if (!more) return true;
    if (a != b && digest_of_text(a) != b && a != digest_of_text(b)) return false;
  }
}

std::vector<Drift> drifts_in(const std::string& group, const Values& was, const Values& is) {
  std::vector<Drift> found;
  std::set<std::string> names;
  for (const auto& [name, value] : was) names.insert(name);
  for (const auto& [name, value] : is) names.insert(name);
  for (const std::string& name : names) {
    const std::string one = was.contains(name) ? was.at(name) : "";
    const std::string other = is.contains(name) ? is.at(name) : "";
    if (!is_same(one, other) || was.contains(name) != is.contains(name))
      found.push_back({group, name, one, other, grade_of(group, name), effect_of(group, name)});
  }
  // another order is news only where nothing else is
  if (found.size() > 1) std::erase_if(found, [](const Drift& drift) { return drift.name == order_item; });
  return found;
}

}  // namespace

const char* words_of(Grade grade) {
  switch (grade) {
    case Grade::cosmetic:
      return "cosmetic";
    case Grade::may:
      return "may change results";
    case Grade::changes:
      return "changes results";
  }
  return "?";
}

Grade grade_of(const std::string& group, const std::string& name) {
  for (const GradeRow& row : grades)
    if (row.group == group && name.starts_with(row.name)) return row.grade;
  const FactRow* row = row_of(group, name);
  return row != nullptr ? row->grade : Grade::changes;
}

std::vector<std::string> drift_groups() {
  std::set<std::string> groups;
  for (const GradeRow& row : grades) groups.emplace(row.group);
  for (const FactRow& row : fact_table()) groups.emplace(row.group);
  return {groups.begin(), groups.end()};
}

Comparison compare(const LaunchLock& was, const LaunchLock& is) {
  Comparison found;
  const Groups before = items_of(was), now = items_of(is);
  std::set<std::string> groups;
  for (const auto& [group, values] : before) groups.insert(group);
  for (const auto& [group, values] : now) groups.insert(group);
  static const Values none;
  for (const std::string& group : groups) {
    const bool only_some_have_it = group == "spec" || group == "guest";
    if (only_some_have_it && (!before.contains(group) || !now.contains(group)))
      found.not_compared.push_back(group);
    else
      std::ranges::move(drifts_in(group, before.contains(group) ? before.at(group) : none,
                                  now.contains(group) ? now.at(group) : none),
                        std::back_inserter(found.drifts));
  }
  return found;
}

std::string drifts_text(const Comparison& found) {
  std::string text, group;
  for (const Drift& drift : found.drifts) {
    if (drift.group != group) text += drift.group + "\n";
    group = drift.group;
    const auto shown = [](const std::string& value) {
      return value.empty() ? std::string("(none)") : printable(value);
    };
    text += fmt::format("  {} [{}]\n    was  {}\n    is   {}\n", printable(drift.name), words_of(drift.grade),
                        shown(drift.was), shown(drift.is));
    if (!drift.effect.empty()) text += fmt::format("    why  {}\n", drift.effect);
  }
  for (const std::string& missing : found.not_compared)
    text += fmt::format("{}: not compared: one of the two has none on record\n", missing);
  return text;
}

json::array drifts_json(const std::vector<Drift>& drifts) {
  static constexpr const char* grade_words[] = {"cosmetic", "may", "changes"};
  json::array out;
  for (const Drift& drift : drifts)
    out.push_back({{"group", drift.group},
                   {"name", drift.name},
                   {"was", drift.was},
                   {"is", drift.is},
                   {"grade", grade_words[static_cast<int>(drift.grade)]},
                   {"effect", drift.effect}});
  return out;
}

}  // namespace launcher::record
