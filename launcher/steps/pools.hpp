// Steps on huge-page pools. The rule: what a VM raised is given back at its end, exactly once and never more, whatever others did to
// the pool meanwhile.
#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "topology/bytes.hpp"

namespace launcher::inline steps {

struct PerformContext;
struct UndoContext;

struct TrimPool {
  static constexpr const char* kind = "trim_pool";
  unsigned node = 0;
  topology::Bytes page;
  std::uint64_t pages = 0;              // as many as were to be added
  std::optional<std::uint64_t> before;  // the pool's size just before; nullopt: in a plan, or in a record of old
  std::string describe() const;
  void perform(UndoContext& context) const;
  std::string doubtful(std::uint64_t total, std::uint64_t kept) const;  // for the user
  friend bool operator==(const TrimPool&, const TrimPool&) = default;
};
BOOST_DESCRIBE_STRUCT(TrimPool, (), (node, page, pages, before))

// Grow a node's pool by `pages`, the deficit.
struct RaisePool {
  static constexpr const char* kind = "raise_pool";
  static constexpr bool locked = true;
  unsigned node = 0;
  topology::Bytes page;
  std::uint64_t pages = 0;
  std::string describe() const;
  TrimPool undo() const { return {node, page, pages, std::nullopt}; }
  TrimPool precheck(PerformContext& context) const;
  void perform(PerformContext& context) const;
  friend bool operator==(const RaisePool&, const RaisePool&) = default;
};
BOOST_DESCRIBE_STRUCT(RaisePool, (), (node, page, pages))

}  // namespace launcher::steps
