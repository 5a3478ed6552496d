// Plain values <-> JSON, member by member, from Boost.Describe's lists. The rule: a struct is described once, beside its
// declaration's users, and nobody writes its JSON by hand. (Boost.JSON of Debian 12 does the same but knows no optional.)
// read() throws std::invalid_argument with the path of what is wrong: "steps[2].pages: wanted a number".
#pragma once

#include <boost/describe.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <boost/mp11.hpp>
#include <concepts>
#include <limits>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "topology/bytes.hpp"
#include "topology/cpu_set.hpp"

namespace topology::json {

namespace detail {

template <class T>
struct is_optional : std::false_type {};
template <class T>
struct is_optional<std::optional<T>> : std::true_type {};

template <class T>
concept Sequence = requires(T t) {
  typename T::value_type;
  t.begin();
}
&&!std::is_same_v<T, std::string>;

[[noreturn]] inline void wrong(const std::string& path, const std::string& wanted) {
  throw std::invalid_argument((path.empty() ? "value" : path) + ": wanted " + wanted);
}

}  // namespace detail

template <class T>
boost::json::value write(const T& value) {
  using boost::describe::describe_members;
  if constexpr (std::is_integral_v<T> || std::is_same_v<T, std::string>) {
    return boost::json::value(value);
  } else if constexpr (std::is_same_v<T, CpuSet> || std::is_same_v<T, Bytes>) {
    if constexpr (std::is_same_v<T, CpuSet>)
      return boost::json::value(value.to_string());
    else
      return boost::json::value(to_string(value));
  } else if constexpr (std::is_enum_v<T>) {
    return boost::json::value(boost::describe::enum_to_string(value, "?"));
  } else if constexpr (detail::is_optional<T>::value) {
    return value ? write(*value) : boost::json::value(nullptr);
  } else if constexpr (detail::Sequence<T>) {
    boost::json::array out;
    for (const auto& element : value) out.push_back(write(element));
    return out;
  } else {
    boost::json::object out;
    boost::mp11::mp_for_each<describe_members<T, boost::describe::mod_public>>(
        [&](auto member) { out[member.name] = write(value.*member.pointer); });
    return out;
  }
}

template <class T>
T read(const boost::json::value& json, const std::string& path = {}) {
  using boost::describe::describe_members;
  if constexpr (std::is_same_v<T, bool>) {
    if (!json.is_bool()) detail::wrong(path, "true or false");
    return json.get_bool();
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!json.is_string()) detail::wrong(path, "a string");
    return std::string(json.get_string());
  } else if constexpr (std::is_same_v<T, CpuSet> || std::is_same_v<T, Bytes>) {
    const std::string text = read<std::string>(json, path);
    if constexpr (std::is_same_v<T, CpuSet>) {
      const auto cpus = CpuSet::parse(text);
      if (!cpus) detail::wrong(path, "a CPU list");
      return *cpus;
    } else {
      const auto bytes = parse_bytes(text);
      if (!bytes) detail::wrong(path, "a size");
      return *bytes;
    }
  } else if constexpr (std::is_enum_v<T>) {
    T value{};
    const std::string text = read<std::string>(json, path);
    if (!boost::describe::enum_from_string(text.c_str(), value))
      detail::wrong(path, "another word than '" + text + "'");
    return value;
  } else if constexpr (std::is_integral_v<T>) {
    if (json.is_int64() && std::in_range<T>(json.get_int64())) return static_cast<T>(json.get_int64());
    if (json.is_uint64() && std::in_range<T>(json.get_uint64())) return static_cast<T>(json.get_uint64());
    detail::wrong(path, "a number in range");
  } else if constexpr (detail::is_optional<T>::value) {
    if (json.is_null()) return std::nullopt;
    return read<typename T::value_type>(json, path);
  } else if constexpr (detail::Sequence<T>) {
    if (!json.is_array()) detail::wrong(path, "a list");
    T out;
    std::size_t index = 0;
    for (const boost::json::value& element : json.get_array()) {
      out.insert(out.end(), read<typename T::value_type>(element, path + "[" + std::to_string(index++) + "]"));
    }
    return out;
  } else {
    if (!json.is_object()) detail::wrong(path, "an object");
    const boost::json::object& object = json.get_object();
    T out{};
    boost::mp11::mp_for_each<describe_members<T, boost::describe::mod_public>>([&](auto member) {
      const std::string where = path.empty() ? member.name : path + "." + member.name;
      const boost::json::value* found = object.if_contains(member.name);
      using Member = std::remove_cvref_t<decltype(out.*member.pointer)>;
      if (found == nullptr && detail::is_optional<Member>::value) return;  // records of old may lack what came later
      if (found == nullptr) detail::wrong(where, "to be there");
      out.*member.pointer = read<Member>(*found, where);
    });
    return out;
  }
}

}  // namespace topology::json
