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
#include <string_view>
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

// Where a value stands, "steps[2].pages". Put into words only when something is wrong there: of a thousand values nothing is.
class Where {
 public:
  template <std::convertible_to<std::string_view> Path = std::string_view>
  Where(const Path& path = {}) : name_(path) {}  // NOLINT(google-explicit-constructor): a path, in words
  Where(const Where& outer, const char* member) : outer_(&outer), name_(member) {}
  Where(const Where& outer, std::size_t item) : outer_(&outer), item_(item) {}
  std::string text() const;

 private:
  const Where* outer_ = nullptr;  // it stands in the call around ours
  std::string_view name_;
  std::optional<std::size_t> item_;
};

[[noreturn]] void wrong(const Where& where, const std::string& wanted);

boost::json::value write_bool(bool value);
boost::json::value write_signed(std::int64_t value);
boost::json::value write_unsigned(std::uint64_t value);
boost::json::value write_text(const std::string& value);
void put(boost::json::object& object, const char* name, boost::json::value value);
void append(boost::json::array& array, boost::json::value value);

bool read_bool(const boost::json::value& json, const Where& where);
std::int64_t read_signed(const boost::json::value& json, const Where& where, std::int64_t min, std::int64_t max);
std::uint64_t read_unsigned(const boost::json::value& json, const Where& where, std::uint64_t max);
std::string read_text(const boost::json::value& json, const Where& where);
CpuSet read_cpus(const boost::json::value& json, const Where& where);
Bytes read_bytes(const boost::json::value& json, const Where& where);
const boost::json::array& array_of(const boost::json::value& json, const Where& where);
const boost::json::object& object_of(const boost::json::value& json, const Where& where);
std::string kind_of(const boost::json::value& json, const Where& where);
[[noreturn]] void unknown_kind(const Where& where, const std::string& kind);
const boost::json::value& member_of(const boost::json::object& object, const char* name, const Where& where);

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

template <class T>  // NOLINTNEXTLINE(readability-function-size): a table of what a T may be
T read(const boost::json::value& json, const detail::Where& where = {}) {
  using boost::describe::describe_members;
  if constexpr (std::is_same_v<T, bool>) {
    return detail::read_bool(json, where);
  } else if constexpr (std::is_same_v<T, std::string>) {
    return detail::read_text(json, where);
  } else if constexpr (std::is_same_v<T, CpuSet>) {
    return detail::read_cpus(json, where);
  } else if constexpr (std::is_same_v<T, Bytes>) {
    return detail::read_bytes(json, where);
  } else if constexpr (std::is_enum_v<T>) {
    T value{};
    const std::string text = detail::read_text(json, where);
    if (!boost::describe::enum_from_string(text.c_str(), value))
      detail::wrong(where, "another word than '" + text + "'");
    return value;
  } else if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
    return static_cast<T>(
        detail::read_signed(json, where, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
  } else if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(detail::read_unsigned(json, where, std::numeric_limits<T>::max()));
  } else if constexpr (detail::is_optional<T>::value) {
    if (json.is_null()) return std::nullopt;
    return read<typename T::value_type>(json, where);
  } else if constexpr (detail::is_variant<T>::value) {
    const std::string kind = detail::kind_of(json, where);
    std::optional<T> out;
    boost::mp11::mp_for_each<boost::mp11::mp_transform<std::type_identity, T>>([&](auto type) {
      using Kind = typename decltype(type)::type;
      if (kind == Kind::kind) out = read<Kind>(json.get_object().begin()->value(), detail::Where(where, Kind::kind));
    });
    if (!out) detail::unknown_kind(where, kind);
    return std::move(*out);
  } else if constexpr (detail::Sequence<T>) {
    T out;
    std::size_t index = 0;
    for (const boost::json::value& element : detail::array_of(json, where))
      out.insert(out.end(), read<typename T::value_type>(element, detail::Where(where, index++)));
    return out;
  } else {
    const boost::json::object& object = detail::object_of(json, where);
    T out{};
    boost::mp11::mp_for_each<describe_members<T, boost::describe::mod_public>>([&](auto member) {
      const detail::Where inner(where, member.name);
      using Member = std::remove_cvref_t<decltype(out.*member.pointer)>;
      if constexpr (detail::is_optional<Member>::value)
        if (!object.contains(member.name)) return;  // records of old may lack what came later
      out.*member.pointer = read<Member>(detail::member_of(object, member.name, inner), inner);
    });
    return out;
  }
}

}  // namespace topology::json
