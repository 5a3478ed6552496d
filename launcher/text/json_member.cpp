// See json_member.hpp.
#include "launcher/text/json_member.hpp"

#include <boost/json.hpp>

namespace launcher::inline text {

const boost::json::value* member(const boost::json::value& value, std::string_view name) {
  const boost::json::object* object = value.if_object();
  return object == nullptr ? nullptr : object->if_contains(name);
}

std::string text_of(const boost::json::value* value) {
  const boost::json::string* text = value == nullptr ? nullptr : value->if_string();
  return text == nullptr ? std::string() : std::string(*text);
}

}  // namespace launcher::text
