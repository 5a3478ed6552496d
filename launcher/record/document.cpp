// A lock as a document: in-toto's Statement v1, whose subjects are the files with their digests and whose predicate is all the rest.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <sstream>

#include "launcher/record/lock.hpp"
#include "launcher/record/pretty.hpp"
#include "topology/struct_json.hpp"

namespace launcher::inline record {

namespace json = boost::json;

BOOST_DESCRIBE_STRUCT(Effective, (), (requested, effective, where))

namespace {

// Throws std::invalid_argument, as topology::json::read() does.
const json::value& member(const json::object& object, const char* name, const std::string& where) {
  return topology::json::detail::member_of(object, name, where);
}
const json::object& object_at(const json::object& object, const char* name) {
  return topology::json::detail::object_of(member(object, name, name), name);
}
const json::array& array_at(const json::object& object, const char* name) {
  return topology::json::detail::array_of(member(object, name, name), name);
}
std::string text_at(const json::object& object, const char* name) {
  return topology::json::read<std::string>(member(object, name, name), name);
}

json::object facts_json(const Groups& facts) {
  json::object out;
  for (const auto& [group, values] : facts) {
    json::object members;
    for (const auto& [name, value] : values) members[name] = value;
    out[group] = members;
  }
  return out;
}

Groups facts_from(const json::object& object) {
  Groups facts;
  for (const auto& [group, values] : object)
    for (const auto& [name, value] : topology::json::detail::object_of(values, group))
      facts[std::string(group)][std::string(name)] = topology::json::read<std::string>(value, std::string(name));
  return facts;
}

json::array lines_of(const std::string& text) {
  json::array lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(json::string(line));
  return lines;
}

json::array subjects_json(const std::vector<LockedFile>& files) {
  json::array out;
  for (const LockedFile& file : files)
    if (!file.algorithm.empty())
      out.push_back({{"name", file.path}, {"digest", json::object{{file.algorithm, file.digest}}}});
  return out;
}

json::array files_json(const std::vector<LockedFile>& files) {
  json::array out;
  for (const LockedFile& file : files) {
    json::object one{{"path", file.path}, {"role", file.role}, {"use", file.use}};
    if (file.algorithm.empty())
      one["why"] = file.digest;
    else
      one["by"] = file.algorithm;
    out.push_back(one);
  }
  return out;
}

std::vector<LockedFile> files_from(const json::object& predicate, const json::array& subjects) {
  std::map<std::string, std::string> digests;
  for (const json::value& subject : subjects) {
    const json::object& one = topology::json::detail::object_of(subject, "subject");
    for (const auto& [algorithm, digest] : object_at(one, "digest"))
      digests[text_at(one, "name")] = topology::json::read<std::string>(digest, std::string(algorithm));
  }
  std::vector<LockedFile> files;
  for (const json::value& file : array_at(predicate, "files")) {
    const json::object& one = topology::json::detail::object_of(file, "files");
    LockedFile& read =
        files.emplace_back(LockedFile{text_at(one, "path"), text_at(one, "role"), text_at(one, "use"), "", ""});
    if (one.contains("by")) {
      read.algorithm = text_at(one, "by");
      if (!digests.contains(read.path)) throw std::invalid_argument("subject: has no digest of " + read.path);
      read.digest = digests[read.path];
    } else {
      read.digest = text_at(one, "why");
    }
  }
  return files;
}

LaunchLock lock_from(const json::object& statement) {
  if (text_at(statement, "_type") != statement_type || text_at(statement, "predicateType") != lock_predicate)
    throw std::invalid_argument(fmt::format("this is no record of a launch: predicateType is '{}', wanted '{}'",
                                            text_at(statement, "predicateType"), lock_predicate));
  const json::object& predicate = object_at(statement, "predicate");
  const json::value& version = member(predicate, "version", "version");
  if (!version.is_int64() || version.get_int64() != lock_version)
    throw std::invalid_argument(
        fmt::format("its version is {}, this vmrun knows version {}", json::serialize(version), lock_version));
  LaunchLock lock;
  lock.name = text_at(predicate, "name");
  for (const json::value& line : array_at(predicate, "spec"))
    lock.spec += topology::json::read<std::string>(line, "spec") + "\n";
  lock.plan = object_at(predicate, "plan");
  lock.argv = array_at(predicate, "argv");
  for (const json::value& word : lock.argv) topology::json::read<std::string>(word, "argv");
  lock.steps = array_at(predicate, "steps");
  lock.files = files_from(predicate, array_at(statement, "subject"));
  lock.facts = facts_from(object_at(predicate, "facts"));
  lock.effective =
      topology::json::read<std::vector<Effective>>(member(predicate, "effective", "effective"), "effective");
  lock.allowed = topology::json::read<std::vector<std::string>>(member(predicate, "allowed", "allowed"), "allowed");
  if (const json::value* run = predicate.if_contains("run")) {
    const json::object& part = topology::json::detail::object_of(*run, "run");
    lock.run = RunPart{topology::json::read<std::int64_t>(member(part, "started", "run.started"), "run.started"),
                       array_at(part, "in_effect"), member(part, "guest_cpu", "run.guest_cpu")};
  }
  return lock;
}

}  // namespace

std::string to_document(const LaunchLock& lock) {
  json::object predicate{{"version", lock_version},
                         {"name", lock.name},
                         {"spec", lines_of(lock.spec)},
                         {"plan", lock.plan},
                         {"argv", lock.argv},
                         {"steps", lock.steps},
                         {"files", files_json(lock.files)},
                         {"facts", facts_json(lock.facts)},
                         {"effective", topology::json::write(lock.effective)},
                         {"allowed", topology::json::write(lock.allowed)}};
  if (lock.run)
    predicate["run"] = {
        {"started", lock.run->started}, {"in_effect", lock.run->in_effect}, {"guest_cpu", lock.run->guest_cpu}};
  return pretty({{"_type", std::string(statement_type)},
                 {"predicateType", std::string(lock_predicate)},
                 {"subject", subjects_json(lock.files)},
                 {"predicate", predicate}});
}

std::expected<LaunchLock, std::string> lock_from_document(std::string_view text) {
  boost::system::error_code error;
  const json::value read = json::parse(json::string_view(text.data(), text.size()), error);
  if (error) return std::unexpected("it is no JSON: " + error.message());
  if (!read.is_object()) return std::unexpected(std::string("it is no JSON object"));
  try {
    return lock_from(read.get_object());
  } catch (const std::invalid_argument& wrong) {
    return std::unexpected(std::string(wrong.what()));
  }
}

}  // namespace launcher::record
