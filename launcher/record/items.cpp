#include "launcher/record/items.hpp"

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "launcher/proof/subject.hpp"
#include "launcher/record/drift.hpp"
#include "launcher/spec/read_spec.hpp"

namespace launcher::inline record {

namespace json = boost::json;

namespace {

std::string word(const json::value& value) {
  return value.is_string() ? std::string(value.get_string()) : json::serialize(value);
}

// Which argument it is among those of its option: by its id; a device without one by what it is.
std::string subject_of(const std::string& option, const Keys& keys) {
  for (const char* name : {"id", "node-name", "set", "property", "driver", "qom-type"})
    if (const std::string found = key(keys, name); !found.empty()) return found;
  return option == "-device" ? key(keys, "") : "";
}

// Free text: not taken apart at its commas and equals signs.
bool is_whole(const std::string& option) { return option == "-append" || option == "-uuid" || option == "-kernel"; }

Keys parts_of(const std::string& option, const std::string& value) {
  if (is_whole(option)) return {{"", value}};
  try {
    return keys_of(value);
  } catch (const std::exception&) {  // starts like JSON, and is none
    return {{"", value}};
  }
}

Values spec_items(const std::string& spec) {
  const auto document = TomlDocument::parse(spec, "the record's spec");
  if (!document) return {{"", spec}};  // damaged: compared as it stands
  return document->values(spec_keys());
}

// "written" files that are no disk's are a VM's own: UEFI's variables, a TPM's memory.
std::string group_of(const LockedFile& file) {
  if (is_image(file)) return "images";
  return file.use == "written" ? "state" : "files";
}

}  // namespace

void flatten(const json::value& value, const std::string& path, Values& into) {
  if (value.is_object()) {
    for (const auto& [name, member] : value.get_object())
      flatten(member, path.empty() ? std::string(name) : path + "." + std::string(name), into);
  } else if (value.is_array()) {
    std::size_t index = 0;
    for (const json::value& item : value.get_array()) flatten(item, fmt::format("{}[{}]", path, index++), into);
  } else {
    into[path] = word(value);
  }
}

Values argv_items(const json::array& argv) {
  Values found;
  std::string order;
  for (std::size_t i = 0; i < argv.size(); ++i) {
    const std::string option = word(argv[i]);
    if (!option.starts_with('-')) {
      found[i == 0 ? "program" : fmt::format("word {}", i)] = option;
      continue;
    }
    const bool valued = i + 1 < argv.size() && !word(argv[i + 1]).starts_with('-');
    const std::string value = valued ? word(argv[++i]) : "";
    const Keys keys = parts_of(option, value);
    const std::string subject = is_whole(option) ? "" : subject_of(option, keys);
    std::string name = subject.empty() ? option : option + " " + subject;
    for (int again = 2; found.contains(name); ++again) name = fmt::format("{} {} ({})", option, subject, again);
    order += name + "\n";
    found[name] = keys.contains("") ? keys.at("") : "given";
    for (const auto& [member, text] : keys)
      if (!member.empty()) found[name + ": " + member] = text;
  }
  found[order_item] = digest_of_text(order);
  return found;
}

Values step_items(const json::array& steps) {
  Values found;
  std::map<std::string, int> seen;
  for (const json::value& step : steps) {
    if (!step.is_object()) continue;
    for (const auto& [kind, members] : step.get_object()) {
      const std::string name = fmt::format("{} {}", std::string(kind), ++seen[std::string(kind)]);
      found[name] = "done";
      flatten(members, name, found);
      if (kind == "start_qemu")  // its command line is compared word for word
        std::erase_if(found, [&](const auto& item) { return item.first.starts_with(name + ".child.argv["); });
    }
  }
  return found;
}

Groups items_of(const LaunchLock& lock) {
  Groups found = lock.facts;
  // what the kernel made of other words is a fact of its own
  for (const Effective& one : lock.effective)
    if (one.where.starts_with("/sys/module/") && !one.where.starts_with("/sys/module/kvm"))
      found["boot line"][one.requested.substr(0, one.requested.find('=')) + ", in effect"] = one.effective;
  if (!lock.spec.empty()) found["spec"] = spec_items(lock.spec);
  flatten(lock.plan, "", found["placement"]);
  found["argv"] = argv_items(lock.argv);
  if (lock.run && !lock.run->guest_cpu.is_null()) flatten(lock.run->guest_cpu, "cpuid", found["guest"]);
  found["steps"] = step_items(lock.steps);
  for (const LockedFile& file : lock.files)
    found[group_of(file)][file.path] = fmt::format("{} {} ({})", file.algorithm, file.digest, file.use);
  return found;
}

}  // namespace launcher::record
