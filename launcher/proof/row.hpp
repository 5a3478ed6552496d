// One promise of a plan beside what is in effect. The rule: a row says where it was read, and what could not be read is neither held
// nor lost.
#pragma once

#include <boost/describe/class.hpp>
#include <boost/describe/enum.hpp>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace launcher::inline proof {

// kernel_keeps: not as wanted, and nobody could have it otherwise (a thread that is bound to its CPU).
enum class Outcome { held, lost, not_checked, kernel_keeps };
BOOST_DESCRIBE_ENUM(Outcome, held, lost, not_checked, kernel_keeps)

struct Row {
  std::string area;    // "threads", "memory", "devices", "host", "security", "guest"
  std::string what;    // "vcpu 0 (4711): CPUs"
  std::string wanted;  // as the plan has it
  std::string is;      // what was read, or why nothing could be
  std::string where;   // "/proc/4711/task/4712/status", "QMP x-query-virtio-status"
  Outcome outcome = Outcome::held;
  friend bool operator==(const Row&, const Row&) = default;
};
BOOST_DESCRIBE_STRUCT(Row, (), (area, what, wanted, is, where, outcome))

class Rows {
 public:
  explicit Rows(std::string area) : area_(std::move(area)) {}
  // is == wanted, or not; nullopt: not checked, for this reason.
  void equal(const std::string& what, const std::string& wanted, const std::optional<std::string>& is,
             const std::string& where, const std::string& unread = "cannot be read");
  void judged(const std::string& what, const std::string& wanted, const std::string& is, const std::string& where,
              bool held);
  void add(const std::string& what, const std::string& wanted, const std::string& is, const std::string& where,
           Outcome outcome);
  std::vector<Row> take() { return std::move(rows_); }

 private:
  std::string area_;
  std::vector<Row> rows_;
};

std::size_t count(const std::vector<Row>& rows, Outcome outcome);

}  // namespace launcher::proof
