#include "launcher/steps/old_kinds.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <string_view>
#include <vector>

#include "launcher/steps/kernel_file.hpp"

namespace launcher::inline steps {

namespace {

enum class Was { step, undo, both };

struct Member {
  std::string_view now, was;  // was: "=text" for a constant
};

struct OldKind {
  std::string_view kind;
  Was was;
  const char* change;
  std::vector<Member> members;
};

const std::vector<OldKind>& old_kinds() {
  static const std::vector<OldKind> table = {
      {"write_control", Was::step, Word::kind, {{"text", "text"}, {"expect", "expect"}}},
      {"make_partition", Was::step, Partition::kind, {{"word", "=isolated"}}},
      {"end_partition", Was::undo, Partition::kind, {{"word", "=member"}}},
      {"set_value", Was::step, Value::kind, {{"before", "before"}, {"value", "value"}}},
      {"put_back", Was::undo, Value::kind, {{"before", "ours"}, {"value", "before"}}},
      {"keep_beside", Was::both, Beside::kind, {{"value", "value"}, {"beside", "beside"}, {"reads", "reads"}}},
      {"change_mask", Was::both, Cpus::kind, {{"remove", "remove"}, {"add", "add"}, {"back_on", "back_on"}}},
      {"take_cpus", Was::step, Cpus::kind, {{"remove", "cpus"}, {"add", "="}}},
      {"return_cpus", Was::undo, Cpus::kind, {{"remove", "="}, {"add", "cpus"}}}};
  return table;
}

// Of a child that a step starts, what plans did not say at first.
boost::json::value with_later_members(const boost::json::object& outer) {
  boost::json::object now = outer;
  boost::json::value* child = now.begin()->value().get_object().if_contains("child");
  if (child == nullptr || !child->is_object()) return now;
  child->get_object().emplace("no_set_id_files", false);
  child->get_object().emplace("environment", boost::json::array{});
  return now;
}

}  // namespace

boost::json::value in_words_of_today(const boost::json::value& step_or_undo, bool undo) {
  const boost::json::object* outer = step_or_undo.if_object();
  if (outer == nullptr || outer->size() != 1 || !outer->begin()->value().is_object()) return step_or_undo;
  const auto old = std::ranges::find(old_kinds(), std::string_view(outer->begin()->key()), &OldKind::kind);
  if (old == old_kinds().end()) return with_later_members(*outer);
  if (old->was == (undo ? Was::step : Was::undo)) return step_or_undo;
  const boost::json::object& body = outer->begin()->value().get_object();
  boost::json::object change, now;
  for (const Member& member : old->members) {
    if (member.was.starts_with('='))
      change[member.now] = member.was.substr(1);
    else if (const auto* found = body.if_contains(member.was))
      change[member.now] = *found;
  }
  if (const auto* path = body.if_contains("path")) now["path"] = *path;
  now["change"] = boost::json::object{{old->change, std::move(change)}};
  return boost::json::object{{undo ? ChangeBack::kind : ChangeFile::kind, std::move(now)}};
}

}  // namespace launcher::steps
