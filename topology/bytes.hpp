// Sizes as a type, "16G" both ways. The rule: units are binary (1G = 2^30), and a size is never a bare integer.
#pragma once

#include <compare>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace topology {

struct Bytes {
  std::uint64_t count = 0;
  friend constexpr auto operator<=>(Bytes, Bytes) = default;
  friend constexpr Bytes operator+(Bytes a, Bytes b) { return {a.count + b.count}; }
  friend constexpr Bytes operator-(Bytes a, Bytes b) { return {a.count - b.count}; }  // precondition: a >= b
  friend constexpr Bytes operator*(Bytes a, std::uint64_t n) { return {a.count * n}; }
};

constexpr Bytes kib(std::uint64_t n) { return {n << 10}; }
constexpr Bytes mib(std::uint64_t n) { return {n << 20}; }
constexpr Bytes gib(std::uint64_t n) { return {n << 30}; }

// "16G", "512M", "2M", "4K", "4096" (bytes), "1T"; also "16GiB", "16g". Error: what was wanted, for the user.
// Refused: empty, negative, fractions, unknown unit, more than 2^63-1.
std::expected<Bytes, std::string> parse_bytes(std::string_view text);

// The largest unit that is exact: "16G", "1536M", "4097".
std::string to_string(Bytes bytes);

}  // namespace topology
