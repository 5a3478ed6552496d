// See struct_json.hpp.
#include "topology/struct_json.hpp"

#include <stdexcept>

namespace topology::json::detail {

void wrong(const std::string& path, const std::string& wanted) {
  throw std::invalid_argument((path.empty() ? "value" : path) + ": wanted " + wanted);
}

boost::json::value write_bool(bool value) { return boost::json::value(value); }
boost::json::value write_signed(std::int64_t value) { return boost::json::value(value); }
boost::json::value write_unsigned(std::uint64_t value) { return boost::json::value(value); }
boost::json::value write_text(const std::string& value) { return boost::json::value(value); }

void put(boost::json::object& object, const char* name, boost::json::value value) { object[name] = std::move(value); }
void append(boost::json::array& array, boost::json::value value) { array.push_back(std::move(value)); }

bool read_bool(const boost::json::value& json, const std::string& path) {
  if (!json.is_bool()) wrong(path, "true or false");
  return json.get_bool();
}

std::int64_t read_signed(const boost::json::value& json, const std::string& path, std::int64_t min, std::int64_t max) {
  if (json.is_uint64() && json.get_uint64() <= static_cast<std::uint64_t>(max))
    return static_cast<std::int64_t>(json.get_uint64());
  if (!json.is_int64() || json.get_int64() < min || json.get_int64() > max) wrong(path, "a number in range");
  return json.get_int64();
}

std::uint64_t read_unsigned(const boost::json::value& json, const std::string& path, std::uint64_t max) {
  if (json.is_int64() && json.get_int64() >= 0 && static_cast<std::uint64_t>(json.get_int64()) <= max)
    return static_cast<std::uint64_t>(json.get_int64());
  if (!json.is_uint64() || json.get_uint64() > max) wrong(path, "a number in range");
  return json.get_uint64();
}

std::string read_text(const boost::json::value& json, const std::string& path) {
  if (!json.is_string()) wrong(path, "a string");
  return std::string(json.get_string());
}

CpuSet read_cpus(const boost::json::value& json, const std::string& path) {
  auto cpus = CpuSet::parse(read_text(json, path));
  if (!cpus) wrong(path, "a CPU list");
  return std::move(*cpus);
}

Bytes read_bytes(const boost::json::value& json, const std::string& path) {
  const auto bytes = parse_bytes(read_text(json, path));
  if (!bytes) wrong(path, "a size");
  return *bytes;
}

const boost::json::array& array_of(const boost::json::value& json, const std::string& path) {
  if (!json.is_array()) wrong(path, "a list");
  return json.get_array();
}

const boost::json::object& object_of(const boost::json::value& json, const std::string& path) {
  if (!json.is_object()) wrong(path, "an object");
  return json.get_object();
}

std::string kind_of(const boost::json::value& json, const std::string& path) {
  if (!json.is_object() || json.get_object().size() != 1)
    throw std::invalid_argument((path.empty() ? "" : path + ": ") + "wanted an object of one member, its kind");
  return json.get_object().begin()->key();
}

void unknown_kind(const std::string& path, const std::string& kind) {
  throw std::invalid_argument((path.empty() ? "" : path + ": ") + "unknown kind '" + kind + "'");
}

const boost::json::value& member_of(const boost::json::object& object, const char* name, const std::string& where) {
  const boost::json::value* found = object.if_contains(name);
  if (found == nullptr) wrong(where, "to be there");
  return *found;
}

std::string path_of_item(const std::string& path, std::size_t index) {
  return path + "[" + std::to_string(index) + "]";
}

std::string path_of_member(const std::string& path, const char* name) {
  return path.empty() ? std::string(name) : path + "." + name;
}

}  // namespace topology::json::detail
