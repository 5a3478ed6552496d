// Plain structs <-> JSON, member by member, from Boost.Describe's lists. The rule: a struct is described once, beside its
// declaration's users, and nobody writes its JSON by hand. (Boost.JSON of Debian 12 does the same but knows no optional.)
// A variant of structs is an object of one member, whose name is the struct's `kind`.
// read() throws std::invalid_argument with the path of what is wrong: "steps[2].pages: wanted a number".
// What is the same for every struct stands in struct_json.cpp: a member costs the compiler a call, not Boost.JSON's insides.
#pragma once

#include <boost/describe.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <boost/mp11.hpp>
#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "topology/bytes.hpp"
#include "topology/cpu_set.hpp"

namespace topology::json {

namespace detail {

template <class T>
struct is_optional : std::false_type {};
template <class T>
struct is_optional<std::optional<T>> : std::true_type {};

template <class T>
struct is_variant : std::false_type {};
template <class... Ts>
struct is_variant<std::variant<Ts...>> : std::true_type {};

template <class T>
concept Sequence = requires(T t) {
  typename T::value_type;
  t.begin();
}
&&!std::is_same_v<T, std::string>;

[[noreturn]] void wrong(const std::string& path, const std::string& wanted);

boost::json::value write_bool(bool value);
boost::json::value write_signed(std::int64_t value);
boost::json::value write_unsigned(std::uint64_t value);
boost::json::value write_text(const std::string& value);
void put(boost::json::object& object, const char* name, boost::json::value value);
void append(boost::json::array& array, boost::json::value value);

bool read_bool(const boost::json::value& json, const std::string& path);
std::int64_t read_signed(const boost::json::value& json, const std::string& path, std::int64_t min, std::int64_t max);
std::uint64_t read_unsigned(const boost::json::value& json, const std::string& path, std::uint64_t max);
std::string read_text(const boost::json::value& json, const std::string& path);
CpuSet read_cpus(const boost::json::value& json, const std::string& path);
Bytes read_bytes(const boost::json::value& json, const std::string& path);
const boost::json::array& array_of(const boost::json::value& json, const std::string& path);
const boost::json::object& object_of(const boost::json::value& json, const std::string& path);
std::string kind_of(const boost::json::value& json, const std::string& path);
[[noreturn]] void unknown_kind(const std::string& path, const std::string& kind);
const boost::json::value& member_of(const boost::json::object& object, const char* name, const std::string& where);
std::string path_of_item(const std::string& path, std::size_t index);
std::string path_of_member(const std::string& path, const char* name);

}  // namespace detail

template <class T>
boost::json::value write(const T& value) {
  using boost::describe::describe_members;
  if constexpr (std::is_same_v<T, bool>) {
    return detail::write_bool(value);
  } else if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
    return detail::write_signed(value);
  } else if constexpr (std::is_integral_v<T>) {
    return detail::write_unsigned(value);
  } else if constexpr (std::is_same_v<T, std::string>) {
    return detail::write_text(value);
  } else if constexpr (std::is_same_v<T, CpuSet>) {
    return detail::write_text(value.to_string());
  } else if constexpr (std::is_same_v<T, Bytes>) {
    return detail::write_text(to_string(value));
  } else if constexpr (std::is_enum_v<T>) {
    return detail::write_text(boost::describe::enum_to_string(value, "?"));
  } else if constexpr (detail::is_optional<T>::value) {
    return value ? write(*value) : boost::json::value(nullptr);
  } else if constexpr (detail::is_variant<T>::value) {
    boost::json::object out;
    std::visit([&](const auto& one) { detail::put(out, one.kind, write(one)); }, value);
    return out;
  } else if constexpr (detail::Sequence<T>) {
    boost::json::array out;
    for (const auto& element : value) detail::append(out, write(element));
    return out;
  } else {
    boost::json::object out;
    boost::mp11::mp_for_each<describe_members<T, boost::describe::mod_public>>(
        [&](auto member) { detail::put(out, member.name, write(value.*member.pointer)); });
    return out;
  }
}

template <class T>
T read(const boost::json::value& json, const std::string& path = {}) {
  using boost::describe::describe_members;
  if constexpr (std::is_same_v<T, bool>) {
    return detail::read_bool(json, path);
  } else if constexpr (std::is_same_v<T, std::string>) {
    return detail::read_text(json, path);
  } else if constexpr (std::is_same_v<T, CpuSet>) {
    return detail::read_cpus(json, path);
  } else if constexpr (std::is_same_v<T, Bytes>) {
    return detail::read_bytes(json, path);
  } else if constexpr (std::is_enum_v<T>) {
    T value{};
    const std::string text = detail::read_text(json, path);
    if (!boost::describe::enum_from_string(text.c_str(), value))
      detail::wrong(path, "another word than '" + text + "'");
    return value;
  } else if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
    return static_cast<T>(
        detail::read_signed(json, path, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
  } else if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(detail::read_unsigned(json, path, std::numeric_limits<T>::max()));
  } else if constexpr (detail::is_optional<T>::value) {
    if (json.is_null()) return std::nullopt;
    return read<typename T::value_type>(json, path);
  } else if constexpr (detail::is_variant<T>::value) {
    const std::string kind = detail::kind_of(json, path);
    std::optional<T> out;
    boost::mp11::mp_for_each<boost::mp11::mp_transform<std::type_identity, T>>([&](auto type) {
      using Kind = typename decltype(type)::type;
      if (kind == Kind::kind)
        out = read<Kind>(json.get_object().begin()->value(), detail::path_of_member(path, Kind::kind));
    });
    if (!out) detail::unknown_kind(path, kind);
    return std::move(*out);
  } else if constexpr (detail::Sequence<T>) {
    T out;
    std::size_t index = 0;
    for (const boost::json::value& element : detail::array_of(json, path))
      out.insert(out.end(), read<typename T::value_type>(element, detail::path_of_item(path, index++)));
    return out;
  } else {
    const boost::json::object& object = detail::object_of(json, path);
    T out{};
    boost::mp11::mp_for_each<describe_members<T, boost::describe::mod_public>>([&](auto member) {
      const std::string where = detail::path_of_member(path, member.name);
      using Member = std::remove_cvref_t<decltype(out.*member.pointer)>;
      if constexpr (detail::is_optional<Member>::value)
        if (!object.contains(member.name)) return;  // records of old may lack what came later
      out.*member.pointer = read<Member>(detail::member_of(object, member.name, where), where);
    });
    return out;
  }
}

}  // namespace topology::json
