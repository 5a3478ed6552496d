// See qemu_members.hpp.
#include "launcher/devices/qemu_members.hpp"

#include <boost/json.hpp>

namespace launcher::inline devices {

namespace json = boost::json;

namespace {

void flatten(const std::string& path, const json::value& value, Members& into) {
  const std::string prefix = path.empty() ? "" : path + ".";
  if (const json::object* object = value.if_object()) {
    for (const auto& [key, one] : *object) flatten(prefix + std::string(key), one, into);
  } else if (const json::array* array = value.if_array()) {
    for (std::size_t i = 0; i < array->size(); ++i) flatten(prefix + std::to_string(i), (*array)[i], into);
  } else if (const json::string* text = value.if_string()) {
    into.emplace_back(path, std::string(*text));
  } else if (const bool* flag = value.if_bool()) {
    into.emplace_back(path, *flag ? "on" : "off");
  } else {
    into.emplace_back(path, value.is_null() ? "" : json::serialize(value));
  }
}

void add_part(const std::string& part, bool first, Members& into) {
  const std::size_t equals = part.find('=');
  if (equals != part.npos)
    into.emplace_back(part.substr(0, equals), part.substr(equals + 1));
  else if (first)
    into.emplace_back("", part);
  else if (!part.empty())
    into.emplace_back(part, "on");
}

}  // namespace

Members members_of(std::string_view value) {
  Members members;
  if (value.starts_with('{')) {
    boost::system::error_code error;
    const json::value whole = json::parse(value, error);
    if (!error) flatten("", whole, members);
    return members;
  }
  std::string part;
  bool first = true;
  for (std::size_t at = 0; at < value.size(); ++at) {
    const bool comma = value[at] == ',', doubled = comma && at + 1 < value.size() && value[at + 1] == ',';
    if (!comma || doubled) {
      part += value[at];
      at += doubled ? 1 : 0;
      continue;
    }
    add_part(part, first, members);
    part.clear();
    first = false;
  }
  add_part(part, first, members);
  return members;
}

std::string member(const Members& all, std::string_view key) {
  std::string value;
  for (const auto& [name, one] : all)
    if (name == key) value = one;
  return value;
}

}  // namespace launcher::devices
