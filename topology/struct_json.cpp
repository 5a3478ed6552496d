// See struct_json.hpp.
#include "topology/struct_json.hpp"

#include <stdexcept>

namespace topology::json::detail {

namespace {

std::string before(const Where& where) {
  const std::string path = where.text();
  return path.empty() ? "" : path + ": ";
}

}  // namespace

std::string Where::text() const {
  const std::string outer = outer_ != nullptr ? outer_->text() : "";
  if (item_) return outer + "[" + std::to_string(*item_) + "]";
  return outer + (outer.empty() ? "" : ".") + std::string(name_);
}

void wrong(const Where& where, const std::string& wanted) {
  const std::string path = where.text();
  throw std::invalid_argument((path.empty() ? "value" : path) + ": wanted " + wanted);
}

boost::json::value write_bool(bool value) { return boost::json::value(value); }
boost::json::value write_signed(std::int64_t value) { return boost::json::value(value); }
boost::json::value write_unsigned(std::uint64_t value) { return boost::json::value(value); }
boost::json::value write_text(const std::string& value) { return boost::json::value(value); }

void put(boost::json::object& object, const char* name, boost::json::value value) { object[name] = std::move(value); }
void append(boost::json::array& array, boost::json::value value) { array.push_back(std::move(value)); }

bool read_bool(const boost::json::value& json, const Where& where) {
  if (!json.is_bool()) wrong(where, "true or false");
  return json.get_bool();
}

std::int64_t read_signed(const boost::json::value& json, const Where& where, std::int64_t min, std::int64_t max) {
  if (json.is_uint64() && json.get_uint64() <= static_cast<std::uint64_t>(max))
    return static_cast<std::int64_t>(json.get_uint64());
  if (!json.is_int64() || json.get_int64() < min || json.get_int64() > max) wrong(where, "a number in range");
  return json.get_int64();
}

std::uint64_t read_unsigned(const boost::json::value& json, const Where& where, std::uint64_t max) {
  if (json.is_int64() && json.get_int64() >= 0 && static_cast<std::uint64_t>(json.get_int64()) <= max)
    return static_cast<std::uint64_t>(json.get_int64());
  if (!json.is_uint64() || json.get_uint64() > max) wrong(where, "a number in range");
  return json.get_uint64();
}

std::string read_text(const boost::json::value& json, const Where& where) {
  if (!json.is_string()) wrong(where, "a string");
  return std::string(json.get_string());
}

CpuSet read_cpus(const boost::json::value& json, const Where& where) {
  auto cpus = CpuSet::parse(read_text(json, where));
  if (!cpus) wrong(where, "a CPU list");
  return std::move(*cpus);
}

Bytes read_bytes(const boost::json::value& json, const Where& where) {
  const auto bytes = parse_bytes(read_text(json, where));
  if (!bytes) wrong(where, "a size");
  return *bytes;
}

const boost::json::array& array_of(const boost::json::value& json, const Where& where) {
  if (!json.is_array()) wrong(where, "a list");
  return json.get_array();
}

const boost::json::object& object_of(const boost::json::value& json, const Where& where) {
  if (!json.is_object()) wrong(where, "an object");
  return json.get_object();
}

std::string kind_of(const boost::json::value& json, const Where& where) {
  if (!json.is_object() || json.get_object().size() != 1)
    throw std::invalid_argument(before(where) + "wanted an object of one member, its kind");
  return json.get_object().begin()->key();
}

void unknown_kind(const Where& where, const std::string& kind) {
  throw std::invalid_argument(before(where) + "unknown kind '" + kind + "'");
}

const boost::json::value& member_of(const boost::json::object& object, const char* name, const Where& where) {
  const boost::json::value* found = object.if_contains(name);
  if (found == nullptr) wrong(where, "to be there");
  return *found;
}

}  // namespace topology::json::detail
