#include "launcher/record/pretty.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <string_view>
#include <vector>

#include "launcher/text/out.hpp"

namespace launcher::inline record {

namespace json = boost::json;

namespace {

void put(std::string& out, const json::value& value, const std::string& indent) {
  const std::string inner = indent + "  ";
  if (value.is_object() && !value.get_object().empty()) {
    std::vector<std::string_view> keys;
    for (const auto& [key, ignored] : value.get_object()) keys.emplace_back(key.data(), key.size());
    std::ranges::sort(keys);
    out += "{";
    for (std::size_t i = 0; i < keys.size(); ++i) {
      out += (i == 0 ? "\n" : ",\n") + inner + json::serialize(json::string(keys[i])) + ": ";
      put(out, value.get_object().at(keys[i]), inner);
    }
    out += "\n" + indent + "}";
  } else if (value.is_array() && !value.get_array().empty()) {
    out += "[";
    for (std::size_t i = 0; i < value.get_array().size(); ++i) {
      out += (i == 0 ? "\n" : ",\n") + inner;
      put(out, value.get_array()[i], inner);
    }
    out += "\n" + indent + "]";
  } else {
    out += json::serialize(value);
  }
}

}  // namespace

std::string pretty(const json::value& value) {
  std::string out;
  put(out, value, "");
  return printable_json(out) + "\n";
}

}  // namespace launcher::record
