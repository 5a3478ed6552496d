#include "launcher/proof/kvm_stats.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "launcher/proof/subject.hpp"
#include "launcher/text/json_member.hpp"

namespace launcher::inline proof {

namespace {

namespace json = boost::json;

const json::array& list(const json::value* value) {
  static const json::array none;
  return value != nullptr && value->is_array() ? value->get_array() : none;
}

Stats stats_of(const json::value& result) {
  Stats stats;
  for (const json::value& stat : list(member(result, "stats"))) {
    const json::value* value = member(stat, "value");
    if (value == nullptr) continue;
    if (value->is_number()) {
      stats.numbers[text_of(member(stat, "name"))] = value->to_number<std::uint64_t>();
    } else if (value->is_bool()) {
      stats.numbers[text_of(member(stat, "name"))] = value->get_bool() ? 1 : 0;
    } else {
      std::vector<std::uint64_t>& buckets = stats.histograms[text_of(member(stat, "name"))];
      for (const json::value& bucket : list(value)) buckets.push_back(bucket.to_number<std::uint64_t>());
    }
  }
  return stats;
}

}  // namespace

std::map<std::string, unsigned> vcpu_paths(const Subject& subject) {
  std::map<std::string, unsigned> paths;
  const Answer answer = ask(subject, {"query-cpus-fast"});
  for (const json::value& vcpu : list(answer.value ? &*answer.value : nullptr))
    if (const json::value* index = member(vcpu, "cpu-index"))
      paths[text_of(member(vcpu, "qom-path"))] = index->to_number<unsigned>();
  return paths;
}

std::map<unsigned, Stats> vcpu_stats(const Subject& subject, const std::map<std::string, unsigned>& paths,
                                     std::string& why) {
  std::map<unsigned, Stats> by_vcpu;
  if (subject.plan.accel != "kvm") return by_vcpu;
  const Answer answer = ask(subject, {"query-stats", {{"target", "vcpu"}}});
  why = answer.why;
  for (const json::value& result : list(answer.value ? &*answer.value : nullptr))
    if (const auto found = paths.find(text_of(member(result, "qom-path"))); found != paths.end())
      by_vcpu[found->second] = stats_of(result);
  return by_vcpu;
}

::qmp::Command of_vm_stats() { return {"query-stats", {{"target", "vm"}}}; }

Stats vm_stats(const Subject& subject, std::string& why) {
  if (subject.plan.accel != "kvm") return {};
  const Answer answer = ask(subject, of_vm_stats());
  why = answer.why;
  for (const json::value& result : list(answer.value ? &*answer.value : nullptr)) return stats_of(result);
  return {};
}

std::map<std::string, StatKind> stat_kinds(const Subject& subject, const std::string& target) {
  std::map<std::string, StatKind> kinds;
  if (subject.plan.accel != "kvm") return kinds;
  const Answer answer = ask(subject, {"query-stats-schemas"});
  for (const json::value& schema : list(answer.value ? &*answer.value : nullptr)) {
    if (text_of(member(schema, "target")) != target) continue;
    for (const json::value& stat : list(member(schema, "stats"))) {
      StatKind kind{text_of(member(stat, "type")), text_of(member(stat, "unit"))};
      if (const json::value* base = member(stat, "base")) kind.base = base->to_number<int>();
      if (const json::value* exponent = member(stat, "exponent")) kind.exponent = exponent->to_number<int>();
      if (const json::value* size = member(stat, "bucket-size")) kind.bucket_size = size->to_number<std::uint64_t>();
      kinds[text_of(member(stat, "name"))] = kind;
    }
  }
  return kinds;
}

}  // namespace launcher::proof
